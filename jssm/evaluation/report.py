"""A method against a data set: scores per case, their summary, the table and the pictures.

A method is any `predict` that maps images (N, H, W) in 0..1 to something with `mask` (N, H, W) in
0..1 and `points` (N, T, 2) in px, or None where the method has no points.

A case whose label covers the cavity alone is scored by its cavity: the polygon of the predicted
inner points, closed at the base, against the drawn one, under names of its own (``cavity_...``).

No case is ever dropped. The rule for failures is that of `jssm.evaluation.metrics`: without a
predicted pixel, Dice 0, no component, and the image diagonal as every surface distance; with a
point that is not finite, the diagonal as the point error.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from jssm import config, dataset
from jssm.dataset import Dataset
from jssm.evaluation import metrics
from jssm.image_path import from_uint8
from jssm.methods import registry
from jssm.pictures import movies, plots
from jssm.rasterizer import rasterize
from jssm.shape import labels, order
from jssm.shape.integrity import integrity
from jssm.shape.masks import binarize

Predict = Callable[[NDArray], Any]

OVERLAPS = ("dice", "hd_mm", "hd_px", "hd95_mm", "hd95_px", "assd_mm", "assd_px")
CAVITY = "cavity_"  # before the name of a score: it is that of the cavity
SCORES = (
    *OVERLAPS,
    *(CAVITY + name for name in OVERLAPS),
    *("components", "point_rmse_px", "correspondence_px", "correspondence_mm"),
)
FAILURE_RULE = (
    "a prediction without a pixel stays in the mean with Dice 0, 0 components and the image "
    "diagonal as its distances"
)
_KINDS = {"myocardium": "", "cavity": CAVITY}  # what a label covers, and its scores' prefix
_SHEET_CASES = 8
_CINE_PATIENTS, _CINE_FRAMES = 3, 5


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found, for n cases of (H, W) images.

    table: one row per case, in the order of `rows`: case, patient, frame, covers, the scores (NaN
    where the data, the label or the method has no such thing), the shape certificate, folded and
    failed (0 or 1). summary: the content of metrics.json. rows: (n,) rows of the data set. masks:
    (n, H, W) bool, the predicted ones. points: (n, T, 2) px, the predicted ones, or None.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    rows: NDArray
    masks: NDArray[np.bool_]
    points: NDArray | None


def evaluate(
    predict: Predict, data: Dataset, rows: NDArray, *, batch_size: int = 32, progress: bool = True
) -> Evaluation:
    """Scores of `predict` on some rows of a data set.

    Images go to `predict` in batches of one size (the last is padded), so that it compiles once;
    it is called once more at the start, so that the time per image is without the compilation.
    Raises ValueError where there are no rows, or where masks or points have another shape than
    the truth.
    """
    if len(rows) == 0:
        raise ValueError("there are no cases to evaluate, expected at least one row")
    masks, points, certificate, seconds = _predict_all(predict, data, rows, batch_size, progress)
    kinds = [labels.COVERS[code] for code in data.covers]
    records = [
        {
            **_names(data.cases.iloc[row]),
            "covers": kinds[row],
            **_case_scores(data, row, kinds[row], masks[k], None if points is None else points[k]),
        }
        for k, row in enumerate(tqdm(rows, "scoring", disable=not progress, delay=1))
    ]
    table = pd.DataFrame(records).assign(**certificate)
    if points is None:
        table["folded"] = np.nan
    else:
        table["folded"] = 1 - table.pop("ok").astype(int)
    return Evaluation(
        table, {**summarize(table), "seconds_per_image": seconds}, rows, masks, points
    )


def summarize(table: pd.DataFrame) -> dict[str, Any]:
    """The summary of a table of cases: `cases`, {"mean", "std"} per score, and the shares.

    Means and standard deviations (of the population, ddof = 0) are over all cases that have the
    score; null (None) where no case has it. `myocardium_cases` and `cavity_cases` say how many
    labels cover what, `..._with_spacing` how many of these have a score in mm.
    """
    summary: dict[str, Any] = {"cases": len(table)}
    for kind, prefix in _KINDS.items():
        of_kind = table["covers"] == kind
        has_mm = table[f"{prefix}hd_mm"].notna()
        summary[f"{kind}_cases"] = int(of_kind.sum())
        summary[f"{kind}_cases_with_spacing"] = int((of_kind & has_mm).sum())
    for name in SCORES:
        values = table[name].to_numpy(np.float64)
        values = values[~np.isnan(values)]
        known = {"mean": float(values.mean()), "std": float(values.std())} if len(values) else None
        summary[name] = known
    folded = table["folded"].to_numpy(np.float64)
    return {
        **summary,
        "folded_share": None if np.isnan(folded).any() else float(folded.mean()),
        "failed_share": float(table["failed"].mean()),
        "failure_rule": FAILURE_RULE,
    }


def format_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table like the paper's Table 1: a row per method, mean ± standard deviation.

    Distances are in mm; in px where a case has no spacing. Cavities have columns of their own,
    where there are any. A dash stands for what is not known.
    """
    columns: dict[str, str] = {}
    for kind, prefix in _KINDS.items():
        counts = [(s[f"{kind}_cases"], s[f"{kind}_cases_with_spacing"]) for s in summaries.values()]
        if not any(cases for cases, _ in counts):
            continue
        some_mm, some_px = any(mm for _, mm in counts), any(mm < cases for cases, mm in counts)
        units = [unit for unit, shown in (("mm", some_mm), ("px", some_px)) if shown]
        label = "Cavity " if prefix else ""
        columns[f"{label}Dice ↑"] = f"{prefix}dice"
        for title, name in (("HD", "hd"), ("HD95", "hd95"), ("ASSD", "assd")):
            columns |= {f"{label}{title} ({unit}) ↓": f"{prefix}{name}_{unit}" for unit in units}
    columns |= {"CC": "components", "Point RMSE (px) ↓": "point_rmse_px"}
    columns |= {"Folded": "folded_share", "Failed": "failed_share"}

    def cell(value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, Mapping):
            return f"{value['mean']:.3f} ± {value['std']:.3f}"
        return f"{100 * value:.1f} %"

    lines = [["Method", "Cases", *columns], ["---"] * (2 + len(columns))]
    for name, summary in summaries.items():
        lines.append([name, str(summary["cases"]), *(cell(summary[c]) for c in columns.values())])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "".join("| " + " | ".join(line) + " |\n" for line in padded)


