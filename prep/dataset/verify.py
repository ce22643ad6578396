"""Check a data set directory in one pass and list all that is wrong with it.

Arrays are read a few cases at a time, so that any data set can be checked.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from jssm.dataset import PICTURES, blocks, load, mapped, parts, pictures
from jssm.files.archive import read_npz
from jssm.shape import labels, order
from jssm.shards import Pictures
from prep.dataset.split import leaks
from prep.dataset.store import COLUMNS, read_table
from prep.shapes.point_cloud import dice, loops, polygon_mask, signed_area
from prep.shapes.registration import apply

FIELDS: dict[str, type | tuple[type, ...]] = {
    "format": int, "view": str, "size": int, "num_points": int, "seed": int, "source": str,
    "min_dice": (int, float),
}  # fmt: skip
WALL, CAVITY, NONE = (labels.COVERS[i] for i in (labels.MYOCARDIUM, labels.CAVITY, labels.NONE))
OUTSIDE_PX = 0.25  # how far outside the image points may lie, as a part of its width


def check(directory: Path) -> list[str]:
    """One sentence per finding, each naming the file; an empty list for a good data set."""
    if not directory.is_dir():
        return [f"{directory}: a data set directory was expected"]
    meta, findings = _meta(directory / "dataset.json")
    rows, more = _table(directory)
    findings += more
    if meta is None or rows is None:
        return findings
    included = [r for r in rows if r["split"] in ("train", "val")]
    findings += _part_findings(directory, meta)
    arrays, more = _arrays(directory, len(included), meta)
    findings += more
    findings += _table_findings(rows, included, meta["min_dice"])
    closed = _is_closed(directory / "shape_model.npz")
    cases = sorted(included, key=lambda row: _number(row["row"]))
    with tqdm(total=len(cases), desc="checking", unit="case", disable=None) as bar:
        for block in blocks(len(cases)):
            read, more = _read(arrays, block)
            findings += more
            for place, i in enumerate(block):
                case = {name: array[place] for name, array in read.items()}
                cause = f"{cases[i]['case']} (row {i}): "
                findings += [cause + text for text in _case_findings(case, cases[i], meta, closed)]
            bar.update(len(block))
    return findings + list(_model_findings(directory / "shape_model.npz", arrays, included, meta))


def _is_closed(path: Path) -> bool:
    """Whether the shapes are rings, by their model's file, as far as that can be read."""
    try:
        return "closed" in read_npz(path)
    except (OSError, ValueError):
        return False


def _meta(path: Path) -> tuple[dict | None, list[str]]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [f"dataset.json: cannot be read ({_cause(error)})"]
    if not isinstance(meta, dict):
        return None, ["dataset.json: a table of fields was expected"]
    findings = []
    for name, kind in FIELDS.items():
        if not isinstance(meta.get(name), kind) or isinstance(meta.get(name), bool):
            findings.append(f"dataset.json: {name} is {meta.get(name)!r}, of the wrong type")
    if meta.get("format") != 1:
        findings.append(f"dataset.json: format {meta.get('format')!r}, 1 was expected")
    usable = all(isinstance(meta.get(n), FIELDS[n]) for n in ("size", "num_points", "min_dice"))
    return (meta if usable else None), findings


def _table(directory: Path) -> tuple[list[dict] | None, list[str]]:
    try:
        rows = read_table(directory)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return None, [f"cases.csv: cannot be read ({_cause(error)})"]
    missing = [c for c in COLUMNS if not rows or c not in rows[0]]
    if missing:
        return None, [f"cases.csv: the columns {', '.join(missing)} are missing, or it has no row"]
    return rows, []


def _part_findings(directory: Path, meta: dict) -> Iterator[str]:
    """Whether the directories that it is joined of are what they were."""
    if "parts" not in meta:
        return
    try:
        folders = parts(directory, meta)
    except ValueError as error:
        yield f"dataset.json: {_cause(error)}"
        return
    for part, folder in zip(meta["parts"], folders, strict=True):
        try:
            same = load(folder).digest == part.get("digest")
        except (OSError, ValueError) as error:
            yield f"{part['folder']}: cannot be read ({_cause(error)})"
            continue
        if not same:
            yield f"{part['folder']}: not as it was when it was joined; join the parts again"


