"""What a build keeps on disk: the folder of its steps, and the data set (prep/DATASET.md)."""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from jssm import shards
from jssm.dataset import PICTURES, SEAL
from jssm.files.archive import read_npz
from jssm.files.whole import write_whole
from jssm.shape import labels, shape_model
from prep.dataset import cases as steps
from prep.dataset.cases import Case, Mean
from prep.dataset.settings import Settings
from prep.dataset.split import assert_disjoint
from prep.errors import Refused
from prep.shapes.pca import principal_modes

STEPS_FOLDER = ".cases"
# Raised whenever the same input gives other steps than before; version 0.3 had no number.
STEPS_FORMAT = 2
COLUMNS = (
    "case", "patient", "frame", "split", "covers", "row", "point_mask_dice", "reason", "time_s",
    "image", "mask",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """An included case: its place in the arrays is its place in the list."""

    case: Case
    split: str
    dice: float
    fit: Path


@dataclass(frozen=True)
class Found:
    """All cases after their steps: the included ones, the whole table, the bad inputs, and
    sentences about numbers that are not believed."""

    rows: list[Row]
    table: list[dict]
    bad: list[str]
    notes: list[str]
    folder: Path


def digest(parts: Sequence[str]) -> str:
    """A short digest of strings."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def open_folder(out: Path, parameters: dict) -> Path:
    """The folder of a build's steps, new or of an earlier run with the same parameters.

    Raises:
      Refused: when the earlier run had others, was of another version, or cannot be told.
    """
    folder = out / STEPS_FOLDER
    path = folder / "parameters.json"
    if path.exists():
        _refuse_others(out, _parameters_of(path), parameters)
    elif out.exists() and any(out.iterdir()) and not folder.exists():
        raise Refused(f"{out} is not empty and no build has begun there; name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    listed = parameters | {"steps_format": STEPS_FORMAT}
    write_whole(path, json.dumps(listed, indent=1, sort_keys=True))
    return folder


def _parameters_of(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise Refused(f"{path} is damaged, so what was begun there is unknown; name another --out")
    return found


def _refuse_others(out: Path, before: dict, now: dict) -> None:
    """Check that a build goes on with its own steps."""
    if before.pop("steps_format", 1) != STEPS_FORMAT:
        raise Refused(
            f"{out} was begun by another version of prep, whose points differ from this one's; "
            "name another --out"
        )
    other = sorted(k for k in before | now if before.get(k) != now.get(k))
    if other:
        changes = ", ".join(f"{k} was {before.get(k)}, now {now.get(k)}" for k in other)
        raise Refused(f"{out} was begun with other parameters ({changes}); name another --out")


def collect(
    cases: list[Case], parts: dict[str, str], settings: Settings, folder: Path, mean: Mean
) -> Found:
    """Decide, from the steps' files, which cases are included.

    Raises:
      Refused: when fewer than two training cases and one of validation are.
    """
    rows: list[Row] = []
    table: list[dict] = []
    bad: list[str] = []
    notes: dict[str, None] = {}  # in order, each once
    for case in cases:
        fit = steps.place(case, settings, folder, mean)
        reason, dice = "", float(fit.get("dice", np.nan))
        if "problem" in fit:
            reason = str(fit["problem"])
            if str(fit["kind"]) == "bad":
                bad.append(reason)
        elif dice < settings.min_dice:
            reason = f"point-mask Dice {dice:.3f} is under {settings.min_dice:g}"
        elif np.linalg.det(fit["theta"][:, :2]) <= 0:
            reason = "the affine map mirrors the shape"
        part = "excluded" if reason else parts[case.patient]
        data = steps.prepare(case, settings, folder)
        notes |= dict.fromkeys(f"{case.image.name}: {note}" for note in data.get("notes", ()))
        time = float(data.get("time_s", np.nan))
        table.append(
            {
                "case": case.name,
                "patient": case.patient,
                "frame": case.frame,
                "split": part,
                "covers": "myocardium",
                "row": "" if reason else len(rows),
                "point_mask_dice": "" if np.isnan(dice) else f"{dice:.5f}",
                "reason": reason,
                "time_s": "" if np.isnan(time) else f"{time:.5f}",
                "image": f"{case.image.parent.name}/{case.image.name}",
                "mask": f"{case.mask.parent.name}/{case.mask.name}",
            }
        )
        if not reason:
            rows.append(Row(case, part, dice, folder / f"{case.name}.fit.npz"))
    training = sum(r.split == "train" for r in rows)
    if training < 2 or training == len(rows):
        reasons = [t["reason"] for t in table if t["reason"]]
        raise Refused(
            f"{training} of {len(cases)} cases are left for training and {len(rows) - training} "
            "for validation, at least 2 and 1 are needed"
            + (f"; the first reason: {reasons[0]}" if reasons else "")
        )
    assert_disjoint([r.case.patient for r in rows], [r.split for r in rows])
    return Found(rows, table, bad, list(notes), folder)


def write_data_set(
    out: Path,
    found: Found,
    meta: dict,
    num_modes: int,
    *,
    closed: bool = False,
    shard_cases: int = 0,
) -> None:
    """Write arrays, shape model and tables; the table of fields comes last, as the seal.

    closed: the shapes are rings. shard_cases: of each shard of images and masks, 0 for one file
    each.
    """
    rows, size, num_points = found.rows, meta["size"], meta["num_points"]
    (out / SEAL).unlink(missing_ok=True)
    fits = [_load(r.fit) for r in rows]
    grid_points = np.stack([f["grid_points"] for f in fits])
    thetas = np.stack([f["theta"] for f in fits])
    training = np.array([r.split == "train" for r in rows])
    # The canonical frame: the mean training shape has centroid 0 and RMS radius 1.
    mean = grid_points[training].mean(axis=0)
    centre = mean.mean(axis=0)
    unit = float(np.sqrt(((mean - centre) ** 2).sum(axis=1).mean()))
    canonical = (grid_points - centre) / unit
    offsets = thetas[:, :, :2] @ centre + thetas[:, :, 2]
    thetas = np.concatenate([thetas[:, :, :2] * unit, offsets[:, :, None]], axis=2)
    points = np.einsum("nij,ntj->nti", thetas[:, :, :2], canonical) + thetas[:, None, :, 2]
    components = principal_modes(canonical[training], num_modes)
    mean, modes, variances = (jnp.asarray(part, jnp.float32) for part in components)
    model = shape_model.ShapeModel(mean, modes, variances, closed)

    count = len(rows)
    spacing = np.full((count, 2), np.nan, np.float32)
    truth = np.full((count, num_points, 2), np.nan, np.float32)
    with pictures(out, count, size, shard_cases) as take:
        for i, row in enumerate(rows):
            data = _load(found.folder / f"{row.case.name}.input.npz")
            take(data["image"], data["mask"])
            spacing[i] = data["spacing_mm"]
            if "truth" in data:
                truth[i] = data["truth"]
    save_floats(out / "points.npy", points)
    save_floats(out / "canonical_points.npy", canonical)
    save_floats(out / "thetas.npy", thetas)
    save_floats(out / "spacing_mm.npy", spacing)
    if np.isfinite(truth).all():
        save_floats(out / "truth_points.npy", truth)
    shape_model.save(out / "shape_model.npz", model)
    write_table(out, found.table)
    meta = meta | {
        "num_cases": count,
        "num_modes": len(model.variances),
        "num_listed": len(found.table),
    }
    write_whole(out / SEAL, json.dumps(meta, indent=1) + "\n")


@contextmanager
def pictures(
    out: Path, count: int, size: int, shard_cases: int = 0
) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
    """What takes image and mask (S, S) of each of ``count`` cases, one after another.

    They go into one file each or, with ``shard_cases``, into shards of so many; those of an earlier
    build go.

    Raises:
      OSError: when they cannot be written.
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(_pictures(out / name, count, size, shard_cases))
            for name in PICTURES
        ]

        def take(*shown: np.ndarray) -> None:
            for write, picture in zip(files, shown, strict=True):
                write(np.ascontiguousarray(picture, np.uint8))

        yield take


