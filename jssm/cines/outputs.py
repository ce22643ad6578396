"""What is written of one segmented cine: one folder, described in docs/PREDICT.md."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jssm import files
from jssm.cines import sending
from jssm.cines.measures import WALLS, Motion, Segmented, segment_names
from jssm.files import vtk
from jssm.pictures import movies, plots
from jssm.shape import order

LINES = ("endo", "mid", "epi")
DIGITS = 6
# Where the wall that comes first in the points lies from the other one, in patient coordinates
# (LPS): the septum to the right, the inferior wall below, the inferolateral wall behind.
FIRST_WALL = {"4ch": (-1.0, 0.0, 0.0), "2ch": (0.0, 0.0, -1.0), "3ch": (0.0, 1.0, 0.0)}


@dataclass(frozen=True)
class Result:
    """One cine and what a model sees in it.

    found: what its files say of it. cine: its F frames. segmented: what the model sees in them.
    warnings: sentences. supposed_mirrored: whether to take the display for mirrored where the file
    does not tell.
    """

    found: files.Found
    cine: files.Cine
    segmented: Segmented
    warnings: tuple[str, ...] = ()
    supposed_mirrored: bool = False

    @property
    def points(self) -> np.ndarray:
        """(F, T, 2) px."""
        return self.segmented.points

    @property
    def motion(self) -> Motion | None:
        """As NumPy arrays; None for a single picture."""
        return self.segmented.motion

    @property
    def mirrored(self) -> bool | None:
        """Whether the display is a mirror image of the one that ``jssm.segment_names`` takes for
        usual; None where the file does not tell. Cines of MRI mostly are."""
        if self.cine.to_patient_mm is None or self.found.view not in FIRST_WALL:
            return None
        ends = self.points[:, order.basal_ends(self.points.shape[1])[0]].mean(axis=0)
        first, last = files.patient_mm(self.cine, ends)
        return bool((first - last) @ np.array(FIRST_WALL[self.found.view]) < 0)

    @property
    def segments(self) -> tuple[str, ...]:
        """The names of the six segments, numbers where the view is none of the three."""
        if self.found.view not in WALLS:
            return tuple(f"segment {k + 1}" for k in range(6))
        mirrored = self.supposed_mirrored if self.mirrored is None else self.mirrored
        return segment_names(self.found.view, mirrored=mirrored)


def write(
    folder: Path, result: Result, *, about: Mapping[str, Any], keep_names: bool = False
) -> dict[str, Any]:
    """Write all files of one cine into ``folder``; gives what summary.json says.

    about: facts of the run, which go into the summary; the DICOM objects tell of the model by them.
    The summary is written last, so a folder that has one is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary_path = folder / "summary.json"
    summary_path.unlink(missing_ok=True)
    cine, warnings = result.cine, list(result.warnings)
    mask = result.segmented.mask
    files.write_nifti(folder / "mask.nii.gz", mask, cine)
    for name, send in (("mask.seg", sending.write_mask), ("report.sr", sending.write_measures)):
        warnings += send(folder / f"{name}.dcm", result, about=about, keep_names=keep_names)
    _write_points(folder, result)
    _write_vtk(folder, result)
    _write_movies(folder, result)
    if result.motion is not None:
        _write_motion(folder, result, result.motion)
    summary = {**summarize(result), **about, "warnings": warnings}
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    summary_path.write_text(text + "\n", encoding="utf-8")
    return summary


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
        "integrity_ok": bool(faults.ok.all()),
        "integrity_bad_frames": np.flatnonzero(~faults.ok).tolist(),
        "integrity_most_flipped_triangles": int(faults.flipped_triangles.max()),
        "integrity_most_crossings": int(faults.crossings.max()),
        "integrity_least_thickness_px": float(faults.min_thickness_px.min()),
    }
    if result.motion is not None:
        summary |= _motion_summary(result, result.motion)
    return _plain(summary)


def _motion_summary(result: Result, motion: Motion) -> dict[str, Any]:
    ed, es = int(motion.ed_frame), int(motion.es_frame)
    thickness = np.mean(motion.wall_thickness_mm, axis=1)
    lines = {name: getattr(motion, name) for name in LINES}
    is_measured = bool(np.isfinite(motion.cavity_area_px2).all())
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
        "radial_strain_peak_percent": motion.segment_radial_strain_percent[:, k].max(),
        "ed_thickness_mm": thickness_mm[int(motion.ed_frame)],
        "es_thickness_mm": thickness_mm[int(motion.es_frame)],
    }


def _write_motion(folder: Path, result: Result, motion: Motion) -> None:
    """curves.csv, curves.png and thickness.csv."""
    curves, thickness = _curve_table(result, motion), _thickness_table(result, motion)
    curves.to_csv(folder / "curves.csv", index=False, float_format=f"%.{DIGITS}g")
    thickness.to_csv(folder / "thickness.csv", index=False, float_format=f"%.{DIGITS}g")
    _draw_curves(folder / "curves.png", result, motion)


def _curve_table(result: Result, motion: Motion) -> pd.DataFrame:
    """A row per frame: every curve of the motion, units in the columns' names."""
    columns: dict[str, Any] = {
        "frame": np.arange(len(result.points)),
        "time_s": result.cine.time_s,
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


def _thickness_table(result: Result, motion: Motion) -> pd.DataFrame:
    """A row per frame: the thickness at each inner point along the arc; mm, px where unknown."""
    in_mm = np.isfinite(motion.wall_thickness_mm).all()
    unit, values = ("mm", motion.wall_thickness_mm) if in_mm else ("px", motion.wall_thickness_px)
    names = [f"point{k:02d}_{unit}" for k in range(values.shape[1])]
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "time_s", result.cine.time_s)
    table.insert(0, "frame", np.arange(len(values)))
    return table