def problems(table: pd.DataFrame, *, limit: int = 20) -> str:
    """Lines that name the failed and the folded cases, the first `limit` of each; may be empty."""
    lines = []
    for flag in ("failed", "folded"):
        cases = table.loc[table[flag] == 1, "case"].astype(str).tolist()
        if cases:
            more = f" and {len(cases) - limit} more" if len(cases) > limit else ""
            lines.append(f"{flag}: {', '.join(cases[:limit])}{more}\n")
    return "".join(lines)


def write(
    found: Evaluation, data: Dataset, out: str | Path, *, name: str, progress: bool = True
) -> list[Path]:
    """Writes metrics.json, table.md, cases.csv, the sheets and the cines into `out`; the paths.

    Sheets: best, median and worst cases by Dice, of walls and of cavities. Cines: the first three
    patients (by id) with at least five frames among the cases, where the method has points.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "metrics.json": json.dumps(found.summary, indent=2, allow_nan=False) + "\n",
        "table.md": format_table({name: found.summary}),
        "cases.csv": found.table.to_csv(index=False),
    }
    for file, text in texts.items():
        (out / file).write_text(text, encoding="utf-8")
    sheets = list(_sheets(found.table))
    for file, places in tqdm(sheets, "sheets", disable=not progress, delay=1):
        rows = found.rows[places]
        points = None if found.points is None else found.points[places]
        titles = [_title(found.table.iloc[k]) for k in places]
        plots.overlay_sheet(
            out / file, data.images[rows], data.masks[rows], found.masks[places], points, titles
        )
    cines = {}
    if found.points is not None:
        cines = _cines(found.table)
        for file, (patient, places) in cines.items():
            images, points = data.images[found.rows[places]], found.points[places]
            fps = _fps(found.table.iloc[places])
            plots.cine_gif(out / file, images, points, fps, title=patient, progress=progress)
    return [out / file for file in (*texts, *(file for file, _ in sheets), *cines)]


def run(
    ckpt: str,
    out: str = "",
    *,
    data_dir: str = "",
    split: str = "val",
    step: str = "best",
    batch_size: int = 32,
) -> str:
    """Evaluates a training run, writes the results, and gives the report to print.

    `data_dir` is the one that the run was trained on, and `out` is RUN/eval, where they are empty.
    Raises FileNotFoundError or ValueError, in one sentence, where the run, the data set or the
    split is not there.
    """
    directory = data_dir or config.load(ckpt).data
    if not directory:
        raise ValueError(f"{ckpt}/config.json: data is empty, expected --data DIR instead")
    how, variables = registry.load_method(ckpt, step=step)
    predict = jax.jit(how.predict)
    data = dataset.load(directory)
    rows = data.rows(split)
    target = Path(out or Path(ckpt) / "eval")
    target.mkdir(parents=True, exist_ok=True)  # before the work, in case it cannot be written
    found = evaluate(lambda images: predict(variables, images), data, rows, batch_size=batch_size)
    name = Path(ckpt).resolve().name
    paths = write(found, data, target, name=name)
    return (
        f"{format_table({name: found.summary})}"
        f"split {split} of {directory}; mean ± standard deviation; {FAILURE_RULE}\n"
        f"{problems(found.table)}" + "".join(f"wrote {path}\n" for path in paths)
    )


def _predict_all(
    predict: Predict, data: Dataset, rows: NDArray, batch_size: int, progress: bool
) -> tuple[NDArray[np.bool_], NDArray | None, dict[str, NDArray], float]:
    """Predicted masks, points and shape certificates of all rows, and the seconds per image."""
    batch_size = min(batch_size, len(rows))
    certify = jax.jit(jax.vmap(integrity))
    masks, points, certificates, spent = [], [], [], 0.0
    bar = tqdm(total=len(rows), desc="predicting", unit="image", disable=not progress)
    first = data.images[rows[:1].repeat(batch_size)]
    jax.block_until_ready(predict(from_uint8(first)))  # compiles
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        images = data.images[np.pad(batch, (0, batch_size - len(batch)), mode="edge")]
        began = time.perf_counter()
        prediction = jax.block_until_ready(predict(from_uint8(images)))
        spent += time.perf_counter() - began
        masks.append(binarize(np.asarray(prediction.mask)[: len(batch)]))
        if prediction.points is not None:
            certificate = jax.tree.map(np.asarray, certify(prediction.points))
            points.append(np.asarray(prediction.points)[: len(batch)])
            certificates.append({k: v[: len(batch)] for k, v in vars(certificate).items()})
        bar.update(len(batch))
    bar.close()
    all_masks = np.concatenate(masks)
    if all_masks.shape[1:] != data.masks.shape[1:]:
        raise ValueError(
            f"the predicted masks have shape {all_masks.shape[1:]}, expected "
            f"{data.masks.shape[1:]} as in the data set"
        )
    per_image = spent / (len(masks) * batch_size)
    if not points:
        return all_masks, None, {}, per_image
    all_points = np.concatenate(points)
    if all_points.shape[1:] != data.points.shape[1:]:
        raise ValueError(
            f"the predicted points have shape {all_points.shape[1:]}, expected "
            f"{data.points.shape[1:]} as in the data set"
        )
    joined = {k: np.concatenate([c[k] for c in certificates]) for k in certificates[0]}
    return all_masks, all_points, joined, per_image


def _names(case: pd.Series) -> dict[str, Any]:
    return {k: case[k] for k in ("case", "patient", "frame", "time_s") if k in case.index}


def _case_scores(
    data: Dataset, row: int, covers: str, mask: NDArray[np.bool_], points: NDArray | None
) -> dict[str, float]:
    """All scores of one predicted mask and its points against the truth in `row`.

    `covers` says what the truth is of.
    """
    spacing = data.spacing_mm[row]
    finite = points is None or bool(np.isfinite(points).all())
    failed = not mask.any() or not finite
    scores: dict[str, float] = dict.fromkeys(SCORES, np.nan)
    scores["components"] = metrics.components(mask)
    truth = binarize(data.masks[row])
    if covers == "myocardium":
        found = metrics.mask_scores(truth, mask, spacing)
        scores |= {name: found[name] for name in OVERLAPS}
    elif covers == "cavity" and points is not None:
        found = metrics.mask_scores(truth, _cavity_mask(points, truth.shape), spacing)
        scores |= {CAVITY + name: found[name] for name in OVERLAPS}
        failed |= bool(found["failed"])
    if points is not None:
        scores |= _point_scores(data, row, points)
    return {**scores, "failed": int(failed)}


def _cavity_mask(points: NDArray, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels (H, W) inside the inner points of (T, 2); none where a point is not finite."""
    if not np.isfinite(points).all():
        return np.zeros(shape, bool)
    return binarize(np.asarray(rasterize(points[order.cavity_strip(len(points))], shape)))