@contextmanager
def _pictures(
    path: Path, count: int, size: int, shard_cases: int
) -> Iterator[Callable[[np.ndarray], Any]]:
    """The same for the images or the masks, in ``path`` with a suffix."""
    file, folder = path.with_suffix(".npy"), path.with_suffix(".zarr")
    if folder.exists():
        shutil.rmtree(folder)
    if shard_cases:
        with shards.writer(folder, count, size, shard_cases) as take:
            yield take
        file.unlink(missing_ok=True)
        return
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    with _replaced(file) as out:  # not mapped: a full disk would end the process without a word
        np.lib.format.write_array_header_1_0(out, header)
        yield lambda picture: out.write(picture.data)


def read_table(directory: Path) -> list[dict]:
    """The rows of the table of cases of a data set, as text; without ``covers``, of whole walls.

    Raises:
      OSError: when it cannot be read.
      ValueError, csv.Error: when it is no table in UTF-8.
    """
    with open(directory / "cases.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{"covers": labels.COVERS[labels.MYOCARDIUM]} | row for row in rows]


def write_table(out: Path, rows: list[dict]) -> None:
    """Write the table of cases of a data set."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(out / "cases.csv", text.getvalue())


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except (OSError, ValueError) as error:
        raise Refused(f"{path.name}: a step's file is broken; remove it and run again") from error


def save_floats(path: Path, array: np.ndarray) -> None:
    """Write an array as float32; it appears whole or not at all."""
    with _replaced(path) as file:
        np.save(file, np.ascontiguousarray(array, np.float32))


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the old one's place when it is whole; a reader who has the old one
    mapped keeps it."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        yield file
    os.replace(temporary, path)
