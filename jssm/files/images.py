"""Reading PNG, JPEG, NIfTI and MetaImage files as cines, and writing NIfTI."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jssm.files.cine import LPS_FROM_RAS, Cine, known, nifti_affine
from jssm.files.errors import BadInput

PICTURES = (".png", ".jpg", ".jpeg")
NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")
SUFFIXES = PICTURES + NIFTI + METAIMAGE
MAX_BYTES = 2**30  # of one cine in memory; a header that claims more is taken for damaged
TIME_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LENGTH_UNITS = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


def stem(path: Path) -> str:
    """The file's name without the suffix (``.nii.gz`` is one suffix)."""
    return re.sub(r"(\.nii)?\.[^.]+$", "", path.name)


def read(path: Path) -> Cine:
    """The cine of a PNG, JPEG, NIfTI or MetaImage file.

    Raises:
      BadInput: when the file cannot be read or is not an image or a cine of one slice.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return guarded(_read_nifti, path)
    return guarded(_read_metaimage if name.endswith(METAIMAGE) else _read_picture, path)


def count_frames(path: Path) -> int:
    """How many frames the file holds; reads the header alone where the format has one.

    Raises:
      BadInput: as :func:`read`.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return guarded(_count_nifti, path)
    return guarded(_count_metaimage, path) if name.endswith(METAIMAGE) else 1


def guarded(function: Callable, path: Path):
    """``function(path)``, with whatever a file library raises turned into one sentence."""
    try:
        return function(path)
    except BadInput:
        raise
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{path.name}: {error.name} is needed to read it; pip install 'jssm[files]'"
        ) from error
    except Exception as error:  # each library has its own set of errors for a broken file
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read as an image ({cause})") from error


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
    order.insert((_dropped(shape) or [2])[0], 2)
    affine = nifti_affine(cine)[:, [*order, 3]]
    file.set_qform(affine, code)
    file.set_sform(affine, code)
    row_mm, column_mm = cine.spacing_mm if math.isfinite(sum(cine.spacing_mm)) else (1.0, 1.0)
    sizes = np.array([column_mm, row_mm, np.linalg.norm(affine[:3, order.index(2)])])
    step = frame_time_s(cine)
    zooms = [*sizes[order], step if math.isfinite(step) else 0.0]
    file.header.set_zooms(zooms[: len(shape)])
    file.header.set_xyzt_units("mm", "sec")
    nib.save(file, path)


def _storable(frames: np.ndarray) -> np.ndarray:
    """The same values in the smallest of the types that every program reads in NIfTI files."""
    if frames.dtype in (bool, np.uint8):
        return frames.astype(np.uint8)
    if not np.issubdtype(frames.dtype, np.integer):
        return frames.astype(np.float32)
    low, high = int(frames.min()), int(frames.max())
    return frames.astype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)


def frame_time_s(cine: Cine) -> float:
    """The median time from frame to frame, s; NaN where unknown or for one frame."""
    return float(np.median(np.diff(cine.time_s))) if len(cine.time_s) > 1 else math.nan


def grey(picture: np.ndarray, name: str) -> np.ndarray:
    """One channel (H, W) of a picture (H, W) or (H, W, C) of grey values.

    Raises:
      BadInput: when it is coloured.
    """
    if picture.ndim == 2:
        return picture
    colours = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1]
    if (colours != colours[..., :1]).any():
        raise BadInput(f"{name}: a colour picture; grey values were expected")
    return colours[..., 0]


def _read_picture(path: Path) -> Cine:
    import imageio.v3 as iio

    return Cine(stem(path), grey(np.asarray(iio.imread(path)), path.name)[None])


