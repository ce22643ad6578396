"""From a data set to a larger one: with cases of which only the cavity, or nothing, is drawn, or
whose points a reader corrected.

Of cases that only the cavity is drawn of, those to train on can have whole walls, which a trained
model completes.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jssm import dataset
from jssm.files.whole import write_whole
from jssm.shape import labels, order, shape_model
from prep.dataset import build, corrected, split, store
from prep.dataset import cases as steps
from prep.dataset.cases import Case
from prep.dataset.settings import Settings
from prep.dataset.verify import check
from prep.errors import Refused, Unsuitable
from prep.shapes import cavity, point_cloud

SHOWN = ("image", "mask")  # read again when they are written, for they may not fit in memory
Reader = Callable[[Case], dict[str, Any]]  # the arrays of a case, by name
FLOATS = ("points", "canonical_points", "thetas", "spacing_mm")


@dataclass(frozen=True)
class Request:
    """What ``python -m prep extend`` was asked for.

    images: a folder, or None where there are points. cavities: None for images alone. walls: the
    model that completes them, or "". points: what reports saved. shard_cases: of each shard of
    images and masks, 0 for one file each.
    """

    base: Path
    out: Path
    settings: Settings
    images: Path | None = None
    cavities: Path | None = None
    walls: str = ""
    points: tuple[Path, ...] = ()
    split: Path | None = None
    shard_cases: int = 0

    @property
    def covers(self) -> str:
        """What the new labels cover."""
        if self.points:
            return labels.COVERS[labels.MYOCARDIUM]
        return labels.COVERS[labels.NONE if self.cavities is None else labels.CAVITY]

    @property
    def source(self) -> str:
        """Where the new cases come from."""
        if self.images is None:
            return "corrected points"
        return self.images.name + (f" with walls by {Path(self.walls).name}" if self.walls else "")


@dataclass(frozen=True)
class Outcome:
    """What it came to; bad: one sentence for each input that could not be used; notes: sentences
    about numbers that are not believed."""

    total: int
    included: int
    bad: list[str]
    notes: list[str]


def run(request: Request) -> Outcome:
    """Write the cases of ``request.base`` and the new ones to ``request.out``.

    The shape model stays the base's. A patient whom the base knows keeps their side of the split.

    Raises:
      Refused: when the base is no sound data set, the target is not empty, options contradict one
        another, no case is found, or two cases have one name.
    """
    meta, table = _open_base(request)
    settings = replace(
        request.settings,
        label=None if request.cavities is None else request.settings.label,
        **{name: meta[name] for name in ("size", "num_points", "min_dice")},
    )
    cases, bad, read = (
        _corrected(request, settings) if request.points else _drawn(request, settings)
    )
    if not cases:
        raise Refused(f"no case was found in {request.source}" + (f": {bad[0]}" if bad else ""))
    taken = {row["case"] for row in table}
    if same := [case.name for case in cases if case.name in taken]:
        raise Refused(f"{request.base} has a case {same[0]} already; names must differ")
    parts = _parts(request, cases, table)
    if request.walls:
        read = _with_walls(request, settings, read, parts)

    found = [_arrays(case, read) for case in tqdm(cases, "reading", disable=None)]
    bad += [new["problem"] for new in found if new.get("kind") == "bad"]
    notes = dict.fromkeys(
        f"{case.image.name}: {note}"
        for case, new in zip(cases, found, strict=True)
        for note in new.get("notes", ())
    )
    included = [(case, new) for case, new in zip(cases, found, strict=True) if "problem" not in new]
    rows = len([row for row in table if row["row"]])
    for case, new in zip(cases, found, strict=True):
        table.append(_row(case, new, parts[case.patient], rows, request))
        rows += "problem" not in new
    request.out.mkdir(parents=True, exist_ok=True)
    _write_arrays(request, included, settings, read)
    shutil.copyfile(request.base / "shape_model.npz", request.out / "shape_model.npz")
    store.write_table(request.out, table)
    source = f"{meta['source']}; {request.source}"
    meta = {"shape_cases": meta["num_cases"], **meta}  # those of the first shape model
    meta.pop("parts", None)  # the pictures of all parts are copied
    meta |= {"source": source, "num_cases": rows, "num_listed": len(table)}
    write_whole(request.out / "dataset.json", json.dumps(meta, indent=1) + "\n")
    from prep.dataset import report

    report.write(request.out)
    return Outcome(len(cases), len(included), bad, list(notes))


def _open_base(request: Request) -> tuple[dict, list[dict]]:
    """dataset.json and the rows of cases.csv, once all can begin."""
    if findings := check(request.base):
        raise Refused(f"{request.base} is no sound data set: {findings[0]}")
    if (request.images is None) == (not request.points):
        raise Refused("either --images or --points is needed")
    if request.points and (request.cavities or request.walls):
        raise Refused("--points: its walls are whole; --cavities and --walls go with --images")
    if request.walls and request.cavities is None:
        raise Refused("--walls: whole walls are put around drawn cavities; --cavities is needed")
    for folder in (request.images, request.cavities):
        if folder is not None and not folder.is_dir():
            raise Refused(f"{folder}: a folder was expected")
    if request.out.exists() and any(request.out.iterdir()):
        raise Refused(f"{request.out} is not empty; name another --out")
    if shape_model.load(request.base / "shape_model.npz").closed:
        if request.points:
            raise Refused(f"--points: {request.base} has rings, and reports correct none")
        if request.cavities:
            raise Refused("--cavities: a drawn cavity does not tell where a ring's points begin")
    return dataset.read_meta(request.base), store.read_table(request.base)


def _drawn(request: Request, settings: Settings) -> tuple[list[Case], list[str], Reader]:
    """The cases of folders of images and cavities, what is wrong with others, and how to read one.

    Images alone are paired with themselves.
    """
    assert request.images is not None
    listing = build.Request(
        images=request.images,
        masks=request.cavities or request.images,
        out=request.out,
        settings=settings,
    )
    return *build.find_cases(listing), lambda case: _read(case, settings)


def _with_walls(
    request: Request, settings: Settings, read: Reader, parts: dict[str, str]
) -> Reader:
    """How to read one with its whole wall, if its patient is one to train on."""
    from prep.dataset import completed

    model = completed.model_for(request.walls, settings.num_points)
    shape = shape_model.load(request.base / "shape_model.npz")
    known: dict[str, np.ndarray] = {}  # points, since each case is read twice

    def whole(case: Case) -> dict[str, Any]:
        found = read(case)
        if parts[case.patient] != "train":
            return found
        if case.name not in known:
            known[case.name] = completed.points_of(found, model, settings)
        wall = corrected.walled(known[case.name], found["mask"].shape, shape)
        return found | wall | {"covers": labels.COVERS[labels.MYOCARDIUM]}

    return whole


def _corrected(request: Request, settings: Settings) -> tuple[list[Case], list[str], Reader]:
    """The same of files that reports saved."""
    shape = shape_model.load(request.base / "shape_model.npz")
    cases, contents, bad = corrected.find(request.points)
    return (
        cases,
        bad,
        lambda case: corrected.read_frame(case, contents[case.image], settings, shape),
    )


def _parts(request: Request, cases: list[Case], table: list[dict]) -> dict[str, str]:
    """The side of the split of every new case's patient; a single new one is trained on."""
    known = {r["patient"]: r["split"] for r in table if r["split"] != "excluded"}
    new = [case.patient for case in cases if case.patient not in known]
    settings = request.settings
    wanted = split.read(request.split) if request.split else None
    if wanted is None and len(set(new)) == 1:
        return known | {new[0]: "train"}
    return known | (split.assign(new, settings.val_fraction, settings.seed, wanted) if new else {})


