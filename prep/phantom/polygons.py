"""Plane curves and their exact pixel coverage.

Points are (x, y), x right, y down, in pixels for `coverage` and in any unit elsewhere.  Every
function that builds a curve keeps leading axes, so that one call makes the curves of all frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Patch:
    """The part of an image that a polygon touches: `image[rows, columns]` and its coverage 0..1."""

    rows: slice
    columns: slice
    fraction: NDArray[np.float32]


def coverage(polygon: Array, shape: tuple[int, int]) -> Patch | None:
    """Give the exact fraction of each pixel that a simple polygon covers.

    polygon: (N, 2) px, closed implicitly, either winding; pixel (0, 0) spans -0.5..0.5.
    shape: (rows, columns).  Returns None if the polygon lies outside the image.

    Every edge adds its signed area to the cells it crosses, and a running sum along each row turns
    this into coverage: exact (no supersampling), and its cost goes with the outline's length.
    """
    height, width = shape
    start = polygon + 0.5
    step = np.roll(start, -1, axis=0) - start
    pieces = np.maximum(np.ceil(np.abs(step).max(axis=1)), 1).astype(np.intp)
    if pieces.max() > 1:  # no piece longer than a pixel: it crosses one line each way at most
        first = np.repeat(np.cumsum(pieces) - pieces, pieces)
        step = np.repeat(step / pieces[:, None], pieces, axis=0)
        start = np.repeat(start, pieces, axis=0)
        start = start + (np.arange(len(start)) - first)[:, None] * step
    # Outside the image only the crossing of a row counts, so that clamping changes nothing inside.
    start = np.minimum(np.maximum(start, 0.0), (width, height))
    stop = np.roll(start, -1, axis=0)

    low, high = start.min(axis=0), start.max(axis=0)
    x0, y0 = int(low[0]), int(low[1])
    columns = min(int(np.ceil(high[0])), width) - x0
    rows = min(int(np.ceil(high[1])), height) - y0
    if columns <= 0 or rows <= 0:
        return None
    start = start - (x0, y0)
    stop = stop - (x0, y0)

    step = stop - start
    line = np.maximum(np.floor(start), np.floor(stop))
    crosses = np.floor(start) != np.floor(stop)
    cuts = np.where(crosses, (line - start) / np.where(crosses, step, 1.0), 1.0)
    near, far = cuts.min(axis=1), cuts.max(axis=1)
    times = np.stack([np.zeros_like(near), near, far, np.ones_like(near)])
    points = start + times[..., None] * step
    middle = 0.5 * (points[1:] + points[:-1]).reshape(-1, 2)
    drop = (points[1:, :, 1] - points[:-1, :, 1]).ravel()
    keep = drop != 0.0
    middle, drop = middle[keep], drop[keep]
    column = np.minimum(middle[:, 0].astype(np.intp), columns)
    row = np.minimum(middle[:, 1].astype(np.intp), rows - 1)
    right = drop * (middle[:, 0] - column)
    cell = row * (columns + 2) + column
    area = np.bincount(
        np.concatenate([cell, cell + 1]),
        weights=np.concatenate([drop - right, right]),
        minlength=rows * (columns + 2),
    )
    area = area.reshape(rows, columns + 2)[:, :columns]
    fraction = np.minimum(np.abs(np.cumsum(area, axis=1)), 1.0).astype(np.float32)
    return Patch(slice(y0, y0 + rows), slice(x0, x0 + columns), fraction)


def fill(polygon: Array, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Give the coverage of a polygon as a whole image, (rows, columns) float32."""
    image = np.zeros(shape, np.float32)
    patch = coverage(polygon, shape)
    if patch is not None:
        image[patch.rows, patch.columns] = patch.fraction
    return image


def unit(vectors: Array) -> Array:
    """Give the vectors (..., 2) at length one; a zero vector stays zero."""
    length = np.hypot(vectors[..., 0], vectors[..., 1])[..., None]
    return vectors / np.where(length > 0.0, length, 1.0)


def left_normals(curve: Array, closed: bool = False) -> Array:
    """Give unit normals (..., N, 2) of a curve: its tangent (tx, ty) turned to (-ty, tx)."""
    if closed:
        tangent = np.roll(curve, -1, axis=-2) - np.roll(curve, 1, axis=-2)
    else:
        tangent = np.gradient(curve, axis=-2)
    tangent = unit(tangent)
    return np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)


def signed_area(polygon: Array) -> Array:
    """Give the shoelace area (...,) of polygons (..., N, 2): > 0 if clockwise with y down."""
    x, y = polygon[..., 0], polygon[..., 1]
    return 0.5 * np.sum(x * np.roll(y, -1, -1) - np.roll(x, -1, -1) * y, axis=-1)


def shift(points: Array, dx: Array | float, dy: Array | float) -> Array:
    """Move points (..., 2) by dx and dy, each broadcast to (...,)."""
    dx, dy = np.broadcast_arrays(np.asarray(dx, float), np.asarray(dy, float))
    return points + np.stack([dx, dy], axis=-1)


def grow(polygon: Array, margin: Array | float) -> Array:
    """Move the outlines (..., N, 2) of polygons outwards by `margin`, broadcast to (..., N)."""
    outward = -np.sign(signed_area(polygon))[..., None, None] * left_normals(polygon, closed=True)
    return polygon + np.asarray(margin)[..., None] * outward


def stroke(curve: Array, width: Array | float) -> Array:
    """Give the polygon (..., 2N, 2) of an open curve (..., N, 2) drawn `width` (..., N) thick."""
    half = 0.5 * np.asarray(width, float)[..., None] * left_normals(curve)
    return np.concatenate([curve + half, (curve - half)[..., ::-1, :]], axis=-2)


def ellipse(centre: Array, along: Array, long: Array | float, short: Array | float) -> Array:
    """Give an ellipse (..., 32, 2): centre and unit axis `along` (..., 2), semi-axes (...,)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    first = np.asarray(long)[..., None, None] * np.cos(angle)[:, None] * along[..., None, :]
    second = np.asarray(short)[..., None, None] * np.sin(angle)[:, None] * across[..., None, :]
    return centre[..., None, :] + first + second


def bezier(controls: list[Array], count: int = 24) -> Array:
    """Give the Bézier curve (..., count, 2) of three or more controls, each (..., 2)."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    curves = [control[..., None, :] for control in controls]
    while len(curves) > 1:  # de Casteljau
        curves = [(1.0 - t) * a + t * b for a, b in pairwise(curves)]
    return curves[0]


def smooth_closed(controls: Array, per_span: int = 8) -> Array:
    """Give the closed Catmull-Rom curve (..., n * per_span, 2) through controls (..., n, 2)."""
    t = np.linspace(0.0, 1.0, per_span, endpoint=False)[:, None]
    before, after = np.roll(controls, 1, -2), np.roll(controls, -1, -2)
    second = np.roll(controls, -2, -2)
    p0, p1, p2, p3 = (p[..., :, None, :] for p in (before, controls, after, second))
    curve = p1 + 0.5 * t * (
        (p2 - p0) + t * ((2 * p0 - 5 * p1 + 4 * p2 - p3) + t * (3 * (p1 - p2) + p3 - p0))
    )
    return curve.reshape(*controls.shape[:-2], -1, 2)
