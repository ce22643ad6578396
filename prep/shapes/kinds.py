"""Kinds of shape: what preparation has to know of one, and nothing else (docs/SHAPES.md).

Every kind is a strip: T/2 points on an inner boundary, T/2 on an outer one, triangles between
(:mod:`jssm.shape.order`). How a mask gives its boundaries, which three points of them tell where it
lies, and whether the strip is closed, is the kind's own.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import measure

from prep.errors import Refused, Unsuitable
from prep.shapes.point_cloud import (
    Boundaries,
    horseshoe_boundaries,
    outline,
    resample_arc,
    resample_loop,
)

NEAR_APEX = 0.95  # outer points at least this far from the base, relative to the farthest
OUTLINE_SAMPLES = 400  # of a region's outline
CAP = 0.01  # of a region's outline, on either side of an end
LEFT = np.array([-1.0, 0.0])  # where a ring begins without a landmark, from its centre
RING_SAMPLES = 180  # of a ring's outer boundary
CONTACT_PX = 2.0  # from a ring to the pixels' centres of what touches it


@dataclass(frozen=True)
class Kind:
    """One kind of shape.

    boundaries: a mask to its two boundaries, see :data:`Boundaries`. landmarks(inner, outer): three
    points (3, 2) of these polylines that similar shapes have at similar places: the top, and the
    first and the second end. closed: both boundaries go round, and the last point is followed by
    the first. Their points are spread evenly over each mask's own boundaries from where
    :func:`begun` says; nothing is registered, as a ring does not show how far it is turned.
    """

    boundaries: Boundaries
    landmarks: Callable[[np.ndarray, np.ndarray], np.ndarray]
    closed: bool = False


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
    loop = resample_loop(outline(mask), OUTLINE_SAMPLES)
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


def ring_boundaries(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer boundary of a ring, both from the left of its centre on.

    They are the outlines of its largest hole and of the whole with all holes filled: of filled
    regions, as smoothing would open or move a wall as thin as a pixel.

    Raises:
      Unsuitable: when the mask has no hole.
    """
    filled, hole = _filled_and_hole(mask)
    return begun(outline(hole), outline(filled), LEFT)


def _filled_and_hole(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ring's mask with all holes filled, and its largest hole."""
    solid = np.asarray(mask) > 0.5
    filled = ndimage.binary_fill_holes(solid)
    holes, count = ndimage.label(filled & ~solid)
    if not count:
        raise Unsuitable("the mask has no hole, so it is no ring")
    return filled, holes == np.argmax(np.bincount(holes.ravel())[1:]) + 1


def begun(
    inner: np.ndarray, outer: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The two closed boundaries of a ring from where the ray in this direction (2,) from the
    ring's centre crosses them."""
    centre = ring_centre(outer)
    return _from_ray(inner, centre, direction), _from_ray(outer, centre, direction)


def ring_centre(outer: np.ndarray) -> np.ndarray:
    """The centre (2,) of a ring: the mean along its outer boundary (n, 2)."""
    return resample_loop(outer, RING_SAMPLES).mean(axis=0)


def _from_ray(loop: np.ndarray, centre: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """A closed polyline (n, 2), clockwise, from where a ray leaves it for good; that point first.

    Raises:
      Unsuitable: when the ray does not cross it.
    """
    ahead = (loop - centre) @ direction
    beside = (loop - centre) @ (-direction[1], direction[0])
    step = np.roll(loop, -1, axis=0) - loop
    crosses = (beside <= 0) & (np.roll(beside, -1) > 0)
    share = -beside / np.where(crosses, np.roll(beside, -1) - beside, 1.0)
    reach = np.where(crosses, ahead + share * (step @ direction), -np.inf)
    k = int(np.argmax(reach))
    if reach[k] <= 0:
        raise Unsuitable("the ring does not lie round its centre")
    return np.concatenate([[loop[k] + share[k] * step[k]], np.roll(loop, -k - 1, axis=0)])


def insertion(mask: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The direction (2,) from a ring's centre to where the right ventricle's wall is inserted.

    Of the stretches of the outer boundary that ``right`` (H, W) does not touch, the longest begins
    there, clockwise as displayed: in the usual display, with the right ventricle on the left, that
    is the insertion of its front wall. None where it touches nothing, or all.

    Raises:
      Unsuitable: when the mask has no hole.
    """
    outer = resample_loop(outline(_filled_and_hole(mask)[0]), RING_SAMPLES)
    away = ndimage.distance_transform_edt(np.asarray(right) == 0)
    is_free = ndimage.map_coordinates(away, outer.T[::-1], order=1, mode="nearest") > CONTACT_PX
    if not np.any(right) or is_free.all() or not is_free.any():
        return None
    touched = np.flatnonzero(~is_free)
    gaps = np.diff(touched, append=touched[0] + RING_SAMPLES)
    last = touched[np.argmax(gaps)]
    return outer[last] - ring_centre(outer)


def thirds(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """One third of the way round a ring, its beginning, and two thirds (3, 2), midway between the
    boundaries."""
    first, second, third = (resample_loop(inner, 3) + resample_loop(outer, 3)) / 2
    return np.stack([second, first, third])


HORSESHOE = Kind(horseshoe_boundaries, apex_and_ends)
ARCH = Kind(horseshoe_boundaries, top_and_ends)
REGION = Kind(region_boundaries, side_and_ends)
RING = Kind(ring_boundaries, thirds, closed=True)
KINDS = {"horseshoe": HORSESHOE, "arch": ARCH, "region": REGION, "ring": RING}


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
