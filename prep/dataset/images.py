"""Images and masks for a data set: paired by name, checked, and fitted into a square."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from jssm import image_path
from jssm.files.images import SUFFIXES, stem
from prep.errors import BadInput

NEAR = 0.02  # labels 0 to 10, stored as 8-bit numbers with a scale, are off by so much
MOST_THIN = 3  # labels next to a wall that are nowhere 3 px thick: scar, fat, pericardium
LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, and the name of their case.

    patient, part (of a split): where the folders tell, else "". time_s: of a single picture, where
    something beside it tells.
    """

    stem: str
    image: Path
    mask: Path
    patient: str = ""
    part: str = ""
    time_s: float = math.nan


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
    lossy = [name for name, mask in by_mask.items() if mask.name.lower().endswith(LOSSY)]
    for name in lossy if images != masks else ():
        problems.append(
            f"{masks.name}/{by_mask.pop(name).name}: JPEG does not keep labels as they were drawn; "
            "a mask as PNG, NIfTI or MetaImage was expected"
        )
        by_image.pop(name, None)
    for name in sorted(by_mask.keys() - by_image.keys()):
        problems.append(f"{masks.name}/{by_mask[name].name}: no image with this stem was found")
    both = sorted(by_image.keys() & by_mask.keys())
    return [Pair(name, by_image[name], by_mask[name]) for name in both], problems


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Grey values as uint8: the 0.1 and 99.9 percentile of all frames become 0 and 255."""
    return image_path.to_uint8(frames, image_path.grey_window(frames))


def fit_image(image: np.ndarray, size: int, *, aspect: float = 1.0) -> np.ndarray:
    """A uint8 image (H, W) letterboxed into (size, size), by :func:`image_path.fit`.

    aspect: the height of its pixels over their width; those of the result are square.
    """
    return np.rint(image_path.fit(image, size, aspect=aspect)).astype(np.uint8)


def fit_mask(mask: np.ndarray, size: int, *, aspect: float = 1.0) -> np.ndarray:
    """A binary mask (H, W) letterboxed into (size, size): pixels more than half covered."""
    return (image_path.fit(mask, size, aspect=aspect) > 0.5).astype(np.uint8)


def of_label(labels: np.ndarray, label: int, name: str) -> np.ndarray:
    """The binary mask (H, W) of one label, which is one piece (8-connected).

    Labels that went through a program's floating-point numbers count where they lie within
    ``NEAR`` of a whole one.

    Raises:
      BadInput: when no pixel has it, it falls into pieces, or the labels are not those that were
        drawn: fractions, or many values in its fringe, as smoothing or JPEG leave them.
    """
    whole = np.rint(labels) if np.issubdtype(labels.dtype, np.floating) else labels
    off = np.abs(labels - whole) if whole is not labels else np.zeros(1)
    if off.max() > NEAR:
        value = labels.flat[off.argmax()]
        raise BadInput(f"{name}: a value is {value:.4g}, but labels are whole numbers")
    mask = whole == label
    if whole.any() and not mask.any():
        listed = ", ".join(f"{value:g}" for value in np.unique(whole[whole != 0])[:5])
        raise BadInput(f"{name}: no pixel has the label {label}; --label chooses among {listed}")
    if (count := _fringe_values(whole, mask)) > MOST_THIN:
        raise BadInput(
            f"{name}: {count} other values fringe the label {label}: the mask was smoothed or "
            "compressed with loss; one of whole labels was expected"
        )
    check_mask(mask, name)
    return mask


def _fringe_values(labels: np.ndarray, mask: np.ndarray) -> int:
    """How many other values touch the mask and are nowhere three pixels thick."""
    block = np.ones((3, 3))
    around = ndimage.binary_dilation(mask, block) & ~mask & (labels != 0)
    values = np.unique(labels[around])
    return sum(not ndimage.binary_erosion(labels == value, block).any() for value in values)


def check_mask(mask: np.ndarray, name: str) -> None:
    """Check that a binary mask (H, W) is one piece (8-connected).

    Raises:
      BadInput: when it is empty or falls into pieces.
    """
    if not mask.any():
        raise BadInput(f"{name}: the mask is empty")
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    if count > 1:
        areas = sorted(np.bincount(pieces.ravel())[1:].tolist(), reverse=True)
        listed = ", ".join(map(str, areas[:4])) + (", ..." if count > 4 else "")
        raise BadInput(f"{name}: the mask has {count} pieces ({listed} px); one was expected")
