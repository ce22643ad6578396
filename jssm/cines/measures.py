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
# Of a ring, clockwise as displayed from the right ventricle's front insertion: by the number of
# segments, the part of the circle by which the first begins before that, and their names.
SECTORS = {
    6: (0.0, ("anterior", "anterolateral", "inferolateral", "inferior", "inferoseptal",
              "anteroseptal")),
    4: (15 / 360, ("anterior", "lateral", "inferior", "septal")),
}  # fmt: skip
LEAST_USED = 0.5  # of the frames of a cine: from fewer nothing is measured
MOST_STRAIN_SD = 5.0  # points of strain: a segment's that may be off by more is told so


@dataclass(frozen=True)
class Strain:
    """Strain of one line of the wall (endocardium, mid-wall or epicardium), of S segments.

    Lagrangian, against end-diastole, negative where the line is shorter (Voigt et al.).
    length_mm: (F,). strain_percent: (F,), of the whole line. time_to_peak_s: from end-diastole to
    its lowest value. segment_strain_percent: (F, S), in the order of the segments' names.
    segment_peak_percent, segment_time_to_peak_s: (S,), likewise.
    """

    length_mm: "jax.Array"
    strain_percent: "jax.Array"
    time_to_peak_s: "jax.Array"
    segment_strain_percent: "jax.Array"
    segment_peak_percent: "jax.Array"
    segment_time_to_peak_s: "jax.Array"


@dataclass(frozen=True)
class LineStrain(Strain):
    """Longitudinal :class:`Strain`, of the six segments of :func:`segment_names`.

    gls_percent: the lowest value of the whole line, the peak global longitudinal strain.
    gls_end_systole_percent: its value at end-systole.
    """

    gls_percent: "jax.Array"
    gls_end_systole_percent: "jax.Array"


@dataclass(frozen=True)
class LoopStrain(Strain):
    """Circumferential :class:`Strain`, of a closed line and the segments of
    :func:`ring_segment_names`.

    gcs_percent: the lowest value of the whole line, the peak global circumferential strain.
    gcs_end_systole_percent: its value at end-systole.
    """

    gcs_percent: "jax.Array"
    gcs_end_systole_percent: "jax.Array"


@dataclass(frozen=True)
class WallMotion:
    """What one cine of F frames and T points shows; P = T/2, places along the inner boundary.

    ed_frame, es_frame: end-diastole and end-systole. displacement_px, displacement_mm: (F, T, 2),
    from end-diastole, (x, y). velocity_px_per_s, velocity_mm_per_s: (F, T, 2). endo, mid, epi: the
    strain of the three lines. end_diastole_s: from the first frame to end-diastole,
    round the cycle; end_systole_s: from there to end-systole; between frames too.
    wall_thickness_px, wall_thickness_mm: (F, P); mean_thickness_px, mean_thickness_mm: (F,).
    radial_strain_percent: (F,), of the mean thickness; radial_peak_percent: its highest value,
    radial_time_to_peak_s after end-diastole. local_radial_strain_percent: (F, P).
    segment_thickness_mm and segment_radial_strain_percent: (F, S); segment_radial_peak_percent:
    (S,), the highest. cavity_area_px2, cavity_area_mm2: (F,).

    ``_px`` is the side of a square pixel; ``_mm`` and ``_ml`` are NaN without a spacing, ``_s``
    without a frame time.
    """

    ed_frame: "jax.Array"
    es_frame: "jax.Array"
    displacement_px: "jax.Array"
    displacement_mm: "jax.Array"
    velocity_px_per_s: "jax.Array"
    velocity_mm_per_s: "jax.Array"
    endo: Strain
    mid: Strain
    epi: Strain
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


@dataclass(frozen=True)
class Motion(WallMotion):
    """The :class:`WallMotion` of a wall seen along its long axis; six segments.

    long_axis_mm: (F,), of the cavity. disc_diameters_mm: (F, 20), from base to apex. volume_ml:
    (F,), by area and length. ejection_fraction_percent: from these volumes.
    """

    endo: LineStrain
    mid: LineStrain
    epi: LineStrain
    long_axis_mm: "jax.Array"
    disc_diameters_mm: "jax.Array"
    volume_ml: "jax.Array"
    ejection_fraction_percent: "jax.Array"


@dataclass(frozen=True)
class RingMotion(WallMotion):
    """The :class:`WallMotion` of a slice across the wall, a ring.

    wall_area_mm2: (F,), between the boundaries. area_change_percent: by how much the cavity is
    smaller at end-systole, of its area at end-diastole.
    """

    endo: LoopStrain
    mid: LoopStrain
    epi: LoopStrain
    wall_area_mm2: "jax.Array"
    area_change_percent: "jax.Array"


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
    motion: Motion | RingMotion | None
    poses: Poses
    confidence: np.ndarray
    used: np.ndarray
    deviations: Motion | RingMotion | None = None
    doubted: np.ndarray | None = None

    @property
    def is_measurable(self) -> bool:
        """Whether enough frames are left to measure anything."""
        return self.used.sum() >= 2 and self.used.mean() >= LEAST_USED

    @property
    def doubtful_segments(self) -> np.ndarray | None:
        """Which of the six segments (6,) have a mid-wall peak strain that may be off by more than
        :data:`MOST_STRAIN_SD`; None where that is not known."""
        if self.deviations is None:
            return self.doubted
        return np.asarray(self.deviations.mid.segment_peak_percent) > MOST_STRAIN_SD


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


def ring_segment_names(*, num_segments: int = 6) -> tuple[str, ...]:
    """The names of the 6 segments (of basal and mid slices) or 4 (of apical ones) of a ring.

    They are those of the 17-segment model, clockwise as displayed from the right ventricle's front
    insertion, where the points begin, in the usual display: seen from the apex, septum on the left.

    Raises:
      ValueError: for another number.
    """
    if num_segments not in SECTORS:
        raise ValueError(f"num_segments is {num_segments}, expected 6 or 4")
    return SECTORS[num_segments][1]


def without_measures(segmented: Segmented) -> Segmented:
    """The same with NaN in place of what was measured; the numbers of frames stay."""
    return replace(segmented, motion=_unknown(segmented.motion), deviations=None)


def _unknown(values: Any) -> Any:
    if isinstance(values, WallMotion | Strain):
        return replace(values, **{name: _unknown(value) for name, value in vars(values).items()})
    is_number = values is not None and np.issubdtype(values.dtype, np.floating)
    return np.full_like(values, np.nan) if is_number else values
