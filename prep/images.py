"""Readers: PNG, NIfTI and MetaImage files as stacks of frames, and their fit into a square."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from jssm import affine
from prep.errors import BadInput

SUFFIXES = (".png", ".nii", ".nii.gz", ".mha", ".mhd")
TIME_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LENGTH_UNITS = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


@dataclass(frozen=True)
class Cine:
    """The frames of one file.

    frames: (F, H, W), of the file's own number type.
    spacing_mm: (row, column), NaN where the file does not say.
    frame_time_s: seconds from frame to frame, NaN where the file does not say.
    """

    frames: np.ndarray
    spacing_mm: tuple[float, float] = (np.nan, np.nan)
    frame_time_s: float = np.nan


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, which share the stem."""

    stem: str
    image: Path
    mask: Path


def stem(path: Path) -> str:
    """The file's name without the suffix (``.nii.gz`` is one suffix)."""
    return re.sub(r"(\.nii)?\.[^.]+$", "", path.name)


def frame_name(name: str, frame: int, frames: int) -> str:
    """The name of a frame's case: the stem, for a cine with the frame's number, ``a_frame07``."""
    digits = max(2, len(str(frames - 1)))
    return name if frames == 1 else f"{name}_frame{frame:0{digits}d}"


def by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder that can be read, by stem; and a sentence for each stem taken twice."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith("."):
            if stem(path) in files:
                problems.append(
                    f"{folder.name}/{path.name}: its stem is taken by "
                    f"{files[stem(path)].name}; one file per stem was expected"
                )
            else:
                files[stem(path)] = path
    return files, problems


def find_pairs(images: Path, masks: Path) -> tuple[list[Pair], list[str]]:
    """Image and mask files that share a stem, by name; and a sentence for each left without."""
    (by_image, problems), (by_mask, others) = by_stem(images), by_stem(masks)
    problems = problems + others
    for name in sorted(by_image.keys() - by_mask.keys()):
        problems.append(f"{images.name}/{by_image[name].name}: no mask with this stem was found")
    for name in sorted(by_mask.keys() - by_image.keys()):
        problems.append(f"{masks.name}/{by_mask[name].name}: no image with this stem was found")
    both = sorted(by_image.keys() & by_mask.keys())
    return [Pair(name, by_image[name], by_mask[name]) for name in both], problems


def read(path: Path) -> Cine:
    """The frames, spacing and frame time of a PNG, NIfTI or MetaImage file.

    Raises:
      BadInput: when the file cannot be read or is not an image or a cine of one slice.
    """
    return _guarded(_reader(path), path)


