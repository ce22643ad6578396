"""Kinds of shape: what preparation has to know of one, and nothing else (docs/SHAPES.md).

Every kind is a strip: T/2 points on an inner boundary, T/2 on an outer one, triangles between
(:mod:`jssm.shape.order`). How a mask gives its boundaries, and which three points of them tell
where it lies, is the kind's own.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skimage import measure

from prep.errors import Refused, Unsuitable
from prep.shapes.point_cloud import Boundaries, horseshoe_boundaries, outline, resample_arc

NEAR_APEX = 0.95  # outer points at least this far from the base, relative to the farthest
OUTLINE_SAMPLES = 400  # of a region's outline
CAP = 0.01  # of a region's outline, on either side of an end


@dataclass(frozen=True)
class Kind:
    """One kind of shape.

    boundaries: a mask to its two boundaries, see :data:`Boundaries`. landmarks(inner, outer): three
    points (3, 2) of these polylines that similar shapes have at similar places: the top, and the
    first and the second end.
    """

    boundaries: Boundaries
    landmarks: Callable[[np.ndarray, np.ndarray], np.ndarray]


def apex_and_ends(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Apex, first and second basal landmark (3, 2) of a wall bent round a cavity.

    A basal landmark is the middle of the wall's end. The apex is the mean of the outer points
    farthest from the basal middle, steadier than the farthest alone, taken from the middle third
    of the outer boundary, so that a wide, low arch has its apex there too.
    """
    basal1, basal2 = _ends(inner, outer)
    top = resample_arc(outer, 91)[30:61]
    distance = np.linalg.norm(top - (basal1 + basal2) / 2, axis=1)
    apex = top[distance >= NEAR_APEX * distance.max()].mean(axis=0)
    return np.stack([apex, basal1, basal2])


def top_and_ends(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Top, first and second end (3, 2) of an arch.

    An end is midway between the boundaries, and so is the top, halfway along both: an arch that is
    wide and low has no one point farthest from its ends.
    """
    top = (resample_arc(inner, 3)[1] + resample_arc(outer, 3)[1]) / 2
    return np.stack([top, *_ends(inner, outer)])


def side_and_ends(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """The middle of the outer side, first and second end (3, 2) of a filled region."""
    return np.stack([resample_arc(outer, 3)[1], *_ends(inner, outer)])


def _ends(inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (inner[0] + outer[0]) / 2, (inner[-1] + outer[-1]) / 2


def region_boundaries(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The left and the right side of a filled region, as inner and outer boundary.

    The vertical line through its centroid parts the outline, at the top and at the bottom: so
    regions that lie alike in their images are numbered alike, however round they are. On either
    side of both, the outline is cut off for :data:`CAP` of its length, so that the sides do not
    meet.

    Raises:
      Unsuitable: when there is no outline, or the line misses a part of it.
    """
    loop = outline(mask)
    loop = resample_arc(np.concatenate([loop, loop[:1]]), OUTLINE_SAMPLES + 1)[:-1]
    beside, below = (loop - measure.centroid(np.asarray(mask))[::-1]).T
    step = np.linalg.norm(loop[1] - loop[0])
    crossed = np.abs(beside) <= step
    if not (crossed & (below < 0)).any() or not (crossed & (below > 0)).any():
        raise Unsuitable("the region does not lie round its centroid")
    top, bottom = (int(np.argmin(np.where(half, np.abs(beside), np.inf)))
                   for half in (below < 0, below > 0))  # fmt: skip
    loop, bottom = np.roll(loop, -top, axis=0), (bottom - top) % OUTLINE_SAMPLES
    cap = round(CAP * OUTLINE_SAMPLES)
    return loop[bottom + cap : OUTLINE_SAMPLES - cap + 1][::-1], loop[cap : bottom - cap + 1]


HORSESHOE = Kind(horseshoe_boundaries, apex_and_ends)
ARCH = Kind(horseshoe_boundaries, top_and_ends)
REGION = Kind(region_boundaries, side_and_ends)
KINDS = {"horseshoe": HORSESHOE, "arch": ARCH, "region": REGION}


def find(name: str) -> Kind:
    """The kind of this name: one of :data:`KINDS`, or ``module:name`` of your own.

    Raises:
      Refused: when there is none.
    """
    if name in KINDS:
        return KINDS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise Refused(f"--shape {name}: one of {', '.join(KINDS)}, or module:name, was expected")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"--shape {name}: {error}") from error
    if not isinstance(kind, Kind):
        raise Refused(f"--shape {name}: a prep.shapes.kinds.Kind was expected there")
    return kind
