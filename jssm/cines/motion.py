"""From the points of a cine to motion, strain, wall thickness and volumes; docs/MOTION.md.

Pure functions of one cine; batch them with ``jax.vmap``. Lengths are measured on square pixels: an
anisotropic one is first brought to the square of the same area, so that strain and ejection
fraction need no spacing where pixels are square. The sources:

Voigt et al., "Definitions for a common standard for 2D speckle tracking echocardiography:
consensus document of the EACVI/ASE/Industry Task Force", Eur Heart J Cardiovasc Imaging 16, 2015.
Lang et al., "Recommendations for cardiac chamber quantification by echocardiography in adults",
J Am Soc Echocardiogr 28, 2015.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jssm.cines.measures import LineStrain, Motion
from jssm.cines.measures import segment_names as segment_names
from jssm.cines.volumes import area_length_volume, cavity_area, cavity_discs
from jssm.shape import affine, order
from jssm.shape.shape_model import ShapeModel
from jssm.shape.vectors import length_of, nearest_offsets, nonzero

NEAR_APEX = 0.95  # points at least this far from the base, relative to the farthest
AS_LARGE = 0.02  # of the stroke's area: two cavities that differ by less are as large
UNKNOWN = (np.nan, np.nan)

for measured in (LineStrain, Motion):
    jax.tree_util.register_dataclass(measured)


def measure_motion(
    points: ArrayLike,
    *,
    spacing_mm: ArrayLike | tuple[ArrayLike, ArrayLike] = UNKNOWN,
    frame_time_s: ArrayLike = np.nan,
    ed_frame: ArrayLike | None = None,
    from_trigger: ArrayLike | None = None,
    used: ArrayLike | None = None,
    periodic: bool = True,
    aspect: ArrayLike = 1.0,
) -> Motion:
    """Motion, strain and volumes of one cine, ``points`` (F, T, 2) in px, at least two frames.

    spacing_mm: (row, column). frame_time_s: from frame to frame. ed_frame: end-diastole, from 0;
    without it what :func:`end_diastole` finds, to which ``from_trigger`` (F,) goes. End-systole is
    the frame with the smallest cavity.
    used: (F,), False for frames that take no part in any number; their own are NaN.
    periodic: the last frame is followed by the first, as in a gated cine. aspect: height over width
    of a pixel, where that is known but no spacing.

    Under ``jit``, where it cannot be refused, an ``ed_frame`` beyond the cine gives NaN.

    Raises:
      ValueError: when ``points`` has another shape, T is odd or under 6, or there is no frame
        ``ed_frame``.
    """
    points, near, used = checked(points, ed_frame, from_trigger, used)
    return _measure_motion(
        points, len(points), spacing_mm, frame_time_s, ed_frame, near, used, aspect,
        periodic=periodic,
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
) -> Motion:
    """:func:`measure_motion` of the first ``count`` frames; the others are not to be ``used``.

    So one program serves cines of many lengths.
    """
    return _measure_motion(
        points, count, spacing_mm, frame_time_s, None, from_trigger, used, aspect,
        periodic=periodic,
    )  # fmt: skip


def end_diastole(area: jax.Array, from_trigger: jax.Array) -> jax.Array:
    """The frame of end-diastole (), by the area of the cavity (F,), NaN where it is not to count.

    Around the largest cavity areas hardly differ, and errors decide which is largest. So of all
    frames whose area is within :data:`AS_LARGE` of the stroke from the largest, that which is
    nearest to the scanner's trigger, the R wave, is taken. from_trigger: (F,), how far each frame
    is from it, before or after, in any unit; NaN where that is not known. Without any, the frame
    with the largest cavity.
    """
    largest, least = jnp.nanmax(area), jnp.nanmin(area)
    is_as_large = area >= largest - AS_LARGE * (largest - least)
    away = jnp.where(is_as_large & jnp.isfinite(from_trigger), from_trigger, jnp.inf)
    is_told = jnp.any(jnp.isfinite(away))
    return jnp.where(is_told, jnp.argmin(away), jnp.nanargmax(area))


class Seen(NamedTuple):
    """A cine on square pixels: its points (F, T, 2), the side of a pixel in mm, the area of the
    cavity (F,), its times, and end-diastole and end-systole between frames."""

    square: jax.Array
    side_mm: jax.Array
    area: jax.Array
    clock: "_Clock"
    diastole: jax.Array
    systole: jax.Array


@partial(jax.jit, static_argnames="periodic")
def _measure_motion(*args: Any, periodic: bool) -> Motion:
    """The motion of a cine, of the arguments of :func:`seen_of`."""
    seen = seen_of(*args, periodic=periodic)
    es, ed = seen.clock.es, seen.clock.ed
    inner, _ = order.boundaries(seen.square)
    length, diameters = jax.vmap(cavity_discs)(inner)
    volume = area_length_volume(seen.area, length)
    return Motion(
        **of_wall(seen, segment_shares, LineStrain, "gls"),
        long_axis_mm=seen.side_mm * length,
        disc_diameters_mm=seen.side_mm * diameters,
        volume_ml=seen.side_mm**3 * volume / 1000,
        ejection_fraction_percent=100 * (1 - volume[es] / nonzero(volume[ed])),
    )


def seen_of(
    points: jax.Array,
    count: ArrayLike,
    spacing_mm: ArrayLike | tuple[ArrayLike, ArrayLike],
    frame_time_s: ArrayLike,
    ed_frame: ArrayLike | None,
    from_trigger: jax.Array,
    used: jax.Array,
    aspect: ArrayLike,
    *,
    periodic: bool,
) -> Seen:
    """The first ``count`` frames of a cine, ``points`` (F, T, 2) px, as what is measured in them
    needs it; the rest is as for :func:`measure_motion`."""
    used = used[:, None, None]
    is_sound = jnp.all(jnp.isfinite(points) | ~used)  # else no number is to be trusted
    points = jnp.where(used & is_sound, points, jnp.nan)
    to_square, side_mm = _pixel(spacing_mm, aspect)
    if ed_frame is not None:
        is_there = (jnp.asarray(ed_frame) >= 0) & (jnp.asarray(ed_frame) < len(points))
        points = jnp.where(is_there, points, jnp.nan)
    square = (points - jnp.nanmean(points, axis=(0, 1))) * to_square
    area = jax.vmap(cavity_area)(order.boundaries(square)[0])
    ed = end_diastole(area, from_trigger) if ed_frame is None else jnp.asarray(ed_frame)
    es = jnp.nanargmin(area)
    step_s = jnp.asarray(frame_time_s, float)
    clock = _Clock(ed, es, jnp.where(step_s > 0, step_s, jnp.nan), jnp.asarray(count), periodic)
    return Seen(square, side_mm, area, clock, clock.summit(area, ed), clock.summit(-area, es))


Shares = Callable[[jax.Array], jax.Array]
"""How much of each edge's length lies in each of S segments: (S, N) for a line (N + 1, 2)."""


