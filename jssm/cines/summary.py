"""The numbers of one segmented cine, as summary.json has them (docs/PREDICT.md)."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jssm import files
from jssm.cines.measures import Motion, RingMotion, Segmented
from jssm.cines.result import Result

LINES = ("endo", "mid", "epi")
DIGITS = 6


def summarize(result: Result) -> dict[str, Any]:
    """The numbers of one cine, units in the keys; None for what is not known. Frames from 0."""
    found, cine, faults = result.found, result.cine, result.segmented.integrity
    summary: dict[str, Any] = {
        "id": cine.name,
        "patient": found.patient,
        "view": found.view,
        "view_by_description": found.described or None,
        "view_by_geometry": found.seen or None,
        "display_mirrored": result.mirrored,
        "frames": len(cine.frames),
        "rows": cine.frames.shape[1],
        "columns": cine.frames.shape[2],
        "row_mm": cine.spacing_mm[0],
        "column_mm": cine.spacing_mm[1],
        "frame_time_s": files.frame_time_s(cine),
        "points": result.points.shape[1],
        "confidence_mean": result.segmented.confidence.mean(),
        "confidence_least": result.segmented.confidence.min(),
        "refused_frames": np.flatnonzero(~result.segmented.used).tolist(),
        **per_frame(result),
        "integrity_ok": bool(faults.ok.all()),
        "integrity_bad_frames": np.flatnonzero(~faults.ok).tolist(),
        "integrity_most_flipped_triangles": int(faults.flipped_triangles.max()),
        "integrity_most_crossings": int(faults.crossings.max()),
        "integrity_least_thickness_px": float(faults.min_thickness_px.min()),
    }
    if result.motion is not None:
        summary |= _motion_summary(result, result.motion)
    return plain(summary)


def still_doubtful(
    doubtful: np.ndarray, motion: Motion | RingMotion | None, corrected: Collection[int]
) -> np.ndarray:
    """Which of the ``doubtful`` segments (6,) are so after a reader ``corrected`` these frames.

    A peak strain rests on two frames, end-diastole and the frame of the peak. While one of them is
    as it was predicted, so is the doubt.
    """
    if motion is None or not np.isfinite(motion.cavity_area_px2).any():
        return doubtful
    peaks = np.nanargmin(motion.mid.segment_strain_percent, axis=0)
    frames = list(corrected)
    return doubtful & ~(np.isin(peaks, frames) & np.isin(motion.ed_frame, frames))


def per_frame(result: Result) -> dict[str, np.ndarray]:
    """How far each frame is to be trusted, and whether it takes part in the numbers."""
    return {"confidence": result.segmented.confidence, "used": result.segmented.used}


def _motion_summary(result: Result, motion: Motion | RingMotion) -> dict[str, Any]:
    told = result.segmented.deviations
    is_measured = bool(np.isfinite(motion.cavity_area_px2).any())
    return {
        "ed_frame": int(motion.ed_frame) if is_measured else None,
        "ed_frame_by": ed_frame_by(result) if is_measured else None,
        "es_frame": int(motion.es_frame) if is_measured else None,
        **_measures(motion),
        **_moments(motion),
        **(_deviations(_measures(told)) if told else {}),
        "segments": [
            {"name": name, **_segment_summary(result.segmented, motion, k)}
            for k, name in enumerate(result.segments)
        ],
    }


def ed_frame_by(result: Result) -> str:
    """What end-diastole was found by: the area of the cavity, or the scanner's trigger too."""
    is_told = np.isfinite(result.cine.from_trigger_s[result.segmented.used]).any()
    return "area and trigger" if is_told else "area"


def _segment_summary(segmented: Segmented, motion: Motion | RingMotion, k: int) -> dict[str, Any]:
    found = {
        **_segment_measures(motion, k),
        "mid_time_to_peak_s": motion.mid.segment_time_to_peak_s[k],
    }
    told, doubtful = segmented.deviations, segmented.doubtful_segments
    return {
        **found,
        **({} if told is None else _deviations(_segment_measures(told, k))),
        **({} if doubtful is None else {"strain_trusted": not doubtful[k]}),
    }


def strain_name(motion: Motion | RingMotion) -> str:
    """What the global strain of its lines is called: longitudinal or circumferential."""
    return "gcs" if isinstance(motion, RingMotion) else "gls"


def _measures(motion: Motion | RingMotion) -> dict[str, Any]:
    """What is measured of the whole wall and the cavity, or the deviations of it."""
    ed, es = int(motion.ed_frame), int(motion.es_frame)
    lines, name = {k: getattr(motion, k) for k in LINES}, strain_name(motion)
    first, last = _of_the_view(motion, ed, es)
    return {
        **first,
        "ed_cavity_area_mm2": motion.cavity_area_mm2[ed],
        "es_cavity_area_mm2": motion.cavity_area_mm2[es],
        **last,
        "ed_wall_thickness_mm": motion.mean_thickness_mm[ed],
        "es_wall_thickness_mm": motion.mean_thickness_mm[es],
        **{f"{name}_{k}_percent": getattr(v, f"{name}_percent") for k, v in lines.items()},
        **{f"{name}_{k}_end_systole_percent": getattr(v, f"{name}_end_systole_percent")
           for k, v in lines.items()},
        "radial_strain_peak_percent": motion.radial_peak_percent,
    }  # fmt: skip


def _of_the_view(
    motion: Motion | RingMotion, ed: int, es: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a wall along the long axis, or a ring, has alone; before the areas and after them."""
    if isinstance(motion, RingMotion):
        areas = {"ed_wall_area_mm2": motion.wall_area_mm2[ed],
                 "es_wall_area_mm2": motion.wall_area_mm2[es]}  # fmt: skip
        return {"area_change_percent": motion.area_change_percent}, areas
    volumes = {
        "ef_percent": motion.ejection_fraction_percent,
        "ed_volume_ml": motion.volume_ml[ed],
        "es_volume_ml": motion.volume_ml[es],
    }
    lengths = {
        "ed_long_axis_mm": motion.long_axis_mm[ed],
        "es_long_axis_mm": motion.long_axis_mm[es],
    }
    return volumes, lengths


def _moments(motion: Motion | RingMotion) -> dict[str, Any]:
    """When it is: end-diastole after the first frame, all others after end-diastole."""
    return {
        "end_diastole_s": motion.end_diastole_s,
        "end_systole_s": motion.end_systole_s,
        **{f"{strain_name(motion)}_{k}_time_to_peak_s": getattr(motion, k).time_to_peak_s
           for k in LINES},
        "radial_strain_time_to_peak_s": motion.radial_time_to_peak_s,
    }  # fmt: skip


def _segment_measures(motion: Motion | RingMotion, k: int) -> dict[str, Any]:
    """What is measured of segment ``k``, or the deviations of it."""
    thickness_mm = motion.segment_thickness_mm[:, k]
    return {
        **{f"{line}_strain_peak_percent": getattr(motion, line).segment_peak_percent[k]
           for line in LINES},
        "radial_strain_peak_percent": motion.segment_radial_peak_percent[k],
        "ed_thickness_mm": thickness_mm[int(motion.ed_frame)],
        "es_thickness_mm": thickness_mm[int(motion.es_frame)],
    }  # fmt: skip


def _deviations(measures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_sd": value for name, value in measures.items()}


def plain(value: Any) -> Any:
    """The same for JSON: lists, whole numbers and floats of a few digits, None for NaN."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim:
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None
