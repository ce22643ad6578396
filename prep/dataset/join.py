"""Several data sets as one: tables and points together, images and masks where they lie."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jssm import dataset
from jssm.dataset import Dataset
from jssm.files.whole import alone, write_whole
from jssm.shape import labels, shape_model
from prep.dataset import report, store
from prep.dataset.split import assert_disjoint
from prep.errors import Refused
from prep.shapes import procrustes, registration


@dataclass(frozen=True)
class Request:
    """What ``python -m prep join`` was asked for.

    prefix: cases and patients get the name of their folder in front.
    """

    folders: Sequence[Path]
    out: Path
    prefix: bool = False


def run(request: Request) -> int:
    """Write a data set of the cases of all folders, in their order; gives their number.

    Images and masks stay where they are. The shape model is that of the first folder; where
    another has a different mean shape, its cases keep their points and get their θ anew, the affine
    map by least squares from the first mean shape.

    Raises:
      Refused: when the target is not empty, a folder is no data set, they do not suit each other,
        two cases have one name, or a patient is in both train and val.
    """
    out, folders = request.out, request.folders
    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise Refused("two or more folders, each once, were expected")
    if out.exists() and any(out.iterdir()):
        raise Refused(f"{out} is not empty; name another --out")
    try:
        sets = [dataset.load(folder) for folder in folders]
        table = list(_table(request, sets))
    except (OSError, ValueError) as error:
        raise Refused(str(error)) from error
    for folder, data in zip(folders, sets, strict=True):
        _check_alike(folder, data, sets[0])
    _check_names(table)
    with alone(out):
        _write_arrays(out, sets)
        shape_model.save(out / "shape_model.npz", sets[0].shape_model)
        store.write_table(out, table)
        meta = _meta(request, sets, len(table))
        write_whole(out / dataset.SEAL, json.dumps(meta, indent=1) + "\n")
        report.write(out)
    return meta["num_cases"]


def _check_alike(folder: Path, data: Dataset, first: Dataset) -> None:
    """Check that a folder's cases could stand beside those of the first."""
    kinds = [each.meta.get("shape", "horseshoe") for each in (data, first)]
    for what, own, other in (
        ("images of", data.size, first.size),
        ("shapes with points:", data.points.shape[1], first.points.shape[1]),
        ("the shape", *kinds),
    ):
        if own != other:
            raise Refused(f"{folder} has {what} {own}, but the first {other}; they must agree")


def _table(request: Request, sets: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
    """The rows of cases.csv of all folders, numbered on."""
    before = 0
    for folder, data in zip(request.folders, sets, strict=True):
        for row in store.read_table(folder):
            changed: dict[str, Any] = dict(row)
            if row["row"]:
                changed["row"] = before + int(row["row"])
            if request.prefix:
                changed |= {name: f"{folder.name}_{row[name]}" for name in ("case", "patient")}
            yield {name: changed.get(name, "") for name in store.COLUMNS}
        before += len(data.images)


def _check_names(table: list[dict[str, Any]]) -> None:
    """Check that cases have names of their own, and patients one side of the split."""
    seen: set[str] = set()
    for row in table:
        if row["case"] in seen:
            raise Refused(
                f"two cases are named {row['case']}; --prefix puts the names of the folders in "
                "front of cases and patients"
            )
        seen.add(row["case"])
    included = [row for row in table if row["split"] != "excluded"]
    assert_disjoint([row["patient"] for row in included], [row["split"] for row in included])


def _write_arrays(out: Path, sets: Sequence[Dataset]) -> None:
    """The arrays of points, one behind the other; truth_points where all have them."""
    mean = np.asarray(sets[0].shape_model.mean, np.float64)
    placed = [_placed(data, mean) for data in sets]
    arrays: dict[str, list[np.ndarray | None]] = {
        "points": [data.points for data in sets],
        "canonical_points": [canonical for canonical, _ in placed],
        "thetas": [thetas for _, thetas in placed],
        "spacing_mm": [data.spacing_mm for data in sets],
        "truth_points": [data.truth_points for data in sets],
    }
    for name, each in arrays.items():
        known = [array for array in each if array is not None]
        if len(known) == len(each):
            store.save_floats(out / f"{name}.npy", np.concatenate(known))


def _placed(data: Dataset, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The canonical points (N, T, 2) and θ (N, 2, 3) of its cases in the frame of ``mean``
    (T, 2)."""
    if np.array_equal(np.asarray(data.shape_model.mean, np.float64), mean):
        return data.canonical_points, data.thetas
    canonical = np.full(data.points.shape, np.nan)
    thetas = np.full(data.thetas.shape, np.nan)
    for row in np.flatnonzero(data.covers == labels.MYOCARDIUM):
        points = data.points[row].astype(np.float64)
        thetas[row] = procrustes.fit_affine(mean, points)
        canonical[row] = registration.apply(registration.invert(thetas[row]), points)
    return canonical, thetas


def _meta(request: Request, sets: Sequence[Dataset], listed: int) -> dict[str, Any]:
    """The fields of dataset.json: those of the first, and where the images lie."""
    first, folders = sets[0].meta, request.folders
    own = ("format", "size", "num_points", "seed", "shape", "num_modes")
    count = sum(len(data.images) for data in sets)
    return {
        **{name: first[name] for name in own if name in first},
        "view": _all_of(sets, "view"),
        "source": _all_of(sets, "source"),
        "min_dice": min(data.meta.get("min_dice", 0.0) for data in sets),
        "shape_cases": first.get("shape_cases", len(sets[0].images)),
        "num_cases": count,
        "num_listed": listed,
        "parts": [
            {"folder": _from(request.out, folder / part), "digest": told}
            for folder, data in zip(folders, sets, strict=True)
            for part, told in _parts_of(data)
        ],
    }


def _parts_of(data: Dataset) -> list[tuple[str, str]]:
    """The folders, as seen from its own, and digests of what a data set is joined of, if it is."""
    if "parts" in data.meta:
        return [(part["folder"], part["digest"]) for part in data.meta["parts"]]
    return [(".", data.digest)]


def _from(out: Path, folder: Path) -> str:
    """The way to a folder."""
    return Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()


def _all_of(sets: Sequence[Dataset], name: str) -> str:
    return "; ".join(dict.fromkeys(str(data.meta.get(name, "unknown")) for data in sets))