def of_wall(
    seen: Seen, shares: Shares, strain: Callable[..., Any], name: str, *, closed: bool = False
) -> dict[str, Any]:
    """The fields of a :class:`WallMotion`, whose lines have a ``strain`` of the global ``name``, a
    :class:`Strain`; closed: both boundaries go round."""
    square, side_mm, area, clock, diastole, systole = seen
    ed = clock.ed
    inner, outer = order.boundaries(square)
    across = jax.vmap(nearest_offsets)(inner, order.line(outer, closed=closed))
    thickness = length_of(across)
    mean_thickness = jnp.mean(thickness, axis=1)
    radial = _strain(mean_thickness, ed)
    segments = shares(order.line(inner[ed], closed=closed))
    segments = segments / jnp.sum(segments, axis=1, keepdims=True)
    along = order.line(thickness[..., None], closed=closed)[..., 0]
    at_edges = (along[:, 1:] + along[:, :-1]) / 2
    segment_thickness = jnp.sum(segments * at_edges[:, None], axis=-1)
    segment_radial = _strain(segment_thickness, ed)
    displacement, velocity = square - square[ed], _velocity(square, clock)
    # The corners of both boundaries of a ring face each other: of the nearest places some would lie
    # on the edge before a corner, some on that behind.
    middle = (inner + outer) / 2 if closed else inner - across / 2
    lines = {"endo": inner, "mid": middle, "epi": outer}

    def strain_of(line: jax.Array) -> Any:
        return strain(**_of_line(order.line(line, closed=closed), seen, shares, name))

    return {
        "ed_frame": ed,
        "es_frame": clock.es,
        "displacement_px": displacement,
        "displacement_mm": side_mm * displacement,
        "velocity_px_per_s": velocity,
        "velocity_mm_per_s": side_mm * velocity,
        **{place: strain_of(line) for place, line in lines.items()},
        "end_diastole_s": clock.between_s(jnp.zeros(()), diastole),
        "end_systole_s": clock.between_s(diastole, systole),
        "wall_thickness_px": thickness,
        "wall_thickness_mm": side_mm * thickness,
        "mean_thickness_px": mean_thickness,
        "mean_thickness_mm": side_mm * mean_thickness,
        "radial_strain_percent": radial,
        "radial_peak_percent": jnp.nanmax(radial),
        "radial_time_to_peak_s": clock.since_ed_s(jnp.nanargmax(radial)),
        "local_radial_strain_percent": _strain(thickness, ed),
        "segment_thickness_mm": side_mm * segment_thickness,
        "segment_radial_strain_percent": segment_radial,
        "segment_radial_peak_percent": jnp.nanmax(segment_radial, axis=0),
        "cavity_area_px2": area,
        "cavity_area_mm2": side_mm**2 * area,
    }