def count_frames(path: Path) -> int:
    """How many frames the file holds; reads the header alone where the format has one.

    Raises:
      BadInput: as :func:`read`.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _guarded(_count_nifti, path)
    if name.endswith((".mha", ".mhd")):
        return _guarded(_count_metaimage, path)
    return 1


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Grey values as uint8: the 0.1 and 99.9 percentile of all frames become 0 and 255."""
    low, high = np.percentile(frames, (0.1, 99.9))
    scaled = (frames.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """A uint8 image (H, W) letterboxed into (size, size), smoothed first where it shrinks."""
    if image.shape == (size, size):
        return image
    return np.clip(np.rint(_fit(image, size)), 0, 255).astype(np.uint8)


def fit_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """A binary mask (H, W) letterboxed into (size, size): pixels more than half covered."""
    if mask.shape == (size, size):
        return mask.astype(np.uint8)
    return (_fit(mask, size) > 0.5).astype(np.uint8)


def check_mask(mask: np.ndarray, label: int, name: str) -> None:
    """Pass a binary mask (H, W) that is one piece (8-connected).

    Raises:
      BadInput: when it is empty or falls into pieces.
    """
    if not mask.any():
        raise BadInput(f"{name}: the mask is empty (no pixel has the label {label})")
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    if count > 1:
        areas = sorted(np.bincount(pieces.ravel())[1:].tolist(), reverse=True)
        listed = ", ".join(map(str, areas[:4])) + (", ..." if count > 4 else "")
        raise BadInput(f"{name}: the mask has {count} pieces ({listed} px); one was expected")


def _fit(image: np.ndarray, size: int) -> np.ndarray:
    theta = affine.letterbox(image.shape, (size, size)).astype(np.float64)
    scale = theta[0, 0]
    # The usual Gaussian that keeps finer detail than the new pixels from aliasing.
    smooth = ndimage.gaussian_filter(image.astype(np.float32), max(0.0, (1 / scale - 1) / 2))
    y = (np.arange(size) - theta[1, 2]) / scale
    x = (np.arange(size) - theta[0, 2]) / scale
    inside = (np.abs(y - (image.shape[0] - 1) / 2) <= image.shape[0] / 2)[:, None] & (
        np.abs(x - (image.shape[1] - 1) / 2) <= image.shape[1] / 2
    )
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(smooth, grid, order=1, mode="nearest") * inside


def _reader(path: Path) -> Callable[[Path], Cine]:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _read_nifti
    return _read_metaimage if name.endswith((".mha", ".mhd")) else _read_png


def _guarded(function: Callable, path: Path):
    """``function(path)``, with whatever a file library raises turned into one sentence."""
    try:
        return function(path)
    except BadInput:
        raise
    except Exception as error:  # each library has its own set of errors for a broken file
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read as an image ({cause})") from error


def _read_png(path: Path) -> Cine:
    import imageio.v3 as iio

    image = np.asarray(iio.imread(path))
    if image.ndim == 3:
        colours = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
        if (colours != colours[..., :1]).any():
            raise BadInput(f"{path.name}: a colour picture; grey values were expected")
        image = colours[..., 0]
    return Cine(image[None])


def _read_nifti(path: Path) -> Cine:
    import nibabel as nib

    file = nib.Nifti1Image.from_filename(path)
    shape = _frame_shape(file.shape, path)
    data = np.asanyarray(file.dataobj).reshape(shape)
    zooms = [float(z) for z in file.header.get_zooms()]
    length, time = file.header.get_xyzt_units()
    mm = LENGTH_UNITS.get(length, 1.0)
    spacing = (zooms[1] * mm, zooms[0] * mm)
    seconds = zooms[3] * TIME_UNITS.get(time, 1.0) if len(zooms) > 3 else np.nan
    return Cine(np.ascontiguousarray(data.transpose(2, 1, 0)), _known(spacing), seconds or np.nan)


def _count_nifti(path: Path) -> int:
    import nibabel as nib

    return _frame_shape(nib.Nifti1Image.from_filename(path).shape, path)[2]


def _frame_shape(shape: Iterable[int], path: Path) -> tuple[int, int, int]:
    """(x, y, frames) of an array shaped (x, y), (x, y, frames) or (x, y, 1, frames)."""
    sizes = list(shape)
    if len(sizes) == 2:
        sizes.append(1)
    if len(sizes) == 4 and sizes[2] == 1:
        sizes.pop(2)
    if len(sizes) != 3:
        raise BadInput(
            f"{path.name}: the array has the shape {tuple(shape)}; "
            "one slice, (x, y), (x, y, frames) or (x, y, 1, frames), was expected"
        )
    return sizes[0], sizes[1], sizes[2]


def _read_metaimage(path: Path) -> Cine:
    import SimpleITK as sitk

    file = sitk.ReadImage(str(path))
    x, y, frames = _frame_shape(file.GetSize(), path)
    spacing = file.GetSpacing()
    seconds = spacing[3] if len(spacing) == 4 else np.nan
    data = sitk.GetArrayFromImage(file).reshape(frames, y, x)
    return Cine(data, _known((spacing[1], spacing[0])), seconds)


def _count_metaimage(path: Path) -> int:
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return _frame_shape(header.GetSize(), path)[2]


def _known(spacing: tuple[float, float]) -> tuple[float, float]:
    good = all(np.isfinite(s) and s > 0 for s in spacing)
    return spacing if good else (np.nan, np.nan)
