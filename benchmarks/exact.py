"""What the rasterizer is held against, in float64: exact areas, supersampled polygons, and central
differences of the mask's definition (Eq. 8)."""

from collections.abc import Callable

import numpy as np

from jssm.shape import order


def area(points: np.ndarray) -> float:
    """The area in px² of the strip (T, 2), by the shoelace formula; it must not cross itself."""
    x, y = _loop(points).T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)))


def coverage(points: np.ndarray, size: int, *, samples: int = 16) -> np.ndarray:
    """The part (S, S) of each pixel that the strip (T, 2) covers, from samples² points in each."""
    fine = (_loop(points) + 0.5) * samples - 0.5
    toggles = np.zeros((size * samples, size * samples + 1), np.int8)
    for (ax, ay), (bx, by) in zip(fine, np.roll(fine, -1, axis=0), strict=True):
        low, high = sorted((ay, by))
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), len(toggles)))
        crossing = ax + (rows - ay) * (bx - ax) / ((by - ay) or 1.0)
        columns = np.clip(np.ceil(crossing).astype(int), 0, size * samples)
        toggles[rows, columns] ^= 1
    inside = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1]
    return inside.reshape(size, samples, size, samples).mean(axis=(1, 3))


def soft_mask(points: np.ndarray, size: int, tau: float = 0.5) -> np.ndarray:
    """Eq. 8 written out (S, S) for a strip (T, 2) that does not cross itself."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    distance, inside = np.full(x.shape, np.inf), np.zeros(x.shape, bool)
    loop = _loop(points)
    for (ax, ay), (bx, by) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        distance = np.minimum(distance, np.hypot(x - ax - along * dx, y - ay - along * dy))
        spans = (ay <= y) != (by <= y)
        inside ^= spans & (x < ax + (y - ay) * dx / (dy or 1.0))
    return 1 / (1 + np.exp(-np.clip(np.where(inside, distance, -distance) / tau, -80, 80)))


def central_differences(
    function: Callable[[np.ndarray], float], points: np.ndarray, step_px: float = 1e-5
) -> np.ndarray:
    """The gradient (T, 2) of a number of ``points`` (T, 2)."""
    gradient = np.zeros(points.shape)
    for place in np.ndindex(points.shape):
        change = np.zeros(points.shape)
        change[place] = step_px
        gradient[place] = (function(points + change) - function(points - change)) / (2 * step_px)
    return gradient


def _loop(points: np.ndarray) -> np.ndarray:
    return order.outline(np.asarray(points, np.float64))
