"""One phantom patient: heart, cine, masks, ground truth, and its three files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from jssm.shape.masks import binarize
from prep.phantom import short_axis
from prep.phantom.anatomy import SLICES, VIEWS, Anatomy, draw_anatomy
from prep.phantom.background import body_layers
from prep.phantom.chambers import heart_layers
from prep.phantom.motion import Wall, at, lengths, material_points, move, stations, strain_percent
from prep.phantom.picture import draw_scanner, paint_still, render
from prep.phantom.polygons import Array, fill, signed_area
from prep.phantom.pose import Pose, place
from prep.phantom.tissue import LOOKS, draw_tissue, with_texture
from prep.phantom.ventricle import band_polygon

MIN_SIZE = 64
ALL_VIEWS = "all"
SHORT_AXIS = "sax"
CHOICES = (*VIEWS, ALL_VIEWS, SHORT_AXIS)  # of --view
RIGHT_VENTRICLE = 2  # its value in the masks of short-axis slices


@dataclass(frozen=True)
class Options:
    """What cohort to make; view: one, ALL_VIEWS of each patient, or slices across (SHORT_AXIS).

    Raises ValueError, naming the option, for a value out of range.
    """

    view: str
    patients: int
    seed: int = 0
    frames: int = 30
    size: int = 224
    num_points: int = 88
    looks: str = "real"

    def __post_init__(self) -> None:
        if self.view not in (*CHOICES, *SLICES):
            raise ValueError(f"--view is {self.view!r}, expected one of {', '.join(CHOICES)}")
        if self.looks not in LOOKS:
            raise ValueError(f"--looks is {self.looks!r}, expected one of {', '.join(LOOKS)}")
        for name, least in (("patients", 1), ("seed", 0), ("frames", 2), ("size", MIN_SIZE)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} is {getattr(self, name)}, expected at least {least}")
        if self.num_points < 8 or self.num_points % 2:
            raise ValueError(f"--points is {self.num_points}, expected an even number from 8 up")

    @property
    def views(self) -> tuple[str, ...]:
        """The views of each patient."""
        return {ALL_VIEWS: VIEWS, SHORT_AXIS: tuple(SLICES)}.get(self.view, (self.view,))


@dataclass(frozen=True)
class Patient:
    """One phantom patient.

    images (F, S, S) uint16; masks (F, S, S) uint8; points (F, T, 2) float32 px, the same tissue in
    every frame; truth: what truth/<patient>.npz holds; row: its line in cohort.csv.
    """

    images: NDArray[np.uint16]
    masks: NDArray[np.uint8]
    points: NDArray[np.float32]
    truth: dict[str, NDArray[Any]]
    row: dict[str, Any]


def patient_name(number: int) -> str:
    """Give the id of patient 1, 2, ..."""
    return f"phantom{number:04d}"


def make_patient(options: Options, number: int) -> Patient:
    """Give patient 1, 2, ... of a cohort; it depends on view, looks, seed, frames, size and number.

    One seed and number give the same heart, disease and motion in each view and look.
    """
    rngs = _generators(options, number)
    anatomy, wall, pose = make_geometry(options, number)
    tissue = draw_tissue(rngs[1], options.looks)
    is_ring, right = anatomy.level is not None, None
    if is_ring:
        right = short_axis.right_ventricle(rngs[5], anatomy, wall)
        layers = short_axis.layers_of(rngs[2], anatomy, wall, right, tissue)
    else:
        layers = heart_layers(rngs[2], anatomy, wall, tissue)
    layers = with_texture(rngs[1], layers, tissue)
    heart = np.concatenate([pose.to_scanner(layer.outline)[0] for layer in layers])
    valve = pose.to_scanner(0.5 * (wall.outer[:1, :1] + wall.outer[:1, -1:]))[0, 0]
    still = with_texture(rngs[1], body_layers(rngs[3], anatomy, heart, valve, tissue), tissue)
    scanner = draw_scanner(rngs[4], options.size)
    backdrop = paint_still(pose, still, rngs[4])
    images = render(rngs[4], backdrop, layers, wall, pose, scanner)

    spread = short_axis.material_points if is_ring else material_points
    points = clockwise(pose.to_pixels(pose.to_scanner(spread(wall, options.num_points))))
    truth = truth_fields(anatomy, wall, pose, points)
    row = _row(options, number, anatomy, pose, truth)
    return Patient(images, draw_masks(wall, pose, right), points, truth, row)


def _generators(options: Options, number: int) -> list[np.random.Generator]:
    """Give one generator each for heart, tissue, chambers, body, scan and a slice's crescent."""
    return np.random.default_rng(np.random.SeedSequence([options.seed, number])).spawn(6)


