"""What the readers of all kinds of files share: sizes, shapes and values of arrays."""

import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jssm.files.cine import Cine
from jssm.files.errors import BadInput

MAX_BYTES = 2**30  # of one cine in memory; a header that claims more is taken for damaged


def stem(path: Path) -> str:
    """The file's name without the suffix (``.nii.gz`` is one suffix)."""
    return re.sub(r"(\.nii)?\.[^.]+$", "", path.name)


def check_size(size: int, name: str) -> None:
    """Refuse a size in bytes that no cine has.

    Raises:
      BadInput: when the header claims more than ``MAX_BYTES``.
    """
    if size > MAX_BYTES:
        raise BadInput(f"{name}: the header claims {size / 2**30:.1f} GiB of pixels; damaged?")


def frame_shape(shape: Sequence[int], path: Path) -> tuple[int, int, int]:
    """(x, y, frames) of an array shaped (x, y), (x, y, frames) or (x, y, 1, frames).

    The one slice may also be another of the first three axes, as after a change of orientation, and
    axes of length 1 may follow.

    Raises:
      BadInput: for another shape.
    """
    slices = dropped(shape)
    sizes = [size for axis, size in enumerate(shape) if axis not in slices]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    sizes += [1] * (3 - len(sizes))
    if len(shape) < 2 or len(sizes) != 3 or min(sizes) < 1:
        raise BadInput(
            f"{path.name}: the array has the shape {tuple(shape)}; "
            "one slice, (x, y), (x, y, frames) or (x, y, 1, frames), was expected"
        )
    return sizes[0], sizes[1], sizes[2]


def dropped(shape: Sequence[int]) -> list[int]:
    """The axis of the one slice: of length 1, the last such among the first three."""
    return [axis for axis in (2, 1, 0) if axis < len(shape) > 2 and shape[axis] == 1][:1]


def without_gaps(frames: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """The frames with their lowest value in place of what is no finite number, and a note if any.

    Programs write NaN where a resampled image does not reach; that is background.

    Raises:
      BadInput: when no number is finite.
    """
    if not np.issubdtype(frames.dtype, np.floating):
        return frames, []
    is_gap = ~np.isfinite(frames)
    count = int(is_gap.sum())
    if not count:
        return frames, []
    if count == frames.size:
        raise BadInput(f"{name}: no pixel is a finite number")
    filled = np.where(is_gap, frames[~is_gap].min(), frames)
    share = 100 * count / frames.size
    return filled, [f"{share:.2g} % of its pixels are no finite numbers and count as background"]


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


def frame_time_s(cine: Cine) -> float:
    """The median time from frame to frame, s; NaN where unknown or for one frame."""
    return float(np.median(np.diff(cine.time_s))) if len(cine.time_s) > 1 else math.nan


@contextmanager
def silenced(logger_name: str) -> Iterator[None]:
    """Keep a library's logger from telling of what is checked here."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
