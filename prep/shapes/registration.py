"""Registration of masks with ANTs: affine refinement and the deformation that carries points.

Masks are compared as signed distance fields cut off a little beyond the boundary: a binary mask
knows its boundary to a pixel, its distance field to a small part of one, so that a coarse and
fast canonical grid is enough. ANTs is called with its command-line arguments, which spares the
resampled images and the tables that its Python functions write and read for every call.
"""

import os

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # cases are the parallel unit

import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares

# How far from the boundary the distance counts, as a part of the grid's width: far, to be caught
# from afar; then near, for a wall that is thinner in one of the two must look as full as the other.
AFFINE_BAND, DEFORM_BAND = 1 / 16, 1 / 64
SMOOTH_PX = 0.6  # enough to level a mask's stairs; more moves the boundaries of a thin wall
AFFINE = ("--transform", "Affine[0.5]", "--convergence", "[10x1,1e-6,8]")
DEFORM = ("--transform", "SyN[0.25,2,0]", "--convergence", "[15x4,1e-6,8]")
TOLERANCE, EVALUATIONS = 1e-4, 20  # of the least squares that finish the affine
LEVELS = ("--shrink-factors", "2x1", "--smoothing-sigmas", "1x0vox")


def apply(theta: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) mapped by ``theta`` (2, 3); in float64, which chains of maps need."""
    return points @ theta[:, :2].T + theta[:, 2]


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The map (2, 3) that applies ``inner`` first, in float64."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def invert(theta: np.ndarray) -> np.ndarray:
    """The inverse of a map (2, 3), in float64."""
    linear = np.linalg.inv(theta[:, :2])
    return np.column_stack([linear, -linear @ theta[:, 2]])


def signed_distance(mask: np.ndarray, margin: int) -> np.ndarray:
    """Distance (H + 2·margin, W + 2·margin) to a mask's boundary in px, positive inside.

    The margin is background, so that a wall cut by the image's edge ends there. Smoothed by
    ``SMOOTH_PX``.
    """
    inside = np.pad(np.asarray(mask, bool), margin)
    into, away = ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside)
    distance = np.where(inside, into - 0.5, 0.5 - away)
    return ndimage.gaussian_filter(distance, SMOOTH_PX).astype(np.float32)


def resample(field: np.ndarray, theta: np.ndarray, grid: int) -> np.ndarray:
    """A distance field (h, w) seen through ``theta`` (2, 3), grid to field: (grid, grid) float32.

    Distances are rescaled to grid pixels.
    """
    rows, columns = np.mgrid[:grid, :grid]
    xy = np.stack([columns.ravel(), rows.ravel()], axis=1) @ theta[:, :2].T + theta[:, 2]
    values = ndimage.map_coordinates(field, [xy[:, 1], xy[:, 0]], order=1, mode="nearest")
    scale = np.sqrt(abs(np.linalg.det(theta[:, :2])))
    return (values.reshape(grid, grid) / scale).astype(np.float32)


def register_affine(fixed: np.ndarray, moving: np.ndarray, seed: int) -> np.ndarray:
    """The map (2, 3) from ``fixed`` to ``moving``, distance fields (G, G), that lines them up.

    ANTs' gradient descent finds the way in few steps but creeps along the last of it (a shear
    and a turn of a horseshoe look much alike), so least squares finish it.

    Raises:
      RuntimeError: when ANTs fails.
    """
    import ants

    with tempfile.TemporaryDirectory() as folder:
        _register(fixed, moving, AFFINE_BAND, f"{folder}/o", seed, AFFINE)
        result = ants.read_transform(f"{folder}/o0GenericAffine.mat")
    values, centre = np.asarray(result.parameters), np.asarray(result.fixed_parameters)
    linear = values[:4].reshape(2, 2)
    found = np.column_stack([linear, values[4:] + centre - linear @ centre])
    return _finish_affine(fixed, moving, found)


def deform_points(
    fixed: np.ndarray, moving: np.ndarray, points: np.ndarray, seed: int
) -> np.ndarray:
    """Points (T, 2) of ``fixed`` carried to ``moving`` by SyN; both distance fields (G, G).

    ANTs resamples ``moving`` at x + d(x) for x in ``fixed``, so the forward field d is the one
    that carries points from fixed to moving.

    Raises:
      RuntimeError: when ANTs fails.
    """
    import ants

    with tempfile.TemporaryDirectory() as folder:
        _register(fixed, moving, DEFORM_BAND, f"{folder}/o", seed, DEFORM)
        names = sorted(p.name for p in Path(folder).glob("o*Warp.nii.gz") if "Inv" not in p.name)
        field = ants.image_read(f"{folder}/{names[0]}").numpy()  # (x, y, 2)
    at = [points[:, 0], points[:, 1]]
    moved = [ndimage.map_coordinates(field[..., k], at, order=1, mode="nearest") for k in (0, 1)]
    return points + np.stack(moved, axis=1)


def _finish_affine(fixed: np.ndarray, moving: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """``theta`` (2, 3) after Levenberg-Marquardt steps on the mean squared difference.

    The distances are cut off as for ANTs.
    """
    cut = AFFINE_BAND * len(fixed)
    rows, columns = (axis.ravel() for axis in np.indices(fixed.shape))
    wanted = np.clip(fixed, -cut, cut).ravel().astype(np.float64)
    # Coordinates about the middle, in half grids, make the six unknowns alike in size.
    middle, half = (len(fixed) - 1) / 2, len(fixed) / 2
    place = np.stack([columns - middle, rows - middle, np.full(len(rows), half)], axis=1) / half
    frame = np.array([[half, 0, middle], [0, half, middle]])
    bounded = np.clip(moving, -cut, cut)
    slopes = np.gradient(bounded)[::-1]

    def seen(field: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        x, y = numbers.reshape(2, 3) @ place.T
        return ndimage.map_coordinates(field, [y, x], order=1, mode="nearest")

    found = least_squares(
        lambda numbers: seen(bounded, numbers) - wanted,
        compose(theta, frame).ravel(),
        jac=lambda numbers: np.hstack([seen(s, numbers)[:, None] * place for s in slopes]),
        method="lm",
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        max_nfev=EVALUATIONS,
    )
    return compose(found.x.reshape(2, 3), invert(frame))


def _register(
    fixed: np.ndarray,
    moving: np.ndarray,
    band: float,
    prefix: str,
    seed: int,
    stage: tuple[str, ...],
) -> None:
    """Let ANTs write what it finds to files that begin with ``prefix``."""
    import ants

    cut, names = band * len(fixed), []
    for name, field in (("fixed", fixed), ("moving", moving)):
        # ANTs arrays are (x, y); the clipped fields run from -1 outside to 1 inside.
        array = np.ascontiguousarray(np.clip(field.T / cut, -1, 1), np.float32)
        names.append(f"{prefix}_{name}.nii")
        ants.image_write(ants.from_numpy(array), names[-1])
    arguments = ["--dimensionality", "2", "--output", prefix, "--float", "1"]
    arguments += ["--random-seed", str(seed + 1), *stage, *LEVELS]
    ants.registration([*arguments, "--metric", f"MeanSquares[{','.join(names)},1,0]"], None)
