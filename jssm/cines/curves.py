"""The curves of one segmented cine over its frames: tables and a figure (docs/PREDICT.md)."""

from pathlib import Path

import numpy as np

from jssm.cines import tables
from jssm.cines.measures import Motion, RingMotion
from jssm.cines.result import Result
from jssm.cines.summary import DIGITS, LINES, per_frame
from jssm.pictures import panels


def write_curves(folder: Path, result: Result) -> None:
    """curves.csv, curves.png and thickness.csv; nothing for a single picture."""
    motion = result.motion
    if motion is None:
        return
    for name, columns in (("curves", _curve_columns), ("thickness", _thickness_columns)):
        tables.write_columns(folder / f"{name}.csv", columns(result, motion), f".{DIGITS}g")
    _draw_curves(folder / "curves.png", result, motion)


def _curve_columns(result: Result, motion: Motion | RingMotion) -> dict[str, np.ndarray]:
    """A row per frame: every curve of the motion, units in the columns' names."""
    columns = {
        "frame": np.arange(len(result.points)),
        "time_s": result.cine.time_s,
        **per_frame(result),
        **{f"strain_{k}_percent": getattr(motion, k).strain_percent for k in LINES},
        **{f"length_{k}_mm": getattr(motion, k).length_mm for k in LINES},
        "radial_strain_percent": motion.radial_strain_percent,
        "wall_thickness_mm": motion.mean_thickness_mm,
        "wall_thickness_px": motion.mean_thickness_px,
        "cavity_area_mm2": motion.cavity_area_mm2,
        "cavity_area_px2": motion.cavity_area_px2,
    }
    if isinstance(motion, RingMotion):
        columns["wall_area_mm2"] = motion.wall_area_mm2
    else:
        columns |= {"long_axis_mm": motion.long_axis_mm, "volume_ml": motion.volume_ml}
    for k, name in enumerate(result.segments):
        place = name.replace(" ", "_")
        columns[f"strain_mid_{place}_percent"] = motion.mid.segment_strain_percent[:, k]
        columns[f"radial_strain_{place}_percent"] = motion.segment_radial_strain_percent[:, k]
        columns[f"thickness_{place}_mm"] = motion.segment_thickness_mm[:, k]
    return columns


def _thickness_columns(result: Result, motion: Motion | RingMotion) -> dict[str, np.ndarray]:
    """A row per frame: the thickness at each inner point along the arc."""
    values, unit = wall_thickness(motion)
    columns = {"frame": np.arange(len(values)), "time_s": result.cine.time_s}
    return columns | {f"point{k:02d}_{unit}": column for k, column in enumerate(values.T)}


def wall_thickness(motion: Motion | RingMotion) -> tuple[np.ndarray, str]:
    """The thickness (F, T/2) at each inner point, and its unit: mm, px where that is unknown."""
    if np.isfinite(motion.wall_thickness_mm).any():
        return np.asarray(motion.wall_thickness_mm), "mm"
    return np.asarray(motion.wall_thickness_px), "px"


def _cavity(motion: Motion | RingMotion, *, in_mm: bool) -> dict[str, dict[str, np.ndarray]]:
    """The panel of the cavity: its volume, of a ring its area, as far as the spacing is known."""
    if not in_mm:
        return {"cavity area (px²)": {"cavity": np.asarray(motion.cavity_area_px2)}}
    if isinstance(motion, RingMotion):
        return {"cavity area (mm²)": {"cavity": np.asarray(motion.cavity_area_mm2)}}
    return {"cavity volume (ml)": {"cavity": np.asarray(motion.volume_ml)}}


def _draw_curves(path: Path, result: Result, motion: Motion | RingMotion) -> None:
    """Strain, that of the segments, thickness and the cavity over time."""
    in_mm = bool(np.isfinite(motion.wall_thickness_mm).any())
    timed = bool(np.isfinite(result.cine.time_s).all())
    x = result.cine.time_s if timed else np.arange(len(result.points))
    thickness = motion.segment_thickness_mm if in_mm else motion.wall_thickness_px.mean(1)[:, None]
    is_ring = isinstance(motion, RingMotion)
    strain = "circumferential strain" if is_ring else "longitudinal strain"
    shown = {
        f"{strain} (%)": {k: getattr(motion, k).strain_percent for k in LINES},
        f"{strain} of the segments, mid-wall (%)": dict(
            zip(result.segments, motion.mid.segment_strain_percent.T, strict=True)
        ),
        f"wall thickness ({'mm' if in_mm else 'px'})": dict(
            zip(result.segments if in_mm else ["mean"], thickness.T, strict=True)
        ),
        **_cavity(motion, in_mm=in_mm),
    }
    moments = {"ED": int(motion.ed_frame), "ES": int(motion.es_frame)}
    is_known = result.segmented.is_measurable
    marks = {name: float(x[frame]) for name, frame in moments.items()} if is_known else {}
    panels.draw(
        path, shown, x=x, x_label="time (s)" if timed else "frame", marks=marks,
        title=result.cine.name,
    )  # fmt: skip