def _arrays(case: Case, read: Reader) -> dict:
    """The arrays of a new case, all but its pictures; or problem and kind."""
    found = steps.attempt(read, case)
    return {name: array for name, array in found.items() if name not in SHOWN}


def _read(case: Case, settings: Settings) -> dict:
    found = steps.read_frame(case, settings)
    points = np.full((settings.num_points, 2), np.nan)
    if settings.label is None:
        return found | {"points": points}
    is_inner = ~order.is_outer(settings.num_points)
    points[is_inner] = cavity.inner_points(found["mask"], int(is_inner.sum()))
    drawn = point_cloud.polygon_mask(
        points[order.cavity_strip(settings.num_points)], found["mask"].shape
    )
    dice = point_cloud.dice(drawn, found["mask"])
    if dice < settings.min_dice:
        raise Unsuitable(f"point-mask Dice {dice:.3f} is under {settings.min_dice:g}")
    return found | {"points": points, "dice": dice}


def _row(case: Case, new: dict, part: str, row: int, request: Request) -> dict:
    """The line of cases.csv of a new case, which takes the place ``row`` if it is included."""
    reason, time = new.get("problem", ""), new.get("time_s", np.nan)
    has_mask = request.covers != labels.COVERS[labels.NONE]
    return {
        "case": case.name,
        "patient": case.patient,
        "frame": case.frame,
        "split": "excluded" if reason else part,
        "covers": new.get("covers", request.covers),
        "row": "" if reason else row,
        "point_mask_dice": f"{new['dice']:.5f}" if "dice" in new else "",
        "reason": reason,
        "time_s": "" if np.isnan(time) else f"{time:.5f}",
        "image": f"{case.image.parent.name}/{case.image.name}",
        "mask": f"{case.mask.parent.name}/{case.mask.name}" if has_mask else "",
    }


def _write_arrays(
    request: Request, included: list[tuple[Case, dict]], settings: Settings, read: Reader
) -> None:
    """The base's arrays with those of the new cases behind them; what these lack is NaN."""
    base = dataset.load(request.base)
    total = len(base.images) + len(included)
    with store.pictures(request.out, total, settings.size, request.shard_cases) as take:
        for block in dataset.blocks(len(base.images)):
            for image, mask in zip(base.images[block], base.masks[block], strict=True):
                take(image, mask)
        for case, _ in included:
            found = read(case)
            take(*(found[name] for name in SHOWN))
    unknown = {
        "canonical_points": np.full((settings.num_points, 2), np.nan),
        "truth_points": np.full((settings.num_points, 2), np.nan),
        "thetas": np.full((2, 3), np.nan),
    }
    for name in (*FLOATS, "truth_points"):
        old = getattr(base, name)
        if old is not None:
            new = [case[name] if name in case else unknown[name] for _, case in included]
            whole = np.concatenate([old, np.stack(new)]) if new else old
            store.save_floats(request.out / f"{name}.npy", whole)
