"""NIfTI files as cines, and cines as NIfTI files: which of a header's numbers are believed.

A header tells sizes in mm three times: in pixdim, in the qform, which takes them from there, and in
the sform. Libraries fill in what nobody told: 1 mm, 1 s, no unit. :func:`geometry` has the rule.
"""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files.cine import LPS_FROM_RAS, UNKNOWN, Cine, believed_times, known, nifti_affine
from jssm.files.common import (
    MAX_BYTES,
    check_size,
    dropped,
    frame_shape,
    frame_time_s,
    silenced,
    stem,
    without_gaps,
)
from jssm.files.errors import BadInput
from jssm.files.whole import write_whole

TIME_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LENGTH_UNITS = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
SAME = 0.01  # two sources of one length agree within this share of it
LABEL = 1002  # the intent code of label maps


def count_frames(path: Path) -> int:
    """How many frames the file holds, by its header."""
    return frame_shape(_open(path).shape, path)[2]


def is_label_map(path: Path) -> bool:
    """Whether it is a NIfTI file that says that it holds labels; False where it cannot be read."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    try:
        return int(_open(path).header["intent_code"]) == LABEL
    except Exception:  # whatever is wrong with it is told when it is read
        return False


def read(path: Path) -> Cine:
    """The cine of a NIfTI file.

    Raises:
      BadInput: when it is no cine of one slice of grey values.
    """
    file = _open(path)
    shape, header = file.shape, file.header
    x, y, frames = frame_shape(shape, path)
    check_size(math.prod(shape) * max(8, header.get_data_dtype().itemsize), path.name)
    data = np.asanyarray(file.dataobj).reshape(x, y, frames)
    if data.dtype.names or np.iscomplexobj(data):
        raise BadInput(f"{path.name}: values of the type {data.dtype}; grey values were expected")
    data, gaps = without_gaps(np.ascontiguousarray(data.transpose(2, 1, 0)), path.name)
    pixdim = _pixdim(path)
    kept = [axis for axis in range(min(3, len(shape))) if axis not in dropped(shape)]
    mm = LENGTH_UNITS.get(header.get_xyzt_units()[0], 1.0)
    spacing, affine, notes = geometry(header, pixdim, kept[:2], mm)
    to_patient, across = None, None
    if affine is not None:
        others = [axis for axis in range(3) if axis not in kept]
        to_patient = LPS_FROM_RAS @ affine[:3][:, [*kept[:2], 3]]
        across = LPS_FROM_RAS @ affine[:3, others[0] if len(kept) == 2 else 2]
    time_s, remarks = _times(header, pixdim, frames if len(shape) > 3 else 1)
    return Cine(
        stem(path), data, spacing, time_s, to_patient, tuple(shape), across,
        notes=(*gaps, *notes, *remarks),
    )  # fmt: skip


def geometry(
    header: Any, pixdim: np.ndarray, axes: Sequence[int], mm: float
) -> tuple[tuple[float, float], np.ndarray | None, list[str]]:
    """The spacing (row, column), the affine (4, 4), both in mm, NaN and None where unknown; notes.

    axes: those of columns and rows. pixdim: as the file has it. The rule: pixdim gives the spacing,
    and of sform and qform the first that is set, sound and of the same spacing gives the place.
    But 1 mm is what libraries write where nobody told, so pixdim of 1, 1, 1 yields to an sform that
    says otherwise, and counts for unknown where none does and no place is told either.
    """
    sizes = pixdim[1:4] * mm
    flat = list(axes)
    forms, notes = _forms(header, flat, mm)
    lengths = {name: np.linalg.norm(form[:3, flat], axis=0) for name, form in forms.items()}
    is_default = np.allclose(np.abs(pixdim[1:4]), 1)
    is_sound = bool((np.isfinite(sizes[flat]) & (sizes[flat] > 0)).all())
    if not is_sound:
        listed = ", ".join(f"{size:g}" for size in sizes[flat])
        notes.append(f"pixdim says that pixels measure {listed} mm, which cannot be")
        forms.pop("qform", None)  # it is made of pixdim
    same = [n for n in forms if is_sound and np.allclose(lengths[n], sizes[flat], rtol=SAME)]
    if is_default and all(_is_default(forms[name]) for name in same) and same == list(forms):
        notes.append(
            "pixels of 1 mm at the origin are what libraries write where nobody told; spacing and "
            "place are taken for unknown"
        )
        return UNKNOWN, None, notes
    if "sform" in forms and "sform" not in same:
        in_mm = ", ".join(f"{length:g}" for length in lengths["sform"])
        if (is_default or not is_sound) and not np.allclose(lengths["sform"], 1):
            notes.append(f"pixdim does not tell the spacing, but the sform: {in_mm} mm")
            column, row = lengths["sform"]
            return known((float(row), float(column))), forms["sform"], notes
        if is_sound:
            place = "the qform gives the place" if same else "the place is taken for unknown"
            stated = ", ".join(f"{size:g}" for size in sizes[flat])
            notes.append(
                f"pixels measure {in_mm} mm by the sform, but {stated} mm by pixdim, which is "
                f"believed; {place}"
            )
    if len(same) == 2:
        away = np.abs(forms["sform"] - forms["qform"])[:3]
        if away[:, 3].max() > 1 or away[:, :3].max() > 0.1 * sizes[flat].max():
            notes.append("sform and qform give unlike places, of which the sform is believed")
    spacing = known((float(sizes[axes[1]]), float(sizes[axes[0]])))
    return spacing, forms[same[0]] if same else None, notes


def write_nifti(path: Path, frames: np.ndarray, cine: Cine) -> None:
    """Write ``frames`` (F, H, W), on the pixels of ``cine``, in the geometry of its own file.

    A cine from a NIfTI file keeps that file's array layout; others become (x, y, 1, frames). The
    time from frame to frame stands in the header where it is known.

    Raises:
      ValueError: when the frames are not on the cine's pixels.
    """
    import nibabel as nib

    if frames.shape != cine.frames.shape:
        raise ValueError(f"{path.name}: frames {frames.shape}, expected {cine.frames.shape}")
    count, height, width = frames.shape
    shape = cine.nifti_shape or (width, height, 1, count)
    file = nib.Nifti1Image(_storable(frames).transpose(2, 1, 0).reshape(shape), None)
    code = 0 if cine.to_patient_mm is None else 1
    order = [0, 1]  # x, y, and the slice (2) where the array has it
    order.insert((dropped(shape) or [2])[0], 2)
    affine = nifti_affine(cine)[:, [*order, 3]]
    file.set_qform(affine, code)
    file.set_sform(affine, code)
    row_mm, column_mm = cine.spacing_mm if math.isfinite(sum(cine.spacing_mm)) else (1.0, 1.0)
    sizes = np.array([column_mm, row_mm, np.linalg.norm(affine[:3, order.index(2)])])
    step = frame_time_s(cine)
    zooms = [*sizes[order], step if math.isfinite(step) else 0.0]
    zooms += [1.0] * (len(shape) - len(zooms))  # of axes of length 1
    file.header.set_zooms(zooms[: len(shape)])
    file.header.set_xyzt_units("mm", "sec")
    content = file.to_bytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, 1, mtime=0)  # as nibabel does: quick, and no time in it
    write_whole(path, content)


def _open(path: Path) -> Any:
    """The image; compressed or not by its first bytes, whatever its name says."""
    import nibabel as nib

    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    with silenced("nibabel.global"):  # of what is checked here
        if is_gzip == path.name.lower().endswith(".gz"):
            return nib.Nifti1Image.from_filename(path)
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        check_size(len(data), path.name)
        return nib.Nifti1Image.from_bytes(data)


def _pixdim(path: Path) -> np.ndarray:
    """The sizes (8,) as the file has them: nibabel takes 1 for 0 and drops the sign."""
    import nibabel as nib

    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_gzip else path.open("rb") as file:
        return np.array(nib.Nifti1Header.from_fileobj(file, check=False)["pixdim"], np.float64)


def _forms(header: Any, axes: Sequence[int], mm: float) -> tuple[dict[str, np.ndarray], list[str]]:
    """The forms that are set and sound, sform first, in mm; and notes on those that are not."""
    forms, notes = {}, []
    for name in ("sform", "qform"):
        if header[f"{name}_code"] <= 0:
            continue
        try:
            form = np.array(getattr(header, f"get_{name}")(), np.float64)
        except ValueError:  # a quaternion that is none
            form = np.full((4, 4), math.nan)
        form[:3] *= mm
        if not np.isfinite(form).all() or abs(np.linalg.det(form[:3, :3])) < 1e-9:
            notes.append(f"its {name} is set, but no place can be read from it")
        elif abs(_cosine(*form[:3, axes].T)) > SAME:
            notes.append(f"its {name} shears the pixels and is not believed")
        else:
            forms[name] = form
    return forms, notes


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _is_default(form: np.ndarray) -> bool:
    """Whether a form is that of an image of which nobody told where it lies."""
    return np.allclose(np.abs(form[:3, :3]), np.eye(3)) and not form[:3, 3].any()


def _times(header: Any, pixdim: np.ndarray, frames: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Seconds after the first frame, and notes. Without a unit, they are taken for seconds."""
    step, unit = pixdim[4], header.get_xyzt_units()[1]
    if frames == 1 or step == 0:
        return np.empty(0), ()
    if unit not in TIME_UNITS and unit != "unknown":
        return np.empty(0), (f"pixdim gives {step:g} {unit} for time, which is taken for unknown",)
    factor = TIME_UNITS.get(unit, 1.0)
    named = "with the unit " + unit if unit in TIME_UNITS else "without a unit"
    return believed_times(np.arange(frames) * step * factor, f"pixdim, {step:g} {named},")


def _storable(frames: np.ndarray) -> np.ndarray:
    """The same values in the smallest of the types that every program reads in NIfTI files."""
    if frames.dtype in (bool, np.uint8):
        return frames.astype(np.uint8)
    if not np.issubdtype(frames.dtype, np.integer):
        return frames.astype(np.float32)
    low, high = int(frames.min()), int(frames.max())
    return frames.astype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)
