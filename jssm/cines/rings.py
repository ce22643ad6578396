"""Motion and strain of short-axis slices, whose wall is a ring, and volumes of stacks of them.

Beside :mod:`jssm.cines.motion`, whose parts these are; docs/MOTION.md.

Cerqueira et al., "Standardized myocardial segmentation and nomenclature for tomographic imaging of
the heart", Circulation 105, 2002.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jssm.cines.measures import SECTORS, LoopStrain, RingMotion
from jssm.cines.measures import ring_segment_names as ring_segment_names
from jssm.cines.motion import UNKNOWN, checked, of_wall, seen_of
from jssm.cines.volumes import cavity_area
from jssm.shape import order
from jssm.shape.vectors import cross, dot, length_of, nonzero

for measured in (LoopStrain, RingMotion):
    jax.tree_util.register_dataclass(measured)


def measure_ring(
    points: ArrayLike,
    *,
    spacing_mm: ArrayLike | tuple[ArrayLike, ArrayLike] = UNKNOWN,
    frame_time_s: ArrayLike = np.nan,
    ed_frame: ArrayLike | None = None,
    from_trigger: ArrayLike | None = None,
    used: ArrayLike | None = None,
    periodic: bool = True,
    aspect: ArrayLike = 1.0,
    num_segments: int = 6,
) -> RingMotion:
    """Motion and strain of one short-axis cine, closed rings ``points`` (F, T, 2) in px.

    num_segments: 6, as of basal and mid slices, or 4, as of apical ones, in the order of
    :func:`jssm.ring_segment_names`, by the angle about the ring's centre at end-diastole from the
    first points. The rest is as for :func:`jssm.measure_motion`.

    Raises:
      ValueError: as it does, and for another number of segments.
    """
    ring_segment_names(num_segments=num_segments)
    points, near, used = checked(points, ed_frame, from_trigger, used)
    return _measure_ring(
        points, len(points), spacing_mm, frame_time_s, ed_frame, near, used, aspect,
        periodic=periodic, num_segments=num_segments,
    )  # fmt: skip


def measure_first(
    points: jax.Array,
    count: ArrayLike,
    used: jax.Array,
    spacing_mm: ArrayLike,
    frame_time_s: ArrayLike,
    from_trigger: jax.Array,
    aspect: ArrayLike,
    *,
    periodic: bool,
) -> RingMotion:
    """:func:`measure_ring` of the first ``count`` frames; the others are not to be ``used``."""
    return _measure_ring(
        points, count, spacing_mm, frame_time_s, None, from_trigger, used, aspect,
        periodic=periodic, num_segments=6,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("periodic", "num_segments"))
def _measure_ring(*args: Any, periodic: bool, num_segments: int) -> RingMotion:
    """The motion of a ring, of the arguments of :func:`jssm.cines.motion.seen_of`."""
    seen = seen_of(*args, periodic=periodic)
    ed, es, area = seen.clock.ed, seen.clock.es, seen.area
    _, outer = order.boundaries(seen.square)
    centre = jnp.mean(outer[ed], axis=0)
    before, _ = SECTORS[num_segments]
    shares = partial(
        sector_shares, centre=centre, first=outer[ed, 0] - centre, count=num_segments, before=before
    )
    whole = jax.vmap(cavity_area)(outer)
    return RingMotion(
        **of_wall(seen, shares, LoopStrain, "gcs", closed=True),
        wall_area_mm2=seen.side_mm**2 * (whole - area),
        area_change_percent=100 * (1 - area[es] / nonzero(area[ed])),
    )


def sector_shares(
    line: jax.Array, *, centre: jax.Array, first: jax.Array, count: int, before: float
) -> jax.Array:
    """How much of each edge's length lies in each of ``count`` equal sectors: (count, N) for a
    closed line (N + 1, 2), whose last point is its first.

    The sectors follow one another about ``centre`` (2,) as the points do; the first begins
    ``before``, a part of the circle, the direction ``first`` (2,).
    """
    away = line - centre
    step = jnp.arctan2(cross(away[:-1], away[1:]), dot(away[:-1], away[1:]))
    way = jnp.where(jnp.sum(step) < 0, -1.0, 1.0)
    begin = jnp.arctan2(cross(first, away[0]), dot(first, away[0]))
    angle = way * (begin + jnp.concatenate([jnp.zeros(1), jnp.cumsum(step)])) / (2 * jnp.pi)
    cuts = jnp.arange(count + 1) / count - before
    rounds = jnp.arange(-1, 2)[:, None]  # an edge may lie before the first cut, or after the last
    low = jnp.maximum(angle[:-1], cuts[:-1, None, None] + rounds)
    high = jnp.minimum(angle[1:], cuts[1:, None, None] + rounds)
    inside = jnp.sum(jnp.maximum(high - low, 0.0), axis=1)
    return inside / nonzero(angle[1:] - angle[:-1]) * length_of(jnp.diff(line, axis=0))


class SliceVolumes(struct.PyTreeNode):
    """Of a stack of slices: the volume (F,) in ml, the frames with the largest and the smallest,
    and the ejection fraction from these."""

    volume_ml: jax.Array
    ed_frame: jax.Array
    es_frame: jax.Array
    ejection_fraction_percent: jax.Array


def volumes_by_slices(slices: Sequence[RingMotion], *, spacing_mm: ArrayLike) -> SliceVolumes:
    """The volume of a cavity from a stack of slices, by the summation of discs: V = Σ Aᵢ · spacing.

    slices: all through the cavity, of as many frames, the same moments of the cycle. spacing_mm:
    from the middle of one slice to that of the next, the gap between them included.

    Raises:
      ValueError: when there is no slice, or they differ in their number of frames.
    """
    counts = {len(motion.cavity_area_mm2) for motion in slices}
    if len(counts) != 1:
        raise ValueError(f"slices of as many frames were expected, got {sorted(counts)}")
    areas = jnp.stack([jnp.asarray(motion.cavity_area_mm2) for motion in slices])
    volume = jnp.sum(areas, axis=0) * spacing_mm / 1000
    ed, es = jnp.argmax(volume), jnp.argmin(volume)
    return SliceVolumes(volume, ed, es, 100 * (1 - volume[es] / nonzero(volume[ed])))
