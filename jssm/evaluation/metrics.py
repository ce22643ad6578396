"""Scores of one predicted mask and its points against the truth, in numpy.

Surface distances follow the `surface-distance` library (DeepMind, 2018): contours run through the
pixels' corners, and each of their elements counts by its length. Both masks of a pair are treated
alike, so the half-pixel offset of the corners cancels.

The rule for failures: a prediction without any pixel gets Dice 0, no component, and every surface
distance equal to the image diagonal; points with a coordinate that is not finite get the diagonal
as their error. Such a case is marked `failed` and stays in every mean.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
_PIXELS = (1.0, 1.0)


def dice(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Dice similarity 2|A∩B| / (|A| + |B|) of two boolean masks (H, W).

    Raises ValueError where the truth is empty.
    """
    _check_pair(truth, predicted)
    overlap = np.count_nonzero(truth & predicted)
    return 2.0 * overlap / (np.count_nonzero(truth) + np.count_nonzero(predicted))


def components(mask: NDArray[np.bool_]) -> int:
    """The number of 8-connected components of a boolean mask (H, W)."""
    return int(ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)[1])


def diagonal(image_shape: tuple[int, int], spacing: Sequence[float] = _PIXELS) -> float:
    """The image diagonal, in the unit of `spacing` (row, column): the distance of a failure."""
    return float(np.hypot(image_shape[0] * spacing[0], image_shape[1] * spacing[1]))


def surface_distances(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    spacing: Sequence[float] = _PIXELS,
) -> dict[str, float]:
    """Distances between the contours of two boolean masks (H, W), in the unit of `spacing`.

    `spacing` is (row, column); without it the unit is the pixel. Gives `hd` (Hausdorff: the
    larger of the two directed maxima), `hd95` (the larger of the two directed 95th percentiles by
    contour length) and `assd` (the mean over both contours together, by contour length). All
    three are the image diagonal where `predicted` is empty. Raises ValueError where the truth is
    empty.
    """
    _check_pair(truth, predicted)
    if not predicted.any():
        return dict.fromkeys(("hd", "hd95", "assd"), diagonal(truth.shape, spacing))
    (box,) = ndimage.find_objects((truth | predicted).astype(np.int8))  # no contour beyond it
    true_line, predicted_line = (_contour(mask[box], spacing) for mask in (truth, predicted))
    directed = [
        _directed(true_line, predicted_line, spacing),
        _directed(predicted_line, true_line, spacing),
    ]
    distance, length = np.concatenate(directed, axis=1)
    return {
        "hd": float(distance.max()),
        "hd95": max(_percentile(found, 95) for found in directed),
        "assd": float(np.average(distance, weights=length)),
    }


def point_rmse(predicted: ArrayLike, truth: ArrayLike, spacing: Sequence[float] = _PIXELS) -> float:
    """Root of the mean squared distance between points (T, 2) of like index, in px (Eq. 6).

    `spacing` is (row, column); the result is in its unit, without it in px. Not finite where a
    point is not.
    """
    column_row = np.array([spacing[1], spacing[0]], np.float64)  # points are (x, y)
    offset = (np.asarray(predicted, np.float64) - np.asarray(truth, np.float64)) * column_row
    return float(np.sqrt(np.mean(np.sum(offset**2, axis=-1))))


def mask_scores(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> dict[str, float]:
    """All scores of one boolean mask (H, W) against the truth; `spacing_mm` NaN where unknown.

    Gives dice, hd_px, hd95_px, assd_px, hd_mm, hd95_mm, assd_mm (NaN without a spacing),
    components and failed (1 where nothing was predicted). Raises ValueError for an empty truth.
    """
    known = bool(np.all(np.isfinite(spacing_mm)))
    in_px = surface_distances(truth, predicted)
    in_mm = surface_distances(truth, predicted, spacing_mm) if known else dict.fromkeys(in_px)
    return {
        "dice": dice(truth, predicted),
        **{f"{name}_px": value for name, value in in_px.items()},
        **{f"{name}_mm": np.nan if value is None else value for name, value in in_mm.items()},
        "components": components(predicted),
        "failed": int(not predicted.any()),
    }


def _contour(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """The length of a mask's contour at each corner of a pixel, (H + 1, W + 1); 0 off the contour.

    The four pixels about a corner say how it passes: cutting one off, straight on, or, between two
    that touch only there, twice.
    """
    row, column = spacing
    cut = np.hypot(row, column) / 2
    # By which are filled: 8 top left, 4 top right, 2 bottom left, 1 bottom right.
    lengths = [0, cut, cut, column, cut, row, 2 * cut, cut]
    pixels = np.pad(mask, 1).astype(np.intp)
    top, bottom = pixels[:-1], pixels[1:]
    filled = 8 * top[:, :-1] + 4 * top[:, 1:] + 2 * bottom[:, :-1] + bottom[:, 1:]
    return np.array(lengths + lengths[::-1], np.float64)[filled]


def _directed(
    line: NDArray[np.float64], other: NDArray[np.float64], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """Of each element of a contour the distance to the other contour and its length, (2, n).

    From near to far; contours as `_contour` gives them.
    """
    distance = ndimage.distance_transform_edt(other == 0, sampling=spacing)[line > 0]
    length = line[line > 0]
    return np.stack([distance, length])[:, np.lexsort((length, distance))]


def _percentile(directed: NDArray[np.float64], percent: float) -> float:
    """The distance within which so many percent of the length lie; of what `_directed` gives."""
    distance, length = directed
    share = np.cumsum(length) / np.sum(length)
    return float(distance[np.searchsorted(share, percent / 100)])


def _check_pair(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
    if truth.shape != predicted.shape:
        raise ValueError(
            f"the predicted mask has shape {predicted.shape}, expected {truth.shape} as the truth"
        )
    if not truth.any():
        raise ValueError("the true mask is empty, expected at least one myocardium pixel")