def _read_nifti(path: Path) -> Cine:
    import nibabel as nib

    file = nib.Nifti1Image.from_filename(path)
    shape, header = file.shape, file.header
    x, y, frames = frame_shape(shape, path)
    check_size(math.prod(shape) * max(8, header.get_data_dtype().itemsize), path.name)
    data = np.asanyarray(file.dataobj).reshape(x, y, frames)
    if data.dtype.names or np.iscomplexobj(data):
        raise BadInput(f"{path.name}: values of the type {data.dtype}; grey values were expected")
    length, time = header.get_xyzt_units()
    mm = LENGTH_UNITS.get(length, 1.0)
    zooms = [float(z) for z in header.get_zooms()]
    kept = [axis for axis in range(min(3, len(shape))) if axis not in _dropped(shape)]
    spacing = known((zooms[kept[1]] * mm, zooms[kept[0]] * mm))
    seconds = zooms[3] * TIME_UNITS.get(time, 1.0) if len(zooms) > 3 else math.nan
    to_patient, across = None, None
    if header["sform_code"] > 0 or header["qform_code"] > 0:
        ras = np.asarray(file.affine, np.float64)
        if not np.isfinite(ras).all():
            raise BadInput(f"{path.name}: its affine holds numbers that are not finite")
        others = [axis for axis in range(3) if axis not in kept]
        to_patient = LPS_FROM_RAS @ ras[:3][:, [*kept[:2], 3]] * mm
        across = LPS_FROM_RAS @ ras[:3, others[0] if len(kept) == 2 else 2] * mm
    return Cine(
        stem(path),
        np.ascontiguousarray(data.transpose(2, 1, 0)),
        spacing,
        np.arange(frames) * (seconds if seconds > 0 else math.nan),
        to_patient,
        tuple(shape),
        across,
    )


def _count_nifti(path: Path) -> int:
    import nibabel as nib

    return frame_shape(nib.Nifti1Image.from_filename(path).shape, path)[2]


def frame_shape(shape: Sequence[int], path: Path) -> tuple[int, int, int]:
    """(x, y, frames) of an array shaped (x, y), (x, y, frames) or (x, y, 1, frames).

    The one slice may also be another of the first three axes, as after a change of orientation.

    Raises:
      BadInput: for another shape.
    """
    dropped = _dropped(shape)
    sizes = [size for axis, size in enumerate(shape) if axis not in dropped]
    sizes += [1] * (3 - len(sizes))
    if len(shape) < 2 or len(sizes) != 3 or min(sizes) < 1:
        raise BadInput(
            f"{path.name}: the array has the shape {tuple(shape)}; "
            "one slice, (x, y), (x, y, frames) or (x, y, 1, frames), was expected"
        )
    return sizes[0], sizes[1], sizes[2]


def _dropped(shape: Sequence[int]) -> list[int]:
    """The axis of the one slice: of length 1, the last such among the first three."""
    return [axis for axis in (2, 1, 0) if axis < len(shape) > 2 and shape[axis] == 1][:1]


def _read_metaimage(path: Path) -> Cine:
    import SimpleITK as sitk

    header = _metaimage_header(path)
    x, y, frames = frame_shape(header.GetSize(), path)
    check_size(math.prod(header.GetSize()) * 8, path.name)
    if header.GetNumberOfComponents() != 1:
        raise BadInput(f"{path.name}: {header.GetNumberOfComponents()} channels; 1 was expected")
    dimension, spacing = header.GetDimension(), header.GetSpacing()
    kept = [axis for axis in range(min(3, dimension)) if axis not in _dropped(header.GetSize())]
    to_patient = None
    direction = np.reshape(header.GetDirection(), (dimension, dimension))
    origin = np.array(header.GetOrigin())
    # A MetaImage file always has an origin and directions; those of a file that does not know
    # its place are 0 and the unit axes. Its axes are LPS.
    if dimension >= 3 and (origin[:3].any() or not np.array_equal(direction, np.eye(dimension))):
        columns = direction[:3, kept[:2]] * np.array(spacing)[kept[:2]]
        to_patient = np.column_stack([columns, origin[:3]])
    data = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).reshape(frames, y, x)
    seconds = spacing[3] if dimension == 4 else math.nan
    pixel = known((spacing[kept[1]], spacing[kept[0]]))
    return Cine(stem(path), data, pixel, np.arange(frames) * seconds, to_patient)


def _count_metaimage(path: Path) -> int:
    return frame_shape(_metaimage_header(path).GetSize(), path)[2]


def _metaimage_header(path: Path):
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return header


def check_size(size: int, name: str) -> None:
    """Pass a size in bytes that a cine may have.

    Raises:
      BadInput: when the header claims more than ``MAX_BYTES``.
    """
    if size > MAX_BYTES:
        raise BadInput(f"{name}: the header claims {size / 2**30:.1f} GiB of pixels; damaged?")