@partial(jax.jit, static_argnames="harmonics")
def smooth_cycle(values: jax.Array, *, harmonics: int = 5) -> jax.Array:
    """Values (F, ...) of a periodic cine with only the first ``harmonics`` of the heart cycle.

    The truncated Fourier series over time; with F/2 harmonics or more the values are unchanged.
    """
    spectrum = jnp.fft.rfft(values, axis=0)
    keep = jnp.arange(len(spectrum)) <= harmonics
    spectrum = jnp.where(keep.reshape(-1, *[1] * (values.ndim - 1)), spectrum, 0.0)
    return jnp.fft.irfft(spectrum, len(values), axis=0)


@partial(jax.jit, static_argnames="harmonics")
def smooth_points(
    shape: ShapeModel, theta: jax.Array, beta: jax.Array, *, harmonics: int = 5
) -> jax.Array:
    """The points (F, T, 2) of a periodic cine whose θ (F, 2, 3) and β (F, K) were smoothed.

    A :class:`jssm.Prediction` has both. See :func:`smooth_cycle`; β stays within ±3√λ.
    """
    theta, beta = (smooth_cycle(v, harmonics=harmonics) for v in (theta, beta))
    beta = jnp.clip(beta, -shape.limits, shape.limits)
    return affine.apply(theta, jax.vmap(shape.deform)(beta))


def segment_shares(line: jax.Array) -> jax.Array:
    """How much of each edge's length lies in each of six segments: (6, P − 1) for a line (P, 2).

    Both walls, from a basal end to the apex, are cut into thirds of equal arc length. The apex is
    the mean place of the points farthest from the middle of the base, steadier than the farthest.
    """
    step = length_of(jnp.diff(line, axis=0))
    end = jnp.cumsum(step)
    arc = jnp.concatenate([jnp.zeros(1), end])
    distance = length_of(line - (line[0] + line[-1]) / 2)
    near = distance >= NEAR_APEX * jnp.max(distance)
    apex = jnp.sum(jnp.where(near, arc, 0.0)) / jnp.sum(near)
    thirds = jnp.arange(3) / 3
    cuts = jnp.concatenate([thirds * apex, apex + thirds * (end[-1] - apex), end[-1:]])
    low = jnp.maximum(arc[:-1], cuts[:-1, None])
    high = jnp.minimum(arc[1:], cuts[1:, None])
    return jnp.maximum(high - low, 0.0)


