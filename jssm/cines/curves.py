"""The curves of one segmented cine over its frames: tables and a figure (docs/PREDICT.md)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jssm.cines.measures import Motion
from jssm.cines.result import Result
from jssm.cines.summary import DIGITS, LINES, per_frame
from jssm.pictures import plots


def write_curves(folder: Path, result: Result) -> None:
    """curves.csv, curves.png and thickness.csv; nothing for a single picture."""
    motion = result.motion
    if motion is None:
        return
    curves, thickness = _curve_table(result, motion), thickness_table(result, motion)
    curves.to_csv(folder / "curves.csv", index=False, float_format=f"%.{DIGITS}g")
    thickness.to_csv(folder / "thickness.csv", index=False, float_format=f"%.{DIGITS}g")
    _draw_curves(folder / "curves.png", result, motion)


def _curve_table(result: Result, motion: Motion) -> pd.DataFrame:
    """A row per frame: every curve of the motion, units in the columns' names."""
    columns: dict[str, Any] = {
        "frame": np.arange(len(result.points)),
        "time_s": result.cine.time_s,
        **per_frame(result),
        **{f"strain_{k}_percent": getattr(motion, k).strain_percent for k in LINES},
        **{f"length_{k}_mm": getattr(motion, k).length_mm for k in LINES},
        "radial_strain_percent": motion.radial_strain_percent,
        "wall_thickness_mm": np.mean(motion.wall_thickness_mm, axis=1),
        "wall_thickness_px": np.mean(motion.wall_thickness_px, axis=1),
        "cavity_area_mm2": motion.cavity_area_mm2,
        "cavity_area_px2": motion.cavity_area_px2,
        "long_axis_mm": motion.long_axis_mm,
        "volume_ml": motion.volume_ml,
    }
    for k, name in enumerate(result.segments):
        place = name.replace(" ", "_")
        columns[f"strain_mid_{place}_percent"] = motion.mid.segment_strain_percent[:, k]
        columns[f"radial_strain_{place}_percent"] = motion.segment_radial_strain_percent[:, k]
        columns[f"thickness_{place}_mm"] = motion.segment_thickness_mm[:, k]
    return pd.DataFrame(columns)


def thickness_table(result: Result, motion: Motion) -> pd.DataFrame:
    """A row per frame: the thickness at each inner point along the arc; mm, px where unknown."""
    in_mm = np.isfinite(motion.wall_thickness_mm).any()
    unit, values = ("mm", motion.wall_thickness_mm) if in_mm else ("px", motion.wall_thickness_px)
    names = [f"point{k:02d}_{unit}" for k in range(values.shape[1])]
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "time_s", result.cine.time_s)
    table.insert(0, "frame", np.arange(len(values)))
    return table


def _draw_curves(path: Path, result: Result, motion: Motion) -> None:
    """Strain, that of the segments, thickness and the cavity over time."""
    in_mm = bool(np.isfinite(motion.wall_thickness_mm).any())
    timed = bool(np.isfinite(result.cine.time_s).all())
    x = result.cine.time_s if timed else np.arange(len(result.points))
    thickness = motion.segment_thickness_mm if in_mm else motion.wall_thickness_px.mean(1)[:, None]
    panels = {
        "longitudinal strain (%)": {k: getattr(motion, k).strain_percent for k in LINES},
        "longitudinal strain of the segments, mid-wall (%)": dict(
            zip(result.segments, motion.mid.segment_strain_percent.T, strict=True)
        ),
        f"wall thickness ({'mm' if in_mm else 'px'})": dict(
            zip(result.segments if in_mm else ["mean"], thickness.T, strict=True)
        ),
        f"cavity {'volume (ml)' if in_mm else 'area (px²)'}": {
            "cavity": motion.volume_ml if in_mm else motion.cavity_area_px2
        },
    }
    moments = {"ED": int(motion.ed_frame), "ES": int(motion.es_frame)}
    is_known = result.segmented.is_measurable
    marks = {name: float(x[frame]) for name, frame in moments.items()} if is_known else {}
    plots.motion_curves(
        path, panels, x=x, x_label="time (s)" if timed else "frame", marks=marks,
        title=result.cine.name,
    )  # fmt: skip