def _arrays(
    directory: Path, count: int, meta: dict
) -> tuple[dict[str, np.ndarray | Pictures], list[str]]:
    """The arrays of the right shape and number type, and what is wrong with the others."""
    size, num_points = meta["size"], meta["num_points"]
    wanted = {
        "images": ((count, size, size), np.uint8),
        "masks": ((count, size, size), np.uint8),
        "points": ((count, num_points, 2), np.float32),
        "canonical_points": ((count, num_points, 2), np.float32),
        "thetas": ((count, 2, 3), np.float32),
        "spacing_mm": ((count, 2), np.float32),
        "truth_points": ((count, num_points, 2), np.float32),
    }
    arrays: dict[str, np.ndarray | Pictures] = {}
    findings = []
    for name, (shape, dtype) in wanted.items():
        path = directory / f"{name}.npy"
        if name == "truth_points" and not path.exists():
            continue
        place = name if name in PICTURES else path.name
        try:
            array = pictures(directory, name, meta) if name in PICTURES else mapped(path)
        except (OSError, ValueError) as error:
            findings.append(f"{place}: cannot be read ({_cause(error)})")
            continue
        if array.shape != shape:
            findings.append(f"{place}: the shape is {array.shape}, {shape} was expected")
        if array.dtype != dtype:
            findings.append(f"{place}: the type is {array.dtype}, not {np.dtype(dtype)}")
        if array.shape == shape:
            arrays[name] = array
    return arrays, findings


def _read(
    arrays: dict[str, np.ndarray | Pictures], rows: np.ndarray
) -> tuple[dict[str, np.ndarray], list[str]]:
    """These rows of all arrays, and what is wrong with those that cannot be read."""
    found, findings = {}, []
    for name, array in arrays.items():
        try:
            found[name] = np.asarray(array[rows])
        except (OSError, ValueError) as error:
            findings.append(
                f"{name}: rows {rows[0]} to {rows[-1]} cannot be read ({_cause(error)})"
            )
    return found, findings


def _table_findings(rows: list[dict], included: list[dict], min_dice: float) -> Iterator[str]:
    seen: set[str] = set()
    for row in rows:
        name = row["case"]
        if name in seen:
            yield f"cases.csv: the case {name} is listed twice"
        seen.add(name)
        if row["split"] not in ("train", "val", "excluded"):
            yield f"cases.csv: {name} has the split {row['split']!r}, not train, val or excluded"
        if row["split"] == "excluded" and (row["row"] or not row["reason"]):
            yield f"cases.csv: {name} is excluded, so it needs a reason and no row"
        if row["covers"] not in labels.COVERS:
            yield (
                f"cases.csv: {name} has covers {row['covers']!r}, not {', '.join(labels.COVERS)}"
            )
        if row["split"] in ("train", "val"):
            if row["reason"]:
                yield f"cases.csv: {name} is included but has a reason to be excluded"
            if row["covers"] != NONE and not _number(row["point_mask_dice"]) >= min_dice:
                yield (
                    f"cases.csv: {name} is included with the point-mask Dice "
                    f"{row['point_mask_dice'] or 'missing'}, at least {min_dice:g} was expected"
                )
        for column in ("image", "mask"):
            if Path(row[column]).is_absolute():
                yield f"cases.csv: {name} has an absolute path, {row[column]}"
    if sorted(r["row"] for r in included) != sorted(map(str, range(len(included)))):
        yield f"cases.csv: the rows of included cases are not 0 to {len(included) - 1}, each once"
    for part in ("train", "val"):
        if not any(r["split"] == part for r in included):
            yield f"cases.csv: no case is in the split {part}"
    for patient in leaks([r["patient"] for r in included], [r["split"] for r in included]):
        yield f"cases.csv: the patient {patient} is in both train and val"


def _case_findings(
    case: dict[str, np.ndarray], row: dict, meta: dict, closed: bool
) -> Iterator[str]:
    """What is wrong with one case: its arrays, and its row of the table."""
    covers = row["covers"]
    yield from _number_findings(case, covers)
    if "spacing_mm" in case:
        spacing = case["spacing_mm"]
        unknown = np.isnan(spacing).all()
        if not unknown and not (np.isfinite(spacing).all() and (spacing > 0).all()):
            yield f"spacing_mm.npy has {spacing.tolist()}, not positive numbers or NaN"
    if "images" in case and np.ptp(case["images"]) == 0:
        yield "the image is of one grey value"
    if "masks" in case:
        mask = case["masks"]
        if covers == NONE and mask.any():
            yield "the mask is not empty, though the label covers nothing"
        elif covers != NONE and not mask.any():
            yield "the mask is empty"
        elif mask.max() > 1:
            yield f"the mask has the value {mask.max()}; 0 and 1 were expected"
        elif (pieces := ndimage.label(mask, np.ones((3, 3)))[1]) > 1:
            yield f"the mask has {pieces} pieces; one was expected"
    if "points" in case and np.isfinite(case["points"]).all():
        yield from _point_findings(case["points"].astype(np.float64), meta["size"], closed)
    if covers == WALL and {"thetas", "points", "canonical_points"} <= case.keys():
        theta = case["thetas"].astype(np.float64)
        if np.linalg.det(theta[:, :2]) <= 0:
            yield "thetas.npy mirrors or collapses the shape (its determinant is not positive)"
        moved = apply(theta, case["canonical_points"].astype(np.float64))
        error = np.abs(moved - case["points"]).max()
        if error > 0.05:
            yield f"thetas.npy maps canonical_points.npy {error:.2f} px away from points.npy"
    if {"points", "masks"} <= case.keys():
        yield from _dice_findings(case["points"], case["masks"], row, closed)