class _Clock(struct.PyTreeNode):
    """The times of a cine: its end-diastole, end-systole, frame time, number of frames, and whether
    it goes round."""

    ed: jax.Array
    es: jax.Array
    frame_time_s: jax.Array
    frames: jax.Array
    periodic: bool = struct.field(pytree_node=False)

    def since_ed_s(self, frame: jax.Array) -> jax.Array:
        """The time from end-diastole to ``frame``."""
        return self.between_s(self.ed, frame)

    def between_s(self, first: jax.Array, last: jax.Array) -> jax.Array:
        """The time from one moment to another, both in frames."""
        later = last - first
        return (later % self.frames if self.periodic else later) * self.frame_time_s

    def neighbours(self, frame: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The frame before and the frame after; at the ends of a cine that does not go round, the
        frame itself."""
        if self.periodic:
            return (frame - 1) % self.frames, (frame + 1) % self.frames
        return jnp.maximum(frame - 1, 0), jnp.minimum(frame + 1, self.frames - 1)

    def summit(self, values: jax.Array, frame: jax.Array) -> jax.Array:
        """The moment, in frames, within half a frame, at which the parabola through values (F,) at
        a ``frame`` and its neighbours in time is highest; the frame itself where a neighbour is
        missing, or where it opens upwards."""
        before, after = self.neighbours(frame)
        near = values[jnp.stack([before, frame, after])]
        is_known = jnp.all(jnp.isfinite(near)) & (before != frame) & (after != frame)
        low, middle, high = jnp.where(is_known, near, 0.0)
        bend = low - 2 * middle + high
        shift = jnp.where(bend < 0, (low - high) / (2 * nonzero(bend)), 0.0)
        return frame + jnp.clip(shift, -0.5, 0.5)


def _of_line(line: jax.Array, seen: Seen, shares_of: Shares, name: str) -> dict[str, Any]:
    """The fields of a :class:`Strain` of a line (F, N + 1, 2), as the sum of its edges' changes:
    rounding stays small."""
    clock, step = seen.clock, length_of(jnp.diff(line, axis=1))
    start, change = step[clock.ed], step - step[clock.ed]
    whole = 100 * jnp.sum(change, axis=1) / nonzero(jnp.sum(start))
    shares = shares_of(line[clock.ed])
    of_edge = shares / nonzero(start)
    segments = jnp.sum(change[:, None] * of_edge, axis=-1)
    segments = 100 * segments / nonzero(jnp.sum(shares, axis=1))
    return {
        "length_mm": seen.side_mm * jnp.sum(step, axis=1),
        "strain_percent": whole,
        f"{name}_percent": jnp.nanmin(whole),
        f"{name}_end_systole_percent": whole[clock.es],
        "time_to_peak_s": clock.since_ed_s(jnp.nanargmin(whole)),
        "segment_strain_percent": segments,
        "segment_peak_percent": jnp.nanmin(segments, axis=0),
        "segment_time_to_peak_s": clock.since_ed_s(jnp.nanargmin(segments, axis=0)),
    }


def _strain(values: jax.Array, ed: jax.Array) -> jax.Array:
    """The change of values (F, ...) in percent of frame ``ed``."""
    return 100 * (values - values[ed]) / nonzero(values[ed])


def _velocity(points: jax.Array, clock: _Clock) -> jax.Array:
    """Central differences over time, one-sided at the ends of a cine that does not go round."""
    frame = jnp.arange(len(points))
    before, after = clock.neighbours(frame)
    apart = jnp.full(len(points), 2) if clock.periodic else after - before
    return (points[after] - points[before]) / apart[:, None, None] / clock.frame_time_s


def _pixel(
    spacing_mm: ArrayLike | tuple[ArrayLike, ArrayLike], aspect: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """What makes pixels square, (2,) for (x, y), and the side of the square in mm, or NaN.

    The square has the area of the pixel; without a spacing it has the ``aspect``.
    """
    spacing = jnp.asarray(spacing_mm, float)
    known = jnp.all(jnp.isfinite(spacing) & (spacing > 0))
    row, column = jnp.where(known, spacing[0], aspect), jnp.where(known, spacing[1], 1.0)
    side_mm = jnp.sqrt(row * column)
    to_square = jnp.stack([jnp.sqrt(column / row), jnp.sqrt(row / column)])
    return to_square, jnp.where(known, side_mm, jnp.nan)


def checked(
    points: ArrayLike,
    ed_frame: ArrayLike | None,
    from_trigger: ArrayLike | None,
    used: ArrayLike | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The points, ``from_trigger`` and ``used`` of :func:`measure_motion` as arrays.

    Raises:
      ValueError: as it does.
    """
    points = jnp.asarray(points, float)
    if points.ndim != 3 or points.shape[2] != 2 or len(points) < 2:
        raise ValueError(f"points have shape {points.shape}, expected (F, T, 2) with F >= 2")
    if points.shape[1] % 2 or points.shape[1] < 6:
        raise ValueError(f"points have shape {points.shape}, expected T even, T >= 6")
    is_told = ed_frame is not None and not isinstance(ed_frame, jax.core.Tracer)
    if is_told and np.asarray(ed_frame).item() not in range(len(points)):
        raise ValueError(f"ed_frame is {ed_frame}, expected 0 to {len(points) - 1}")
    used = jnp.ones(len(points), bool) if used is None else jnp.asarray(used, bool)
    near = jnp.full(len(points), jnp.nan) if from_trigger is None else jnp.asarray(from_trigger)
    return points, near, used