def make_geometry(options: Options, number: int) -> tuple[Anatomy, Wall, Pose]:
    """Give the heart of patient 1, 2, ..., its motion and its place, without a picture."""
    anatomy = draw_anatomy(_generators(options, number)[0], options.view)
    wall = (move if anatomy.level is None else short_axis.move)(anatomy, options.frames)
    return anatomy, wall, place(anatomy, wall, options.size)


def draw_masks(wall: Wall, pose: Pose, right: Array | None = None) -> NDArray[np.uint8]:
    """Give the masks (F, S, S): the pixels that the true outline covers by more than half.

    Each is one 4-connected piece for size 96 and up; below that the thinnest walls come near one
    pixel (`Anatomy.least_wall`) and may touch at corners only, or break. Of a slice, what the right
    ventricle (F, N, 2) mm covers beside it is RIGHT_VENTRICLE.
    """

    def covered(outline: Array) -> NDArray[np.bool_]:
        outlines = pose.to_pixels(pose.to_scanner(outline))
        return binarize(np.stack([fill(o, (pose.size, pose.size)) for o in outlines]))

    masks = covered(band_polygon(wall)).astype(np.uint8)
    if right is not None:
        masks[(masks == 0) & covered(right)] = RIGHT_VENTRICLE
    return masks


def clockwise(points: Array) -> NDArray[np.float32]:
    """Number points (F, T, 2) clockwise on the displayed image, one order for all frames."""
    if _is_clockwise(points):
        return points.astype(np.float32)
    return _reverse_halves(points, axis=1).astype(np.float32)


