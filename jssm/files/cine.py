"""A cine: its frames, where they lie in the patient and in time, and where they came from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

UNKNOWN = (math.nan, math.nan)
FRAME_TIME_S = (1e-4, 0.25)  # from frame to frame in a cine of a heart: 4 to 10,000 a second
BEAT_S = 1.6  # the longest one that a few frames, such as two, are taken to be spread over
VIEWS = ("2ch", "3ch", "4ch", "sax", "other")
# NIfTI's patient axes run right, anterior, superior; DICOM's run left, posterior, superior.
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Cine:
    """The frames of one slice, from whatever kind of file.

    name: an id. frames: (F, H, W), of the file's own number type.
    spacing_mm: (row, column), NaN where unknown.
    time_s: (F,) seconds after the first frame, NaN where unknown.
    to_patient_mm: (3, 3), patient = M[:, :2]·(x, y) + M[:, 2] for the pixel (x, y), in DICOM's
      patient coordinates (left, posterior, superior: LPS), mm; or None. ``jssm.warp`` and
      :func:`patient_mm` use it.
    nifti_shape: the shape of the file's array where it was a NIfTI file, so that results can be
      written in the same layout; () for others, which are written as (x, y, 1, frames).
    slice_direction_mm: (3,), from one slice to the next, LPS; or None.
    sources: the DICOM file and the number of the frame in it, counted from 0, of each frame.
    problems: one sentence for each frame that had to be left out. notes: sentences about numbers
      that are not believed, or that two sources give differently.
    stated_aspect: height over width of a pixel where the file tells that alone, without a spacing.
    from_trigger_s: (F,) seconds from the scanner's nearest trigger (the R wave), before or after
      it, NaN where unknown.
    """

    name: str
    frames: np.ndarray
    spacing_mm: tuple[float, float] = UNKNOWN
    time_s: np.ndarray = field(default_factory=lambda: np.empty(0))
    to_patient_mm: np.ndarray | None = None
    nifti_shape: tuple[int, ...] = ()
    slice_direction_mm: np.ndarray | None = None
    sources: tuple[tuple[Path, int], ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stated_aspect: float = 1.0
    from_trigger_s: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def aspect(self) -> float:
        """Height over width of a pixel, 1 where the file does not tell.

        Rounded to 5 digits, as headers in single precision make square pixels not quite square.
        """
        row, column = self.spacing_mm
        known = math.isfinite(row + column)
        return round(row / column if known else self.stated_aspect, 5)

    def __post_init__(self) -> None:
        for name in ("time_s", "from_trigger_s"):
            if len(getattr(self, name)) != len(self.frames):
                object.__setattr__(self, name, np.full(len(self.frames), math.nan))


@dataclass(frozen=True)
class Found:
    """A cine that was found and not read yet.

    name: a pseudonymous id, usable as a file name; patient: likewise of the patient.
    view: what to take it for; described and seen: the view from the description and from the
      geometry, "" where that says nothing. notes: sentences. load: reads it (may raise BadInput),
    in other processes too.
    paths: its files. source: of the first one, under the folder that was opened.
    is_public: the names are a public data set's own and tell nobody's identity.
    study: what tells one examination of a patient from another; "" where nothing does.
    modality: what made it, in DICOM's words, such as MR or US; "" where the file does not say.
    """

    name: str
    patient: str
    paths: tuple[Path, ...]
    source: str
    load: Callable[[], Cine]
    view: str = "other"
    described: str = ""
    seen: str = ""
    notes: tuple[str, ...] = ()
    is_public: bool = False
    study: str = ""
    modality: str = ""

    @property
    def agree(self) -> bool | None:
        """Whether description and geometry name the same view; None where one is silent."""
        return self.described == self.seen if self.described and self.seen else None

    def about(self, sentence: str) -> str:
        """What to tell of this cine: a sentence that begins with the name of one of its files gets
        that file's place under the folder opened, any other one the first file's."""
        root = self.paths[0].parents[len(PurePath(self.source).parts) - 1]
        for path in self.paths:
            if sentence.startswith(f"{path.name}: ") and path.is_relative_to(root):
                return path.relative_to(root).as_posix() + sentence.removeprefix(path.name)
        return f"{self.source}: {sentence}"


@dataclass(frozen=True)
class Problem:
    """A file or series that gave nothing, and why; damaged, or merely passed over."""

    sentence: str
    damaged: bool


def patient_mm(cine: Cine, points: np.ndarray) -> np.ndarray:
    """Where ``points`` (..., 2), (x, y) in px of the cine, lie in the patient: (..., 3) mm, LPS.

    Raises:
      ValueError: when the cine's place in the patient is unknown.
    """
    if cine.to_patient_mm is None:
        raise ValueError(f"{cine.name}: the file does not say where it lies in the patient")
    return points @ cine.to_patient_mm[:, :2].T + cine.to_patient_mm[:, 2]


def nifti_affine(cine: Cine) -> np.ndarray:
    """The (4, 4) map from (column, row, slice) to patient mm in NIfTI's axes (RAS).

    Where the place is unknown: the spacing alone, or 1 mm.
    """
    affine = np.eye(4)
    if cine.to_patient_mm is None:
        row, column = cine.spacing_mm if math.isfinite(sum(cine.spacing_mm)) else (1.0, 1.0)
        return np.diag([column, row, 1.0, 1.0])
    across = cine.slice_direction_mm
    if across is None:
        normal = np.cross(cine.to_patient_mm[:, 0], cine.to_patient_mm[:, 1])
        across = normal / np.linalg.norm(normal)
    affine[:3, :2] = LPS_FROM_RAS @ cine.to_patient_mm[:, :2]
    affine[:3, 2] = LPS_FROM_RAS @ across
    affine[:3, 3] = LPS_FROM_RAS @ cine.to_patient_mm[:, 2]
    return affine


def believed_times(time_s: np.ndarray, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The times (F,) if a cine of a heart can have them, else NaN and a note that names the source.

    They must rise, by ``FRAME_TIME_S`` as a rule; by more where all frames fit into ``BEAT_S``.
    """
    steps = np.diff(time_s)
    if not len(steps) or np.isnan(time_s).all():
        return time_s, ()
    step, (least, most) = float(np.median(steps)), FRAME_TIME_S
    if (steps > 0).all() and least <= step <= max(most, BEAT_S / len(time_s)):
        return time_s, ()
    wrong = (
        f"{step:g} s from frame to frame, which no cine of a heart has"
        if (steps > 0).all()
        else "times that do not rise"
    )
    note = f"{source} gives {wrong}: the times are taken for unknown"
    return np.full(len(time_s), math.nan), (note,)


def known(spacing: tuple[float, float]) -> tuple[float, float]:
    """The spacing (row, column) if both are finite and positive, else NaN."""
    return spacing if all(math.isfinite(s) and s > 0 for s in spacing) else UNKNOWN
