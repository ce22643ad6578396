"""What is written of one segmented cine: one folder, described in docs/PREDICT.md."""

import importlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jssm import files
from jssm.cines import sending
from jssm.cines.measures import Motion
from jssm.cines.result import NAMES, Result
from jssm.files import segmentation, vtk
from jssm.pictures import movies, plots
from jssm.report import record
from jssm.shape import order

LINES = ("endo", "mid", "epi")
DIGITS = 6
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Output:
    """What one word of ``--outputs`` means.

    files: their names in the folder of a cine. write(folder, result, run) writes them; gives
    sentences for what could not be written.
    """

    files: tuple[str, ...]
    write: Callable[[Path, Result, "Run"], list[str]]


@dataclass(frozen=True)
class Run:
    """Of the run, the same for all its cines: facts for summaries and DICOM objects, and whether
    the patients' own names are written."""

    about: Mapping[str, Any]
    keep_names: bool = False


@dataclass(frozen=True)
class Written:
    """What summary.json says, and the seconds that each output took."""

    summary: dict[str, Any]
    seconds: dict[str, float]


def get_ready() -> None:
    """Do what the first cine would wait for: slow imports, figures, the tables of DICOM."""
    with suppress(ImportError):
        for name in ("pydicom.sr.codedict", "nibabel", "av"):
            importlib.import_module(name)
    plots.get_ready()
    segmentation.get_ready()


def write(
    folder: Path,
    result: Result,
    *,
    about: Mapping[str, Any],
    keep_names: bool = False,
    outputs: Sequence[str] = NAMES,
) -> Written:
    """Write the files of one cine into ``folder``: the summary and these outputs.

    about: facts of the run, which go into the summary; the DICOM objects tell of the model by them.

    What an earlier run left there goes first, for it may be another model's. The summary is written
    last, so a folder that has one is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    run = Run(about, keep_names)
    warnings, seconds = list(result.warnings), {}
    for name in outputs:
        began = time.perf_counter()
        warnings += OUTPUTS[name].write(folder, result, run)
        seconds[name] = time.perf_counter() - began
    summary = {**summarize(result), **about, "warnings": warnings}
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    return Written(summary, seconds)


def _clear(folder: Path) -> None:
    (folder / SUMMARY).unlink(missing_ok=True)
    for output in OUTPUTS.values():
        for name in output.files:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


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
    return _plain(summary)


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


def _write_mask(folder: Path, result: Result, _: Run) -> list[str]:
    """mask.nii.gz."""
    files.write_nifti(folder / "mask.nii.gz", result.segmented.mask, result.cine)
    return []


def _write_seg(folder: Path, result: Result, run: Run) -> list[str]:
    """mask.seg.dcm."""
    path = folder / "mask.seg.dcm"
    return sending.write_mask(
        path, result, about=run.about, used=result.segmented.used, keep_names=run.keep_names
    )


def _write_sr(folder: Path, result: Result, run: Run) -> list[str]:
    """report.sr.dcm."""
    path = folder / "report.sr.dcm"
    return sending.write_measures(
        path, result, about=run.about, used=result.segmented.used, keep_names=run.keep_names
    )


def _write_curves(folder: Path, result: Result, _: Run) -> list[str]:
    """curves.csv, curves.png and thickness.csv; nothing for a single picture."""
    motion = result.motion
    if motion is None:
        return []
    curves, thickness = _curve_table(result, motion), _thickness_table(result, motion)
    curves.to_csv(folder / "curves.csv", index=False, float_format=f"%.{DIGITS}g")
    thickness.to_csv(folder / "thickness.csv", index=False, float_format=f"%.{DIGITS}g")
    _draw_curves(folder / "curves.png", result, motion)
    return []


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


def _thickness_table(result: Result, motion: Motion) -> pd.DataFrame:
    """A row per frame: the thickness at each inner point along the arc; mm, px where unknown."""
    in_mm = np.isfinite(motion.wall_thickness_mm).any()
    unit, values = ("mm", motion.wall_thickness_mm) if in_mm else ("px", motion.wall_thickness_px)
    names = [f"point{k:02d}_{unit}" for k in range(values.shape[1])]
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "time_s", result.cine.time_s)
    table.insert(0, "frame", np.arange(len(values)))
    return table


def _write_points(folder: Path, result: Result, _: Run) -> list[str]:
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
        "spacing_mm": _plain(list(cine.spacing_mm)),
        "time_s": _plain(cine.time_s),
        **_plain(per_frame(result)),
        "points_px": np.round(points.astype(float), 3).tolist(),
        "points_patient_mm": None if patient_mm is None else np.round(patient_mm, 3).tolist(),
    }
    text = json.dumps(nested, allow_nan=False, separators=(",", ":"))
    (folder / "points.json").write_text(text + "\n", encoding="utf-8")
    return []


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


def _write_vtk(folder: Path, result: Result, _: Run) -> list[str]:
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
    return []


def _places(result: Result) -> np.ndarray:
    """Where the points lie, (F, T, 3): in the patient, mm; else in the plane z = 0, in mm where the
    spacing is known, else px."""
    cine = result.cine
    if cine.to_patient_mm is not None:
        return files.patient_mm(cine, result.points)
    row, column = cine.spacing_mm if math.isfinite(sum(cine.spacing_mm)) else (cine.aspect, 1.0)
    return np.pad(result.points * [column, row], [(0, 0), (0, 0), (0, 1)])


def _write_movie(folder: Path, result: Result, _: Run) -> list[str]:
    """overlay.mp4, or overlay.gif where that cannot be made; overlay.png for a single picture."""
    cine, count = result.cine, len(result.points)
    names = {}
    if result.motion is not None and result.segmented.is_measurable:
        names = {int(result.motion.es_frame): "  end-systole"}
        names[int(result.motion.ed_frame)] = "  end-diastole"
    used = result.segmented.used
    names |= {int(k): "  refused" for k in np.flatnonzero(~used)}
    labels = [f"{k} of 0-{count - 1}{names.get(k, '')}" for k in range(count)]
    pictures = list(
        movies.draw(cine.frames, result.points, aspect=cine.aspect, labels=labels, dashed=~used)
    )
    pace = movies.frames_per_second(files.frame_time_s(cine))
    if count == 1:
        pictures[0].save(folder / "overlay.png")
    elif movies.can_write_mp4():
        movies.write_mp4(folder / "overlay.mp4", pictures, pace)
    else:
        movies.write_gif(folder / "overlay.gif", pictures, pace)
    return []


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


def _write_report(folder: Path, result: Result, run: Run) -> list[str]:
    """report.json, of which the patient's page is made."""
    content = record.record(result, about=run.about, keep_names=run.keep_names)
    record.write(folder / record.NAME, content)
    return []


OUTPUTS = {
    "mask": Output(("mask.nii.gz",), _write_mask),
    "seg": Output(("mask.seg.dcm",), _write_seg),
    "sr": Output(("report.sr.dcm",), _write_sr),
    "points": Output(("points.csv", "points.json"), _write_points),
    "vtk": Output(("points.pvd", "vtk"), _write_vtk),
    "movie": Output(("overlay.mp4", "overlay.gif", "overlay.png"), _write_movie),
    "curves": Output(("curves.csv", "curves.png", "thickness.csv"), _write_curves),
    "report": Output((record.NAME,), _write_report),
}