def _is_clockwise(points: Array) -> bool:
    return bool(signed_area(points[0, points.shape[1] // 2 :]) > 0.0)


def _reverse_halves(values: Array, axis: int) -> Array:
    """Reverse the order within the inner and within the outer half of `axis`."""
    first, second = np.split(values, 2, axis=axis)
    return np.concatenate([np.flip(first, axis), np.flip(second, axis)], axis=axis)


def truth_fields(
    anatomy: Anatomy, wall: Wall, pose: Pose, points: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """Give the ground truth of one patient, by the names in its file.

    points (F, T, 2) px; spacing_mm (2,) row, column; time_s (F,); gls_endo,
    gls_mid, gls_epi (F,), of slices gcs_...: change in length of the whole inner, middle and outer
    line against frame 0; radial_strain (F,): change of the mean wall thickness;
    wall_thickness_mm (F, T/2): true thickness, across the wall, at the inner points;
    volume_ml (F,): cavity, as stacked discs, of slices cavity_area_mm2; kind; view; mirrored;
    end_systole: a frame.
    """
    half, is_ring = points.shape[1] // 2, anatomy.level is not None
    thickness = at(wall.thickness, stations(wall.inner[0], half + is_ring)[:half])
    if pose.mirrored:
        thickness = thickness[:, ::-1]
    return {
        "points": points,
        "spacing_mm": np.full(2, pose.spacing_mm),
        "time_s": wall.phase * 60.0 / anatomy.heart_rate,
        **{
            f"{'gcs' if is_ring else 'gls'}_{name}": strain_percent(lengths(line))
            for name, line in (("endo", wall.inner), ("mid", wall.mid), ("epi", wall.outer))
        },
        "radial_strain": strain_percent(thickness.mean(axis=1)),
        "wall_thickness_mm": np.ascontiguousarray(thickness),
        **(
            {"cavity_area_mm2": np.abs(signed_area(wall.inner))}
            if is_ring
            else {"volume_ml": cavity_volume_ml(wall)}
        ),
        "kind": np.array(anatomy.kind),
        "view": np.array(anatomy.view),
        "mirrored": np.array(anatomy.mirrored),
        "end_systole": np.array(np.argmax(wall.activation)),
    }


def cavity_volume_ml(wall: Wall) -> Array:
    """Give the cavity's volume (F,) ml: discs as wide as the cavity is at each height."""
    apex = np.argmax(wall.inner[0, :, 1])
    volumes = []
    for curve in wall.inner:
        left, right = curve[: apex + 1], curve[apex:][::-1]
        height = np.linspace(max(left[0, 1], right[0, 1]), curve[apex, 1], 200)
        width = np.interp(height, right[:, 1], right[:, 0]) - np.interp(
            height, left[:, 1], left[:, 0]
        )
        volumes.append(np.trapezoid(0.25 * np.pi * width**2, height) / 1000.0)
    return np.array(volumes)


def _row(
    options: Options, number: int, anatomy: Anatomy, pose: Pose, truth: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "patient": patient_name(number),
        "view": anatomy.view,
        "kind": anatomy.kind,
        "mirrored": int(anatomy.mirrored),
        "seed": options.seed,
        "frames": options.frames,
        "size": options.size,
        "spacing_mm": round(pose.spacing_mm, 6),
        "heart_rate": round(anatomy.heart_rate, 2),
        "end_systole": int(truth["end_systole"]),
    }
    if "volume_ml" in truth:
        volume = truth["volume_ml"]
        row["ejection_fraction_percent"] = round(100.0 * float(1.0 - volume.min() / volume[0]), 2)
        row["volume_ed_ml"] = round(float(volume[0]), 1)
    else:
        row["area_ed_mm2"] = round(float(truth["cavity_area_mm2"][0]), 1)
    for name in (name for name in truth if name.startswith(("gls", "gcs"))):
        row[f"{name}_peak_percent"] = round(float(truth[name].min()), 3)
    row["radial_peak_percent"] = round(float(truth["radial_strain"].max()), 3)
    thickness = truth["wall_thickness_mm"][0]
    row["wall_ed_mean_mm"] = round(float(thickness.mean()), 3)
    row["wall_ed_max_mm"] = round(float(thickness.max()), 3)
    row["tilt_degrees"] = round(float(np.degrees(anatomy.tilt)), 2)
    return row


def write_patient(options: Options, number: int, folder: Path, name: str) -> dict[str, Any]:
    """Make patient 1, 2, ... and write its three files so named; gives its row of cohort.csv."""
    patient = make_patient(options, number)
    spacing = float(patient.truth["spacing_mm"][0])
    frame_s = float(patient.truth["time_s"][1])
    _write_nifti(folder / "images" / f"{name}.nii", patient.images, spacing, frame_s)
    _write_nifti(folder / "masks" / f"{name}.nii", patient.masks, spacing, frame_s)
    fields: dict[str, Any] = dict(patient.truth)
    np.savez(folder / "truth" / f"{name}.npz", **fields)
    return {"file": name} | patient.row


def _write_nifti(path: Path, cine: NDArray[Any], spacing_mm: float, frame_s: float) -> None:
    """Write a cine (F, rows, columns) as (x, y, 1, frames), x to the left and y to the back."""
    affine = np.diag([-spacing_mm, -spacing_mm, 1.0, 1.0])
    image = nibabel.Nifti1Image(np.ascontiguousarray(cine.transpose(2, 1, 0)[:, :, None]), affine)
    image.header.set_zooms((spacing_mm, spacing_mm, 1.0, frame_s))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def attempt_patient(options: Options, number: int, folder: Path) -> list[dict[str, Any] | str]:
    """Give `write_patient`'s row or, where that failed, a line that says why, for each view."""
    results: list[dict[str, Any] | str] = []
    for view in options.views:
        name = patient_name(number) + (f"_{view}" if len(options.views) > 1 else "")
        try:
            results.append(write_patient(replace(options, view=view), number, folder, name))
        except Exception as error:  # one bad patient must not lose the others
            results.append(f"{name}: {type(error).__name__}: {error}")
    return results
