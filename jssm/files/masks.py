"""A mask drawn in another program, brought onto the pixels of its image."""

import numpy as np

from jssm.files.cine import Cine
from jssm.files.errors import BadInput

TOLERANCE_PX = 0.1  # how far a corner of the mask may lie from the image's pixels


def on_grid_of(mask: Cine, image: Cine, name: str) -> np.ndarray:
    """The mask's frames (F, H, W) on the image's pixels, by what both files say of their place.

    Programs may store the same grid with flipped or exchanged axes; those are turned back. Where
    one of the files does not know its place, rows and columns must agree as they are.

    Raises:
      BadInput: when the mask is of another size, grid, place or number of frames.
    """
    frames = mask.frames
    if mask.to_patient_mm is not None and image.to_patient_mm is not None:
        theta, away_mm = pixel_map(mask.to_patient_mm, image.to_patient_mm, frames.shape[1:])
        frames = _turned(frames, theta, name)
        pixel_mm = np.linalg.norm(image.to_patient_mm[:, :2], axis=0).max()
        same_size = frames.shape[1:] == image.frames.shape[1:]
        corner = _first_corner(theta, mask.frames.shape[1:])
        if same_size and (np.abs(corner).max() > TOLERANCE_PX or away_mm > pixel_mm):
            raise BadInput(
                f"{name}: its affine places it {corner[0]:.1f} px right of and {corner[1]:.1f} px "
                f"below its image, {away_mm:.1f} mm off the plane; the same place was expected"
            )
    if frames.shape[1:] != image.frames.shape[1:]:
        sizes = [f"{w}×{h}" for h, w in (frames.shape[1:], image.frames.shape[1:])]
        raise BadInput(f"{name}: the mask is {sizes[0]} px, but its image {sizes[1]} px")
    if len(frames) != len(image.frames):
        counts = len(frames), len(image.frames)
        raise BadInput(f"{name}: {counts[0]} frames, but its image has {counts[1]}")
    return frames


def pixel_map(
    of_mask: np.ndarray, of_image: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """The (2, 3) map from a mask's pixels to its image's, and how far it leaves the plane, mm.

    ``of_mask`` and ``of_image`` (3, 3) take pixels to the patient; ``shape`` is the mask's (H, W).
    """
    offset = of_mask - np.column_stack([np.zeros((3, 2)), of_image[:, 2]])
    theta = np.linalg.lstsq(of_image[:, :2], offset, rcond=None)[0]
    height, width = shape
    corners = np.array([[x, y, 1] for x in (0, width - 1) for y in (0, height - 1)])
    away = corners @ (offset - of_image[:, :2] @ theta).T
    return theta, float(np.linalg.norm(away, axis=1).max())


def _turned(frames: np.ndarray, theta: np.ndarray, name: str) -> np.ndarray:
    """The frames with their axes exchanged and flipped as ``theta`` says, if it says no more."""
    linear = np.rint(theta[:, :2])
    far = np.array(frames.shape[:0:-1]) - 1
    is_turn = sorted(np.abs(linear).ravel()) == [0, 0, 1, 1] and abs(np.linalg.det(linear)) == 1
    if not is_turn or np.abs((theta[:, :2] - linear) @ far).max() > TOLERANCE_PX:
        raise BadInput(f"{name}: its affine gives it another grid than its image's; resample it")
    sign_x, sign_y = linear.sum(axis=1).astype(int)
    straight = frames if linear[0, 0] else frames.swapaxes(1, 2)
    return straight[:, ::sign_y, ::sign_x]


def _first_corner(theta: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where in the image the turned mask begins: (x, y); (0, 0) where both are one grid."""
    far = np.array(shape[::-1]) - 1
    backwards = np.rint(theta[:, :2]).sum(axis=0) < 0
    return theta @ [*np.where(backwards, far, 0), 1]
