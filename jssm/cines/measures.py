"""What is found in a cine, as plain data.

No JAX here, nor in what writes it: a process that writes starts in half the time.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jssm.shape.certificate import Integrity

if TYPE_CHECKING:
    import jax

# The wall that comes first clockwise as displayed, and the other.
WALLS = {
    "2ch": ("inferior", "anterior"),
    "3ch": ("inferolateral", "anteroseptal"),
    "4ch": ("inferoseptal", "anterolateral"),
}
LEVELS = ("basal", "mid", "apical")
LEAST_USED = 0.5  # of the frames of a cine: from fewer nothing is measured


@dataclass(frozen=True)
class LineStrain:
    """Longitudinal strain of one line of the wall (endocardium, mid-wall or epicardium).

    Lagrangian, against end-diastole, negative where the line is shorter (Voigt et al.).
    length_mm: (F,). strain_percent: (F,), of the whole line. gls_percent: its lowest value, the
    peak global longitudinal strain. gls_end_systole_percent: its value at end-systole.
    time_to_peak_s: from end-diastole to the lowest value. segment_strain_percent: (F, 6), in the
    order of :func:`segment_names`. segment_peak_percent, segment_time_to_peak_s: (6,), likewise.
    """

    length_mm: "jax.Array"
    strain_percent: "jax.Array"
    gls_percent: "jax.Array"
    gls_end_systole_percent: "jax.Array"
    time_to_peak_s: "jax.Array"
    segment_strain_percent: "jax.Array"
    segment_peak_percent: "jax.Array"
    segment_time_to_peak_s: "jax.Array"


@dataclass(frozen=True)
class Motion:
    """What one cine of F frames and T points shows; P = T/2, places along the inner boundary.

    ed_frame, es_frame: end-diastole and end-systole. displacement_px, displacement_mm: (F, T, 2),
    from end-diastole, (x, y). velocity_px_per_s, velocity_mm_per_s: (F, T, 2). endo, mid, epi: the
    longitudinal strain of the three lines. end_diastole_s: from the first frame to end-diastole,
    round the cycle; end_systole_s: from there to end-systole; between frames too.
    wall_thickness_px, wall_thickness_mm: (F, P); mean_thickness_px, mean_thickness_mm: (F,).
    radial_strain_percent: (F,), of the mean thickness; radial_peak_percent: its highest value,
    radial_time_to_peak_s after end-diastole. local_radial_strain_percent: (F, P).
    segment_thickness_mm and segment_radial_strain_percent: (F, 6); segment_radial_peak_percent:
    (6,), the highest. cavity_area_px2, cavity_area_mm2: (F,). long_axis_mm: (F,), of the cavity.
    disc_diameters_mm: (F, 20), from base to apex. volume_ml: (F,), by area and length.
    ejection_fraction_percent: from these volumes.

    ``_px`` is the side of a square pixel; ``_mm`` and ``_ml`` are NaN without a spacing, ``_s``
    without a frame time.
    """

    ed_frame: "jax.Array"
    es_frame: "jax.Array"
    displacement_px: "jax.Array"
    displacement_mm: "jax.Array"
    velocity_px_per_s: "jax.Array"
    velocity_mm_per_s: "jax.Array"
    endo: LineStrain
    mid: LineStrain
    epi: LineStrain
    end_diastole_s: "jax.Array"
    end_systole_s: "jax.Array"
    wall_thickness_px: "jax.Array"
    wall_thickness_mm: "jax.Array"
    mean_thickness_px: "jax.Array"
    mean_thickness_mm: "jax.Array"
    radial_strain_percent: "jax.Array"
    radial_peak_percent: "jax.Array"
    radial_time_to_peak_s: "jax.Array"
    local_radial_strain_percent: "jax.Array"
    segment_thickness_mm: "jax.Array"
    segment_radial_strain_percent: "jax.Array"
    segment_radial_peak_percent: "jax.Array"
    cavity_area_px2: "jax.Array"
    cavity_area_mm2: "jax.Array"
    long_axis_mm: "jax.Array"
    disc_diameters_mm: "jax.Array"
    volume_ml: "jax.Array"
    ejection_fraction_percent: "jax.Array"


class Discs(NamedTuple):
    """What of a :class:`Motion` volumes of two views need, by the same names."""

    disc_diameters_mm: "jax.Array"
    long_axis_mm: "jax.Array"
    ed_frame: "jax.Array"
    es_frame: "jax.Array"


@dataclass(frozen=True)
class Poses:
    """What gives the points of a cine's frames, and the mask of these.

    theta: (F, 2, 3), from the canonical frame to the cine's pixels. beta: (F, K). deviation_px:
    (F, T), how far each point may be off, NaN where the model does not tell. mean (T, 2), modes
    (K, T, 2), variances (K,) and closed: the shape model. tau: the mask's softness, px.
    """

    theta: np.ndarray
    beta: np.ndarray
    deviation_px: np.ndarray
    mean: np.ndarray
    modes: np.ndarray
    variances: np.ndarray
    tau: float
    closed: bool = False


@dataclass(frozen=True)
class Segmented:
    """Of one cine, as NumPy arrays: points (F, T, 2) px, mask (F, H, W) bool, integrity of each
    frame, motion (None for one frame), and what gave the points.

    deviations: the standard deviations of what motion has, None where they are not known.
    confidence: (F,), the Dice to be expected, NaN where the model does not tell. used: (F,), False
    for frames that are refused and take no part in any number. doubted: (6,), of cines that a
    reader corrected, segments whose strain is still not to be trusted; None where it is not known.
    """

    points: np.ndarray
    mask: np.ndarray
    integrity: Integrity
    motion: Motion | None
    poses: Poses
    confidence: np.ndarray
    used: np.ndarray
    deviations: Motion | None = None
    doubted: np.ndarray | None = None

    @property
    def is_measurable(self) -> bool:
        """Whether enough frames are left to measure anything."""
        return self.used.sum() >= 2 and self.used.mean() >= LEAST_USED


def segment_names(view: str, *, mirrored: bool = False) -> tuple[str, ...]:
    """The names of the six segments of ``view`` (2ch, 3ch or 4ch), in the order of the points.

    Clockwise as displayed from the first basal end: in the usual display (seen with the apex up,
    the septum of 4ch, the inferior wall of 2ch and the inferolateral wall of 3ch on the left) that
    is the wall named first. ``mirrored`` tells that the display is a mirror image of it: the points
    cannot. The names are those of the 18-segment model (Voigt et al.; Lang et al.).

    Raises:
      ValueError: for another view.
    """
    if view not in WALLS:
        raise ValueError(f"view is {view!r}, expected one of {', '.join(WALLS)}")
    first, last = reversed(WALLS[view]) if mirrored else WALLS[view]
    return (*(f"{x} {first}" for x in LEVELS), *(f"{x} {last}" for x in reversed(LEVELS)))


def without_measures(segmented: Segmented) -> Segmented:
    """The same with NaN in place of what was measured; the numbers of frames stay."""
    return replace(segmented, motion=_unknown(segmented.motion), deviations=None)


def _unknown(values: Any) -> Any:
    if isinstance(values, Motion | LineStrain):
        return replace(values, **{name: _unknown(value) for name, value in vars(values).items()})
    is_number = values is not None and np.issubdtype(values.dtype, np.floating)
    return np.full_like(values, np.nan) if is_number else values
