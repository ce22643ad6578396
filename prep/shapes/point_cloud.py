"""The two boundaries of a wall, and points spread evenly over them (Appendix B).

How the boundaries are found depends on the kind of shape (:mod:`prep.shapes.kinds`), so it is a
function of its own: anything of the type :data:`Boundaries` can take the place of
:func:`horseshoe_boundaries`.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage import draw, measure

from jssm.shape import order
from prep.errors import Unsuitable

Boundaries = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""A mask (H, W), binary or soft in 0..1, to its inner and its outer boundary: two polylines
(n, 2) and (m, 2) of pixel points (x, y) that start at the same end of the wall and run the same
way, clockwise as displayed. Raises Unsuitable, with the cause, for a mask of another kind."""

MIN_POCKET = 0.1  # the smallest cavity, and the largest hole, as a part of the wall's area


def outline(mask: np.ndarray) -> np.ndarray:
    """The longest closed outline of a mask (H, W) as points (n, 2), clockwise as displayed.

    A binary mask is smoothed by one pixel first, which takes away its stairs. The first point is
    not repeated at the end.

    Raises:
      Unsuitable: when there is no outline.
    """
    field = np.pad(np.asarray(mask, np.float64), 4)
    if mask.dtype.kind in "bui":
        field = ndimage.gaussian_filter(field, 1.0)
    loops = measure.find_contours(field, 0.5)
    if not loops:
        raise Unsuitable("the mask is too thin to have an outline")
    points = max(loops, key=_length)[:-1, ::-1] - 4
    return points if signed_area(points) > 0 else points[::-1]


