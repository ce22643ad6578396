"""Generalized Procrustes analysis: of the landmarks, then of whole masks (Algorithm 1, line 2)."""

import numpy as np

from prep.shapes.registration import apply, compose, invert, resample

RADIUS = 0.27  # the RMS radius of the mean mask, as a part of the canonical grid's width
SPREAD = 0.35  # the RMS radius of the mean landmarks, likewise


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3), without reflection, that takes points (n, 2) nearest to others.

    Least squares in closed form: as complex numbers, target = a·source + b.

    Raises:
      ValueError: when all source points coincide.
    """
    z, w = source @ [1, 1j], target @ [1, 1j]
    z0, w0 = z.mean(), w.mean()
    power = float(np.sum(np.abs(z - z0) ** 2))
    if power == 0:
        raise ValueError("fit_similarity: all source points coincide")
    a = np.sum(np.conj(z - z0) * (w - w0)) / power
    b = w0 - a * z0
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def mean_landmarks(landmarks: np.ndarray, grid: int, iterations: int = 5) -> np.ndarray:
    """The Procrustes mean (3, 2) of landmarks (N, 3, 2), on a grid (grid, grid).

    It stands upright (the apex above the middle of the base), its centroid is the grid's centre
    and its RMS radius ``SPREAD * grid``, so nothing can drift from iteration to iteration.
    """
    mean = landmarks[0].astype(np.float64)
    for _ in range(iterations):
        aligned = [apply(fit_similarity(shape, mean), shape) for shape in landmarks]
        mean = _normalized(np.mean(aligned, axis=0), grid)
    return mean


def fit_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The affine map (2, 3) that takes points (n, 2) nearest to others, by least squares."""
    homogeneous = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    return np.linalg.lstsq(homogeneous, target, rcond=None)[0].T


def mean_points(shapes: np.ndarray, grid: int, iterations: int = 5) -> np.ndarray:
    """The Procrustes mean (T, 2) of point clouds (N, T, 2), on a grid (grid, grid).

    Its centroid is the grid's centre, its RMS radius ``RADIUS * grid``; its direction is that of
    the first shape.
    """
    mean = shapes[0].astype(np.float64)
    for _ in range(iterations):
        aligned = [apply(fit_similarity(shape, mean), shape) for shape in shapes]
        mean = np.mean(aligned, axis=0)
        centred = mean - mean.mean(axis=0)
        radius = np.sqrt((centred**2).sum(axis=1).mean())
        mean = centred * (RADIUS * grid / radius) + (grid - 1) / 2
    return mean


def mean_field(fields: list[np.ndarray], thetas: np.ndarray, grid: int) -> np.ndarray:
    """The mean (grid, grid) of signed distance fields, each seen through its map (2, 3)."""
    total = np.zeros((grid, grid))
    for field, theta in zip(fields, thetas, strict=True):
        total += resample(field, theta, grid)
    return (total / len(fields)).astype(np.float32)


def without_drift(thetas: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The maps (N, 2, 3), grid to image, with the drift common to all of them taken out.

    ``starts`` (N, 2, 3) are the maps of the landmarks alone. The mean affine between the two
    becomes the identity, so that refining cannot shear or stretch the mean shape as a whole.
    """
    relative = [compose(invert(s), t) for s, t in zip(starts, thetas, strict=True)]
    drift = invert(np.mean(relative, axis=0))
    return np.stack([compose(t, drift) for t in thetas])


def centring(mean: np.ndarray) -> np.ndarray:
    """The map (2, 3), new grid to old, that centres a mean field and scales it to ``RADIUS``."""
    grid = len(mean)
    y, x = np.nonzero(mean > 0)
    centre = np.array([x.mean(), y.mean()])
    radius = np.sqrt(((x - centre[0]) ** 2 + (y - centre[1]) ** 2).mean())
    scale = radius / (RADIUS * grid)
    middle = (grid - 1) / 2
    return np.array(
        [[scale, 0, centre[0] - scale * middle], [0, scale, centre[1] - scale * middle]]
    )


def _normalized(shape: np.ndarray, grid: int) -> np.ndarray:
    z = shape @ [1, 1j]
    z = z - z.mean()
    axis = z[0] - (z[1] + z[2]) / 2
    z = z * (-1j * abs(axis) / axis)  # the direction base -> apex becomes -y, up
    z = z * (SPREAD * grid / np.sqrt(np.mean(np.abs(z) ** 2)))
    return np.stack([z.real, z.imag], axis=1) + (grid - 1) / 2