def _point_scores(data: Dataset, row: int, points: NDArray) -> dict[str, float]:
    """The errors of predicted points (T, 2), where all the true ones in `row` are known."""
    finite = bool(np.isfinite(points).all())
    spacing = data.spacing_mm[row]
    material = None if data.truth_points is None else data.truth_points[row]
    errors = {}
    for name, true, unit in (
        ("point_rmse_px", data.points[row], (1.0, 1.0)),
        ("correspondence_px", material, (1.0, 1.0)),
        ("correspondence_mm", material, spacing),
    ):
        if true is not None and np.isfinite(true).all() and np.isfinite(unit).all():
            limit = metrics.diagonal(data.masks[row].shape, unit)
            errors[name] = metrics.point_rmse(points, true, unit) if finite else limit
    return errors


def _sheets(table: pd.DataFrame) -> Iterator[tuple[str, NDArray]]:
    """File name and places in the table of each sheet, by falling Dice; the worst from below."""
    for prefix in _KINDS.values():
        dice = table[f"{prefix}dice"].to_numpy(np.float64)
        order = np.argsort(-dice, kind="stable")[: np.count_nonzero(~np.isnan(dice))]
        if not len(order):
            continue
        count = min(_SHEET_CASES, len(order))
        middle = (len(order) - count) // 2
        yield f"{prefix}best.png", order[:count]
        yield f"{prefix}median.png", order[middle : middle + count]
        yield f"{prefix}worst.png", order[::-1][:count]


