"""The inner boundary of the wall, from a mask of the cavity alone.

A drawn cavity is closed by a straight mitral line; the rest of its outline is the inner boundary.
"""

import numpy as np

from prep.errors import Unsuitable
from prep.shapes.point_cloud import outline, resample_arc, resample_loop

SAMPLES = 160  # of the outline
MAX_SAG = 0.008  # how far the mitral line may bend, as a part of the perimeter


def inner_points(mask: np.ndarray, count: int) -> np.ndarray:
    """``count`` points (count, 2) in px at equal arc length on the inner boundary.

    They run from the first basal end round the apex to the last, clockwise as displayed. ``mask``
    (H, W) is the cavity's. The mitral line is the stretch of the outline that is straight, long
    and across the cavity's long axis: of all straight stretches the one with the greatest
    length · sin² of the angle between the two.

    Raises:
      Unsuitable: when the mask has no outline or no straight side across its axis.
    """
    points = resample_loop(outline(mask), SAMPLES)
    start, stop = _mitral_line(points)
    along = np.arange(stop, start + SAMPLES + 1) % SAMPLES
    return resample_arc(points[along], count)


def _mitral_line(points: np.ndarray) -> tuple[int, int]:
    """The indices (start, stop), start < stop, between which the closed outline is the line."""
    perimeter = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1).sum()
    axis = _long_axis(points)
    twice = np.concatenate([points, points])
    best, found = 0.0, (0, 0)
    for count in range(SAMPLES // 20, SAMPLES // 2):
        chords = twice[count : count + SAMPLES] - points
        lengths = np.maximum(np.linalg.norm(chords, axis=1), 1e-9)
        normals = np.stack([-chords[:, 1], chords[:, 0]], axis=1) / lengths[:, None]
        stretches = np.stack([twice[k : k + SAMPLES] for k in range(1, count)], axis=1)
        sags = np.abs(np.einsum("nki,ni->nk", stretches - points[:, None], normals)).max(axis=1)
        scores = lengths * (normals @ axis) ** 2 * (sags <= MAX_SAG * perimeter)
        place = int(np.argmax(scores))
        if scores[place] > best:
            best, found = float(scores[place]), (place, place + count)
    if best < 0.05 * perimeter:
        raise Unsuitable("the cavity has no straight side across its long axis")
    return found


def _long_axis(points: np.ndarray) -> np.ndarray:
    """The direction (2,), a unit vector, in which the outline reaches farthest."""
    centred = points - points.mean(axis=0)
    return np.linalg.svd(centred, full_matrices=False)[2][0]
