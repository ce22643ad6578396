"""How true it is what predictions say of themselves: their ellipses, and their confidence."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)  # of the points, in the ellipses of a normal distribution


def ellipse(share: ArrayLike) -> Any:
    """The squared radius of the ellipse that holds this share of a normal distribution in 2D."""
    return -2 * np.log1p(-np.asarray(share))


def squared_distances(offset: NDArray, covariance: NDArray) -> NDArray:
    """dᵀ Σ⁻¹ d (...) of the offsets d (..., 2) of true points from the predicted ones, with the
    covariances Σ (..., 2, 2) of these."""
    return np.sum(offset * np.linalg.solve(covariance, offset[..., None])[..., 0], axis=-1)


def held(squares: NDArray, shares: ArrayLike = SHARES) -> NDArray:
    """The share of true points that each ellipse holds, (len(shares),), by their squared distances
    (...); NaN where no point is known."""
    known = squares[np.isfinite(squares)]
    if not len(known):
        return np.full(np.shape(shares), np.nan)
    return np.mean(known[:, None] <= ellipse(shares), axis=0)


def kept_dice(confidence: NDArray, dice: NDArray) -> tuple[NDArray, NDArray]:
    """The mean Dice of the cases (N,) that are kept, against their share, the most confident first:
    (N,) and (N,)."""
    ranked = dice[np.argsort(-confidence, kind="stable")]
    count = np.arange(1, len(ranked) + 1)
    return count / len(ranked), np.cumsum(ranked) / count


def summary(squares: NDArray, confidence: NDArray, dice: NDArray) -> dict[str, Any]:
    """The numbers for metrics.json: the share of true points in each ellipse, and how far the Dice
    is from the confidence; None for what is not known.

    squares: (N, T), NaN where a point or its covariance is not known. confidence, dice: (N,), NaN
    likewise.
    """
    shares = held(squares)
    away = np.abs(confidence - dice)
    return {
        "ellipses_hold": None if np.isnan(shares).any() else {
            f"{share:.0%}": float(found) for share, found in zip(SHARES, shares, strict=True)
        },
        "confidence_mean_absolute_error": None if np.isnan(away).all() else float(np.nanmean(away)),
    }  # fmt: skip