def signed_area(points: np.ndarray) -> float:
    """The area inside a closed polygon (n, 2) in px²; positive when clockwise as displayed."""
    x, y = points.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def horseshoe_boundaries(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer boundary (see :data:`Boundaries`) of a wall bent round a cavity.

    The cavity is the largest pocket between the outline and its convex hull. The two ends of the
    wall lie where the hull bridges the pocket; at each end, the corner towards the cavity and
    the corner away from it part the outline into inner boundary, cap, outer boundary, cap.

    Raises:
      Unsuitable: when the mask is a ring, has no cavity, or an end has no two corners.
    """
    points = outline(mask)
    area = signed_area(points)
    _refuse_ring(mask)
    start, stop = _largest_pocket(points, area)
    steps = np.linalg.norm(np.diff(points, axis=0, append=points[:1]), axis=1)
    perimeter = steps.sum()
    # A band of length l and width w has the area l·w and the outline 2·(l + w).
    width = (perimeter / 2 - np.sqrt(max(perimeter**2 / 4 - 4 * area, 0.0))) / 2
    # Clockwise: outer boundary, end 2 (where the pocket starts), inner boundary, end 1.
    outer2, inner2 = _corners(points, steps, start, width)
    inner1, outer1 = _corners(points, steps, stop, width)
    n = len(points)
    outer = _arc(points, outer1, outer2)
    inner = _arc(points, inner2, inner1)[::-1]
    if len(outer) + len(inner) > n or _length(outer) < width or _length(inner) < width:
        raise Unsuitable("the two ends of the wall could not be told apart")
    return inner, outer


def resample_arc(polyline: np.ndarray, count: int) -> np.ndarray:
    """``count`` points (count, 2) at equal arc length along a polyline (n, 2), both ends kept."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))])
    wanted = np.linspace(0, along[-1], count)
    return np.stack([np.interp(wanted, along, axis) for axis in polyline.T], axis=1)


def resample_loop(loop: np.ndarray, count: int) -> np.ndarray:
    """``count`` points (count, 2) at equal arc length round a closed polyline (n, 2) from its first
    point on; the first is not repeated at the end, here and there."""
    return resample_arc(order.line(loop, closed=True), count + 1)[:-1]


def spread_points(
    inner: np.ndarray, outer: np.ndarray, num_points: int, *, closed: bool = False
) -> np.ndarray:
    """T points (T, 2): T/2 evenly on the inner, then T/2 evenly on the outer boundary, polylines
    (n, 2) and (m, 2) or, of a ring, closed ones."""
    resample, half = resample_loop if closed else resample_arc, num_points // 2
    return order.from_boundaries(resample(inner, half), resample(outer, half))


def sample_points(mask: np.ndarray, num_points: int, boundaries: Boundaries) -> np.ndarray:
    """The :func:`spread_points` (T, 2) of a mask that is no ring."""
    return spread_points(*boundaries(mask), num_points)


def loops(points: np.ndarray, *, closed: bool = False) -> list[np.ndarray]:
    """The outline of ordered points (T, 2) as closed polygons: one or, of a ring, the inner
    boundary forth and the outer one back."""
    return np.split(order.outline(points), 2 if closed else 1)


def polygon_mask(points: np.ndarray, shape: tuple[int, int], *, closed: bool = False) -> np.ndarray:
    """The pixels, bool (H, W), whose centre lies in the polygon of ordered points (T, 2), or
    between the two of a ring."""
    mask = np.zeros(shape, bool)
    for loop in loops(points, closed=closed):
        rows, columns = draw.polygon(loop[:, 1], loop[:, 0], shape=shape)
        mask[rows, columns] ^= True
    return mask


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """The Dice overlap of two binary masks; 1 when both are empty."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def _length(polyline: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(polyline, axis=0), axis=1).sum())


def _arc(points: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The points of a closed polyline from index ``start`` on to ``stop``, both included."""
    along = np.arange(start, start + (stop - start) % len(points) + 1)
    return np.take(points, along, axis=0, mode="wrap")


def _refuse_ring(mask: np.ndarray) -> None:
    solid = np.pad(np.asarray(mask) > 0.5 if mask.dtype.kind == "f" else np.asarray(mask) != 0, 1)
    hole = int(ndimage.binary_fill_holes(solid).sum()) - int(solid.sum())
    if hole > MIN_POCKET * solid.sum():
        raise Unsuitable("the wall is a closed ring, so it has no two basal ends")


def _largest_pocket(points: np.ndarray, area: float) -> tuple[int, int]:
    """The indices where the convex hull leaves the outline over its largest pocket, and returns."""
    try:
        vertices = np.sort(ConvexHull(points).vertices)
    except QhullError as error:
        raise Unsuitable("the mask is too thin to have an outline") from error
    bridges = list(zip(vertices, np.roll(vertices, -1), strict=True))
    pockets = [-signed_area(_arc(points, i, j)) for i, j in bridges]
    best = int(np.argmax(pockets))
    if pockets[best] < MIN_POCKET * area:
        part = max(pockets[best], 0) / area
        raise Unsuitable(
            f"the wall encloses no cavity (its largest pocket is {part:.0%} of its area; "
            f"at least {MIN_POCKET:.0%} was expected)"
        )
    return bridges[best]


def _corners(points: np.ndarray, steps: np.ndarray, end: int, width: float) -> tuple[int, int]:
    """Indices of the two corners, in the outline's order, of the wall's end near index ``end``.

    Seen along the arm, the corners are the farthest points in the two diagonal directions, out
    and to either side. The arm's direction comes from points two widths up both its sides.
    """
    along = np.cumsum(np.concatenate([[0], steps]))
    total, along = along[-1], along[:-1]

    def walk(index: int, distance: float) -> np.ndarray:
        target = (along[index] + distance) % total
        return points[min(int(np.searchsorted(along, target)), len(points) - 1)]

    offset = (along - along[end] + total / 2) % total - total / 2
    near = np.flatnonzero(np.abs(offset) <= 2 * width)
    near = near[np.argsort(offset[near])]
    first = last = end
    for _ in range(4):
        left, right = walk(first, -2 * width), walk(last, 2 * width)
        out = (points[first] + points[last]) / 2 - (left + right) / 2
        out = out / max(float(np.linalg.norm(out)), 1e-9)
        side = np.array([-out[1], out[0]])
        side = side if side @ (left - right) > 0 else -side
        first = int(near[np.argmax(points[near] @ (out + side))])
        last = int(near[np.argmax(points[near] @ (out - side))])
    if offset[first] >= offset[last]:
        raise Unsuitable("an end of the wall has no two corners")
    return first, last