def _write_points(folder: Path, result: Result) -> None:
    """points.csv, a row per frame and point, and points.json, the same nested."""
    cine, points = result.cine, result.points
    patient_mm = None if cine.to_patient_mm is None else files.patient_mm(cine, points)
    table = _point_table(cine, points, patient_mm)
    table.to_csv(folder / "points.csv", index=False, float_format="%.3f")
    nested = {
        "id": cine.name,
        "about": "points_px[frame][point] is (x, y), x right, y down, the centre of the first "
        "pixel is (0, 0); points_patient_mm is (left, posterior, superior), DICOM's patient "
        "coordinates; the first half of the points is the endocardium, the second the epicardium",
        "spacing_mm": list(cine.spacing_mm),
        "time_s": cine.time_s,
        "points_px": np.round(points.astype(float), 3),
        "points_patient_mm": None if patient_mm is None else np.round(patient_mm, 3),
    }
    text = json.dumps(_plain(nested), allow_nan=False, separators=(",", ":"))
    (folder / "points.json").write_text(text + "\n", encoding="utf-8")


def _point_table(
    cine: files.Cine, points: np.ndarray, patient_mm: np.ndarray | None
) -> pd.DataFrame:
    """A row per frame and point, of ``points`` (F, T, 2) px and their places (F, T, 3)."""
    frames, count = points.shape[:2]
    boundary = np.where(order.is_outer(count), "epi", "endo")
    table = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(frames), count),
            "time_s": np.repeat(cine.time_s, count),
            "point": np.tile(np.arange(count), frames),
            "wall": np.tile(boundary, frames),
            "x_px": points[..., 0].ravel(),
            "y_px": points[..., 1].ravel(),
        }
    )
    if patient_mm is not None:
        columns = ["left_mm", "posterior_mm", "superior_mm"]
        table[columns] = patient_mm.reshape(-1, 3)
    return table


def _write_vtk(folder: Path, result: Result) -> None:
    """vtk/frame_NN.vtp, and points.pvd, which lists them in time."""
    cine, motion, count = result.cine, result.motion, result.points.shape[1]
    places = _places(result)
    fields: dict[str, np.ndarray] = {"displacement": places - places[0]}
    if motion is not None:
        fields["displacement"] = places - places[int(motion.ed_frame)]
        thickness = _thickness_table(result, motion).to_numpy()[:, 2:]
        fields["wall_thickness"] = np.tile(thickness, 2)
    (folder / "vtk").mkdir(exist_ok=True)
    digits = max(2, len(str(len(places) - 1)))
    names = [f"vtk/frame_{k:0{digits}d}.vtp" for k in range(len(places))]
    for k, name in enumerate(names):
        vtk.write_polydata(
            folder / name,
            places[k],
            lines=np.split(np.arange(count), 2),
            triangles=order.strip_triangles(count),
            point_data={
                "point": np.arange(count, dtype=np.int32),
                "is_epi": order.is_outer(count).astype(np.int32),
                **{field: values[k] for field, values in fields.items()},
            },
        )
    known = np.isfinite(cine.time_s).all()
    vtk.write_collection(
        folder / "points.pvd", names, cine.time_s if known else np.arange(len(names))
    )


def _places(result: Result) -> np.ndarray:
    """Where the points lie, (F, T, 3): in the patient, mm; else in the plane z = 0, in mm where the
    spacing is known, else px."""
    cine = result.cine
    if cine.to_patient_mm is not None:
        return files.patient_mm(cine, result.points)
    row, column = cine.spacing_mm if math.isfinite(sum(cine.spacing_mm)) else (cine.aspect, 1.0)
    return np.pad(result.points * [column, row], [(0, 0), (0, 0), (0, 1)])


def _write_movies(folder: Path, result: Result) -> None:
    """overlay.gif and overlay.mp4; overlay.png for a single picture."""
    cine, count = result.cine, len(result.points)
    names = {}
    if result.motion is not None:
        names = {int(result.motion.es_frame): "  end-systole"}
        names[int(result.motion.ed_frame)] = "  end-diastole"
    labels = [f"{k} of 0-{count - 1}{names.get(k, '')}" for k in range(count)]
    pictures = list(movies.draw(cine.frames, result.points, aspect=cine.aspect, labels=labels))
    if count == 1:
        pictures[0].save(folder / "overlay.png")
        return
    pace = movies.frames_per_second(files.frame_time_s(cine))
    movies.write_gif(folder / "overlay.gif", pictures, pace)
    movies.write_mp4(folder / "overlay.mp4", pictures, pace)


def _draw_curves(path: Path, result: Result, motion: Motion) -> None:
    """Strain, that of the segments, thickness and the cavity over time."""
    in_mm = bool(np.isfinite(motion.wall_thickness_mm).all())
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
    marks = {"ED": float(x[int(motion.ed_frame)]), "ES": float(x[int(motion.es_frame)])}
    plots.motion_curves(
        path, panels, x=x, x_label="time (s)" if timed else "frame", marks=marks,
        title=result.cine.name,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """The same for JSON: lists, whole numbers and floats of a few digits, None for NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim:
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None
