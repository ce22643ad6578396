"""Correspondence and strain over whole heart cycles of phantom patients, against the truth.

A method that claims correspondence is a function from a cine (F, S, S) uint8 to its points
(F, T, 2) px, index i the same tissue in every frame.

How far a point is from where it should be has two parts: across the wall, its distance from the
true boundary, and along the wall, the rest. A method that follows the boundary but slides on it has
the second alone.

The rule for failures is that of `jssm.evaluation.metrics`: a frame in which a point is not finite
has the image's diagonal as its error; a peak strain that is not finite counts as a failure and
stays out of the mean.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import motion
from jssm.evaluation import metrics
from jssm.shape import order
from jssm.shape.vectors import nearest_offsets
from prep.phantom.patient import Options, Patient, make_geometry, patient_name

Follow = Callable[[NDArray[np.uint8]], NDArray]
DISTANCES = ("point_mm", "across_mm", "along_mm", "motion_mm", "drift_mm")
LINES = ("endo", "mid", "epi")
COUNTS = ("failed_frames", "gls_failed")


class Boundary(NamedTuple):
    """The true boundaries of a cine in px, finely sampled: inner (F, P, 2) and outer (F, P, 2)."""

    inner: NDArray
    outer: NDArray


class Cycles(NamedTuple):
    """What :func:`compare` found.

    patients: a line per method and patient: method, patient, kind (of heart), those of
    :func:`cycle_errors`. frames: a line per method, patient and frame: method, patient, those of
    :func:`frame_errors`. arc: by method (frames of all patients, T), each point's distance in mm.
    """

    patients: pd.DataFrame
    frames: pd.DataFrame
    arc: dict[str, NDArray]


def compare(methods: Mapping[str, Follow], options: Options) -> Cycles:
    """Follow every patient of a phantom cohort with every method, by name.

    ``options`` say the view, the number of patients and of frames, the image size, and the seed,
    which must not be that of the runs' own data.

    Raises:
      ValueError: where a method's points have another shape than the truth.
    """
    patients, frames = [], []
    arc: dict[str, list[NDArray]] = {name: [] for name in methods}
    for number, (patient, cine) in enumerate(motion.cohort(options, f"{options.view} cycles"), 1):
        boundary, truth = true_boundary(options, number), patient.truth
        spacing_mm = truth["spacing_mm"].tolist()
        limit_mm = metrics.diagonal(cine.shape[1:], spacing_mm)
        for name, follow in methods.items():
            points = _checked(np.asarray(follow(cine)), patient, name)
            who = {"method": name, "patient": patient_name(number)}
            each = frame_errors(points, patient.points, boundary, spacing_mm, limit_mm=limit_mm)
            errors = cycle_errors(points, truth, each)
            patients.append({**who, "kind": str(truth["kind"]), **errors})
            frames.append(pd.DataFrame({**who, **each}))
            arc[name].append(distances_mm(points, patient.points, spacing_mm, limit_mm=limit_mm))
    return Cycles(
        pd.DataFrame(patients),
        pd.concat(frames, ignore_index=True),
        {name: np.concatenate(found) for name, found in arc.items()},
    )


def true_boundary(options: Options, number: int) -> Boundary:
    """The boundaries of patient 1, 2, ... of a phantom cohort, (F, 481, 2) px each."""
    _, wall, pose = make_geometry(options, number)
    return Boundary(*(pose.to_pixels(pose.to_scanner(line)) for line in (wall.inner, wall.outer)))


def frame_errors(
    points: NDArray,
    true_points: NDArray,
    boundary: Boundary,
    spacing_mm: Sequence[float],
    *,
    limit_mm: float,
) -> dict[str, NDArray]:
    """The errors (F,) of each frame of ``points`` (F, T, 2) px, in mm, the root mean square over
    the points: point_mm, from the true points of like index; across_mm, from the true boundary;
    along_mm = √(point_mm² − across_mm²); motion_mm, of the displacement since the first frame.

    Beside them phase, from 0 to 1, and failed: 1 where a point is not finite, which has
    ``limit_mm`` as its errors.
    """
    point = _rms(distances_mm(points, true_points, spacing_mm, limit_mm=limit_mm))
    moved, truly_moved = points - points[:1], true_points - true_points[:1]
    moved_apart = _rms(distances_mm(moved, truly_moved, spacing_mm, limit_mm=limit_mm))
    failed = ~np.isfinite(points).all(axis=(1, 2))
    halves = order.boundaries(np.where(failed[:, None, None], 0.0, points))
    from_line = [np.asarray(_offsets(*pair)) for pair in zip(halves, boundary, strict=True)]
    offsets = np.concatenate(from_line, axis=1)
    across = _rms(distances_mm(offsets, np.zeros_like(offsets), spacing_mm, limit_mm=limit_mm))
    across = np.where(failed, limit_mm, across)
    along = np.where(failed, limit_mm, np.sqrt(np.maximum(point**2 - across**2, 0.0)))
    return {
        "phase": np.arange(len(points)) / len(points),
        "point_mm": point,
        "across_mm": across,
        "along_mm": along,
        "motion_mm": moved_apart,
        "failed": failed.astype(int),
    }


def cycle_errors(
    points: NDArray, truth: Mapping[str, Any], frames: Mapping[str, NDArray]
) -> dict[str, float]:
    """The errors of one cine's ``points`` (F, T, 2), of whose frames :func:`frame_errors` gave
    ``frames``; ``truth`` is the phantom's.

    Means over the frames of point_mm, across_mm, along_mm and motion_mm; drift_mm: motion_mm of the
    last frame, when the heart is all but back. gls_endo_pp, gls_mid_pp, gls_epi_pp: peak strain,
    measured minus true, in percentage points, NaN where a point is not finite. failed_frames and
    gls_failed (0 or 1) are counts.
    """
    means = {name: float(np.mean(frames[name])) for name in DISTANCES if name != "drift_mm"}
    measured = motion.errors(np.where(np.isfinite(points), points, np.nan), dict(truth))
    strains = {f"gls_{line}_pp": measured[f"gls_{line}_pp"] for line in LINES}
    return {
        **means,
        "drift_mm": float(frames["motion_mm"][-1]),
        **strains,
        "failed_frames": int(np.sum(frames["failed"])),
        "gls_failed": int(not np.isfinite(list(strains.values())).all()),
    }


def summarize(patients: pd.DataFrame) -> pd.DataFrame:
    """A line per method over the lines ``patients`` of :class:`Cycles`, in their order.

    Columns: method, patients, of each distance NAME_mm_mean, NAME_mm_std and NAME_mm_median (over
    patients), gls_LINE_abs_pp_mean and gls_LINE_abs_pp_std (absolute), gls_LINE_bias_pp (signed),
    over the patients whose strain is known, failed_frames and gls_failed (counts).
    """
    lines = []
    for name, found in patients.groupby("method", sort=False):
        line: dict[str, Any] = {"method": name, "patients": len(found)}
        for column in DISTANCES:
            line |= {
                f"{column}_mean": found[column].mean(),
                f"{column}_std": _spread(found[column]),
                f"{column}_median": found[column].median(),
            }
        for muscle in LINES:
            error = found[f"gls_{muscle}_pp"]
            line[f"gls_{muscle}_abs_pp_mean"] = error.abs().mean()
            line[f"gls_{muscle}_abs_pp_std"] = _spread(error.abs())
            line[f"gls_{muscle}_bias_pp"] = error.mean()
        lines.append(line | {count: int(found[count].sum()) for count in COUNTS})
    return pd.DataFrame(lines)


def distances_mm(
    points: NDArray, true_points: NDArray, spacing_mm: Sequence[float], *, limit_mm: float
) -> NDArray:
    """The distance (F, T) in mm of each of ``points`` (F, T, 2) px from the true one of like index.

    spacing_mm: (row, column). A frame with a point that is not finite has ``limit_mm`` throughout.
    """
    finite = np.isfinite(points).all(axis=(1, 2))[:, None]
    offset = np.where(finite[..., None], points, 0.0) - np.asarray(true_points, np.float64)
    row_mm, column_mm = spacing_mm
    distance = np.hypot(offset[..., 0] * column_mm, offset[..., 1] * row_mm)
    return np.where(finite, distance, limit_mm)


@jax.jit
def _offsets(points: jax.Array, lines: jax.Array) -> jax.Array:
    """The vectors (F, N, 2) to points (F, N, 2) from the nearest places of lines (F, P, 2)."""
    return jax.vmap(nearest_offsets)(points, lines)


def _rms(distances: NDArray) -> NDArray:
    return np.sqrt(np.mean(distances**2, axis=1))


def _spread(values: pd.Series) -> float:
    """The standard deviation of the population, as everywhere in `jssm.evaluation.scores`."""
    return float(values.std(ddof=0))


def _checked(points: NDArray, patient: Patient, name: str) -> NDArray:
    if points.shape != patient.points.shape:
        raise ValueError(
            f"the points of {name} have shape {points.shape}, expected {patient.points.shape} "
            "as the truth"
        )
    return points