def _number_findings(case: dict[str, np.ndarray], covers: str) -> Iterator[str]:
    """What is not finite but should be, or is known though the label does not give it."""
    for name in ("points", "canonical_points", "thetas", "truth_points"):
        if name not in case:
            continue
        values = case[name]
        if name == "truth_points" and np.isnan(values).all():
            continue  # of no phantom
        known = np.zeros(values.shape, bool)
        known[:] = covers == WALL
        if name == "points" and covers == CAVITY:
            known[~order.is_outer(len(values))] = True
        if not np.isfinite(values[known]).all():
            yield f"{name}.npy has a NaN or an infinite number"
        if not np.isnan(values[~known]).all():
            yield f"{name}.npy has numbers where the label, {covers}, gives none; NaN was expected"


def _point_findings(points: np.ndarray, size: int, closed: bool) -> Iterator[str]:
    low, high = points.min(), points.max()
    if low < -OUTSIDE_PX * size or high > (1 + OUTSIDE_PX) * size:
        yield f"points.npy reaches far outside the image ({low:.0f} to {high:.0f} px)"
    for name, part in zip(("inner", "outer"), order.boundaries(points), strict=True):
        if signed_area(part) <= 0:
            yield f"points.npy has the {name} boundary in the wrong order; clockwise was expected"
    # Outer boundary forth, inner boundary back: clockwise only if each is what it is said to be.
    if sum(map(signed_area, loops(points, closed=closed))) >= 0:
        yield "points.npy has inner and outer boundary in each other's place"


def _model_findings(
    path: Path, arrays: dict[str, np.ndarray | Pictures], included: list[dict], meta: dict
) -> Iterator[str]:
    try:
        arrays_of = read_npz(path)
        mean, modes, variances = (arrays_of[n] for n in ("mean", "modes", "variances"))
    except (OSError, ValueError, KeyError) as error:
        yield f"shape_model.npz: cannot be read ({_cause(error)})"
        return
    count, num_points = len(variances), meta["num_points"]
    if mean.shape != (num_points, 2) or modes.shape != (count, num_points, 2):
        yield (
            f"shape_model.npz: the shapes are {mean.shape}, {modes.shape}, {variances.shape}; "
            f"({num_points}, 2), (K, {num_points}, 2), (K,) were expected"
        )
        return
    for name, array in (("mean", mean), ("modes", modes), ("variances", variances)):
        if array.dtype != np.float32:
            yield f"shape_model.npz: {name} is {array.dtype}, float32 was expected"
        if not np.isfinite(array).all():
            yield f"shape_model.npz: {name} has a NaN or an infinite number"
            return
    rows = modes.reshape(count, -1).astype(np.float64)
    if np.abs(rows @ rows.T - np.eye(count)).max() > 1e-3:
        yield "shape_model.npz: the modes are not orthonormal"
    if (variances < 0).any() or (np.diff(variances) > 0).any():
        yield "shape_model.npz: the variances are not positive and falling"
    radius = np.sqrt((mean.astype(np.float64) ** 2).sum(axis=1).mean())
    if np.abs(mean.mean(axis=0)).max() > 1e-3 or abs(radius - 1) > 1e-3:
        yield "shape_model.npz: the mean's centroid is not 0 or its RMS radius not 1"
    if "canonical_points" in arrays:
        whole = [r for r in included if r["split"] == "train" and r["covers"] == WALL]
        places = [_number(r["row"]) for r in whole]
        shaped = min(len(included), meta.get("shape_cases", len(included)))
        training = sorted(int(i) for i in places if 0 <= i < shaped)
        if training:
            canonical = arrays["canonical_points"]
            sums = [
                canonical[training[part[0] : part[-1] + 1]].astype(np.float64).sum(axis=0)
                for part in blocks(len(training))
            ]
            if not np.abs(np.sum(sums, axis=0) / len(training) - mean).max() <= 1e-3:
                yield "shape_model.npz: the mean is not that of the training cases"


def _dice_findings(points: np.ndarray, mask: np.ndarray, row: dict, closed: bool) -> Iterator[str]:
    if row["covers"] == CAVITY:
        points = points[order.cavity_strip(len(points))]
    if not np.isfinite(points).all():
        return
    found = dice(polygon_mask(points, mask.shape, closed=closed), mask)
    if mask.any() and abs(found - _number(row["point_mask_dice"])) > 0.01:
        yield (
            f"the points cover the mask with the Dice {found:.3f}, but cases.csv says "
            f"{row['point_mask_dice']}"
        )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
