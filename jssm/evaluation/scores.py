"""Scores of a method on a data set: per case, and their summary.

A method is any `predict` that maps images (N, H, W) in 0..1 to something with `mask` (N, H, W) in
0..1 and `points` (N, T, 2) in px, or None where the method has no points.

A case whose label covers the cavity alone is scored by its cavity: the polygon of the predicted
inner points, closed at the base, against the drawn one, under names of its own (``cavity_...``).

No case is ever dropped. The rule for failures is that of `jssm.evaluation.metrics`: without a
predicted pixel, Dice 0, no component, and the image diagonal as every surface distance; with a
point that is not finite, the diagonal as the point error.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from jssm.config import Config
from jssm.dataset import Dataset
from jssm.evaluation import metrics, reliability
from jssm.image_path import from_uint8
from jssm.rasterizer import rasterize
from jssm.shape import labels, order, uncertainty
from jssm.shape.integrity import integrity
from jssm.shape.masks import PackedMasks, binarize
from jssm.shape.shape_model import from_arrays

Predict = Callable[[NDArray], Any]

OVERLAPS = ("dice", "hd_mm", "hd_px", "hd95_mm", "hd95_px", "assd_mm", "assd_px")
CAVITY = "cavity_"  # before the name of a score: it is that of the cavity
PREFIXES = {"myocardium": "", "cavity": CAVITY}  # of the scores, by what a label covers
SCORES = (
    *OVERLAPS,
    *(CAVITY + name for name in OVERLAPS),
    *("components", "point_rmse_px", "correspondence_px", "correspondence_mm"),
)
FAILURE_RULE = (
    "a prediction without a pixel stays in the mean with Dice 0, 0 components and the image "
    "diagonal as its distances"
)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found, for n cases of (H, W) images.

    table: one row per case, in the order of `rows`: case, patient, frame, covers, the scores (NaN
    where the data, the label or the method has no such thing), the shape certificate, folded and
    failed (0 or 1). summary: the content of metrics.json. rows: (n,) rows of the data set. masks:
    (n, H, W), the predicted ones. points: (n, T, 2) px, the predicted ones, or None.
    squares: (n, T), how far the true points lie from these by their own covariances
    (``reliability.squared_distances``); NaN where that is not known.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    rows: NDArray
    masks: PackedMasks
    points: NDArray | None
    squares: NDArray


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
    found = _predict_all(predict, data, rows, batch_size, progress)
    kinds = [labels.COVERS[code] for code in data.covers]
    records = [
        {
            **_names(data.cases.iloc[row]),
            "covers": kinds[row],
            **_case_scores(data, row, kinds[row], found.masks[k], points),
        }
        for k, row in enumerate(tqdm(rows, "scoring", disable=not progress, delay=1))
        for points in [None if found.points is None else found.points[k]]
    ]
    squares = _squares(found, data.points[rows])
    table = pd.DataFrame(records).assign(
        **found.certificate,
        confidence=found.confidence,
        in_95_ellipse=[reliability.held(of_case, [0.95])[0] for of_case in squares],
    )
    summary = {
        **summarize(table),
        **reliability.summary(squares, found.confidence, table["dice"].to_numpy(float)),
        "seconds_per_image": found.seconds_per_image,
    }
    return Evaluation(table, summary, rows, found.masks, found.points, squares)


def summarize(table: pd.DataFrame) -> dict[str, Any]:
    """The summary of a table of cases: `cases`, {"mean", "std"} per score, and the shares.

    Means and standard deviations (of the population, ddof = 0) are over all cases that have the
    score; null (None) where no case has it. `myocardium_cases` and `cavity_cases` say how many
    labels cover what, `..._with_spacing` how many of these have a score in mm.
    """
    summary: dict[str, Any] = {"cases": len(table)}
    for kind, prefix in PREFIXES.items():
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


def check_suits(
    config: Config, arrays: dict[str, Any], data: Dataset, *, source: str | Path, directory: str
) -> None:
    """Check that a model can be judged on a data set, that in ``directory``.

    config, arrays: what :func:`jssm.methods.registry.read` gives of the ``source``.

    Raises:
      ValueError: when the images are of another size, or the shapes have more or fewer points or
        of the two one alone is a ring.
    """
    size = config.model.size or data.size
    if size != data.size:
        raise ValueError(
            f"{source}: its images are {size} pixels wide but those of {directory} are {data.size}"
        )
    if "shape" not in arrays:  # a baseline
        return
    shape, known = from_arrays(arrays["shape"]), data.shape_model
    if shape.num_points != known.num_points:
        raise ValueError(
            f"{source}: its shapes have {shape.num_points} points but those of {directory} have "
            f"{known.num_points}"
        )
    if shape.closed != known.closed:
        raise ValueError(f"{source}: of its shapes and those of {directory} one alone is a ring")


class _Predictions(NamedTuple):
    """Of n rows: masks (n, H, W); points (n, T, 2) px, or None; the columns of the shape
    certificate; the points' covariances (n, T, 2, 2), or None; the confidence (n,), NaN where it is
    not known; and how long one image took."""

    masks: PackedMasks
    points: NDArray | None
    certificate: dict[str, Any]
    covariances: NDArray | None
    confidence: NDArray
    seconds_per_image: float


def _predict_all(
    predict: Predict, data: Dataset, rows: NDArray, batch_size: int, progress: bool
) -> _Predictions:
    """What `predict` says of all rows, batch by batch."""
    batch_size = min(batch_size, len(rows))
    certify = jax.jit(jax.vmap(partial(integrity, closed=data.shape_model.closed)))
    masks, points, certificates, sure, covariance, seconds = [], [], [], [], [], 0.0
    first = data.images[rows[:1].repeat(batch_size)]
    jax.block_until_ready(predict(from_uint8(first)))  # compiles
    bar = tqdm(total=len(rows), desc="predicting", unit="image", disable=not progress)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        images = data.images[np.pad(batch, (0, batch_size - len(batch)), mode="edge")]
        began = time.perf_counter()
        prediction = jax.block_until_ready(predict(from_uint8(images)))
        seconds += time.perf_counter() - began
        seen = binarize(np.asarray(prediction.mask))
        _check_shape(seen, data.masks.shape[1:], "masks")
        masks.append(PackedMasks.pack(seen[: len(batch)]))
        if prediction.points is not None:
            points.append(np.asarray(prediction.points))
            _check_shape(points[-1], data.points.shape[1:], "points")
            certificates.append(certify(prediction.points))
        sure.append(getattr(prediction, "confidence", np.full(batch_size, np.nan)))
        if getattr(prediction, "spread", None) is not None:
            covariance.append(np.asarray(uncertainty.covariances(prediction.spread)))
        bar.update(len(batch))
    bar.close()
    mask = PackedMasks(masks, data.masks.shape[-1])
    per_image = seconds / (len(masks) * batch_size)
    confidence = np.concatenate(sure)[: len(rows)]
    if not points:
        return _Predictions(mask, None, {"folded": np.nan}, None, confidence, per_image)
    point = np.concatenate(points)[: len(rows)]
    whole = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *certificates)
    columns = {**vars(whole), "folded": 1 - whole.ok.astype(int)}
    del columns["ok"]
    told = np.concatenate(covariance)[: len(rows)] if covariance else None
    return _Predictions(mask, point, columns, told, confidence, per_image)


def _squares(found: _Predictions, true: NDArray) -> NDArray:
    """The squared distances (n, T) of the true points (n, T, 2), NaN where they are not known."""
    if found.points is None or found.covariances is None:
        return np.full(true.shape[:2], np.nan)
    return reliability.squared_distances(true - found.points, found.covariances)


def _check_shape(found: NDArray, shape: tuple[int, ...], name: str) -> None:
    """Check that each item of a batch has this shape.

    Raises:
      ValueError: when it has not.
    """
    if found.shape[1:] != shape:
        raise ValueError(
            f"the predicted {name} have shape {found.shape[1:]}, expected {shape} as in the "
            "data set"
        )


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
        drawn = _cavity_mask(points, truth.shape, closed=data.shape_model.closed)
        found = metrics.mask_scores(truth, drawn, spacing)
        scores |= {CAVITY + name: found[name] for name in OVERLAPS}
        failed |= bool(found["failed"])
    if points is not None:
        scores |= _point_scores(data, row, points)
    return {**scores, "failed": int(failed)}


def _cavity_mask(
    points: NDArray, image_shape: tuple[int, ...], *, closed: bool
) -> NDArray[np.bool_]:
    """The pixels (H, W) inside the inner points of (T, 2); none where a point is not finite."""
    if not np.isfinite(points).all():
        return np.zeros(image_shape, bool)
    strip = points[order.cavity_strip(len(points), closed=closed)]
    return binarize(np.asarray(rasterize(strip, image_shape, closed=closed)))


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