def _title(case: pd.Series) -> str:
    prefix = _KINDS[case["covers"]]
    mm, px = case[f"{prefix}hd_mm"], case[f"{prefix}hd_px"]
    distance = f"{px:.1f} px" if np.isnan(mm) else f"{mm:.1f} mm"
    flags = [word for word in ("failed", "folded") if case[word] == 1]
    name = "Cavity Dice" if prefix else "Dice"
    scores = f"{name} {case[f'{prefix}dice']:.3f}  HD {distance}"
    return "  ".join([f"{case['case']}\n{scores}", *flags])


def _cines(table: pd.DataFrame) -> dict[str, tuple[str, NDArray]]:
    """Per file name a patient and the places of the frames in the table, in their order."""
    found: dict[str, tuple[str, NDArray]] = {}
    if not {"patient", "frame"} <= set(table.columns):
        return found
    numbered = table[["patient", "frame"]].reset_index(drop=True)
    for patient, frames in numbered.groupby("patient", sort=True):
        if len(frames) >= _CINE_FRAMES and len(found) < _CINE_PATIENTS:
            plain = "".join(c if c.isalnum() or c in ".-" else "_" for c in str(patient))
            places = frames.sort_values("frame", kind="stable").index.to_numpy()
            found[f"cine_{plain}.gif"] = (str(patient), places)
    return found


def _fps(cases: pd.DataFrame) -> float:
    """Frames per second as they were taken, as far as a movie can show them."""
    times = cases.get("time_s", pd.Series(dtype=float)).to_numpy(np.float64)
    step = np.median(np.diff(times)) if len(times) > 1 else np.nan
    return movies.frames_per_second(float(step))
