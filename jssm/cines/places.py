"""Where the points of one segmented cine lie: CSV, JSON and VTK (docs/PREDICT.md)."""

import json
import math
from pathlib import Path

import numpy as np

from jssm import files
from jssm.cines import tables
from jssm.cines.curves import wall_thickness
from jssm.cines.result import Result
from jssm.cines.summary import per_frame, plain
from jssm.files import vtk
from jssm.shape import order


def write_points(folder: Path, result: Result) -> None:
    """points.csv, a row per frame and point, and points.json, the same nested."""
    cine, points = result.cine, result.points
    patient_mm = None if cine.to_patient_mm is None else files.patient_mm(cine, points)
    tables.write_columns(folder / "points.csv", _columns(cine, points, patient_mm), ".3f")
    nested = {
        "id": cine.name,
        "about": "points_px[frame][point] is (x, y), x right, y down, the centre of the first "
        "pixel is (0, 0); points_patient_mm is (left, posterior, superior), DICOM's patient "
        "coordinates; the first half of the points is the endocardium, the second the epicardium",
        "spacing_mm": plain(list(cine.spacing_mm)),
        "time_s": plain(cine.time_s),
        **plain(per_frame(result)),
        "points_px": np.round(points.astype(float), 3).tolist(),
        "points_patient_mm": None if patient_mm is None else np.round(patient_mm, 3).tolist(),
    }
    text = json.dumps(nested, allow_nan=False, separators=(",", ":"))
    (folder / "points.json").write_text(text + "\n", encoding="utf-8")


def _columns(
    cine: files.Cine, points: np.ndarray, patient_mm: np.ndarray | None
) -> dict[str, np.ndarray]:
    """A row per frame and point, of ``points`` (F, T, 2) px and their places (F, T, 3)."""
    frames, count = points.shape[:2]
    boundary = np.where(order.is_outer(count), "epi", "endo")
    columns = {
        "frame": np.repeat(np.arange(frames), count),
        "time_s": np.repeat(cine.time_s, count),
        "point": np.tile(np.arange(count), frames),
        "wall": np.tile(boundary, frames),
        "x_px": points[..., 0].ravel(),
        "y_px": points[..., 1].ravel(),
    }
    if patient_mm is not None:
        names = ("left_mm", "posterior_mm", "superior_mm")
        columns |= dict(zip(names, patient_mm.reshape(-1, 3).T, strict=True))
    return columns


def write_vtk(folder: Path, result: Result) -> None:
    """vtk/frame_NN.vtp, and points.pvd, which lists them in time."""
    cine, motion, count = result.cine, result.motion, result.points.shape[1]
    closed = result.segmented.poses.closed
    places = _places(result)
    fields: dict[str, np.ndarray] = {"displacement": places - places[0]}
    if motion is not None:
        fields["displacement"] = places - places[int(motion.ed_frame)]
        fields["wall_thickness"] = np.tile(wall_thickness(motion)[0].astype(float), 2)
    (folder / "vtk").mkdir(exist_ok=True)
    digits = max(2, len(str(len(places) - 1)))
    names = [f"vtk/frame_{k:0{digits}d}.vtp" for k in range(len(places))]
    for k, name in enumerate(names):
        vtk.write_polydata(
            folder / name,
            places[k],
            lines=[
                order.line(line[:, None], closed=closed)[:, 0]
                for line in np.split(np.arange(count), 2)
            ],
            triangles=order.strip_triangles(count, closed=closed),
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
