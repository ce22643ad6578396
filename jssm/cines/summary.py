"""The numbers of one segmented cine, as summary.json has them (docs/PREDICT.md)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jssm import files
from jssm.cines.measures import Motion
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


def per_frame(result: Result) -> dict[str, np.ndarray]:
    """How far each frame is to be trusted, and whether it takes part in the numbers."""
    return {"confidence": result.segmented.confidence, "used": result.segmented.used}


def _motion_summary(result: Result, motion: Motion) -> dict[str, Any]:
    ed, es = int(motion.ed_frame), int(motion.es_frame)
    thickness = np.mean(motion.wall_thickness_mm, axis=1)
    lines = {name: getattr(motion, name) for name in LINES}
    is_measured = bool(np.isfinite(motion.cavity_area_px2).any())
    return {
        "ed_frame": ed if is_measured else None,
        "es_frame": es if is_measured else None,
        "ef_percent": motion.ejection_fraction_percent,
        "ed_volume_ml": motion.volume_ml[ed],
        "es_volume_ml": motion.volume_ml[es],
        "ed_cavity_area_mm2": motion.cavity_area_mm2[ed],
        "es_cavity_area_mm2": motion.cavity_area_mm2[es],
        "ed_long_axis_mm": motion.long_axis_mm[ed],
        "es_long_axis_mm": motion.long_axis_mm[es],
        "ed_wall_thickness_mm": thickness[ed],
        "es_wall_thickness_mm": thickness[es],
        **{f"gls_{k}_percent": line.gls_percent for k, line in lines.items()},
        **{f"gls_{k}_end_systole_percent": v.gls_end_systole_percent for k, v in lines.items()},
        **{f"gls_{k}_time_to_peak_s": line.time_to_peak_s for k, line in lines.items()},
        "radial_strain_peak_percent": motion.radial_peak_percent,
        "radial_strain_time_to_peak_s": motion.radial_time_to_peak_s,
        "segments": [_segment_summary(motion, k, name) for k, name in enumerate(result.segments)],
    }


def _segment_summary(motion: Motion, k: int, name: str) -> dict[str, Any]:
    """Segment ``k``, called ``name``."""
    peaks = {line: getattr(motion, line).segment_peak_percent[k] for line in LINES}
    thickness_mm = motion.segment_thickness_mm[:, k]
    return {
        "name": name,
        **{f"{line}_strain_peak_percent": peak for line, peak in peaks.items()},
        "mid_time_to_peak_s": motion.mid.segment_time_to_peak_s[k],
        "radial_strain_peak_percent": highest(motion.segment_radial_strain_percent[:, k]),
        "ed_thickness_mm": thickness_mm[int(motion.ed_frame)],
        "es_thickness_mm": thickness_mm[int(motion.es_frame)],
    }


def highest(values: Any) -> float:
    """The highest of the values that are known; NaN where none is."""
    return max((float(value) for value in values if math.isfinite(value)), default=math.nan)


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
