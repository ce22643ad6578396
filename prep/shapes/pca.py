"""Principal components of point clouds (Section 3.2)."""

import numpy as np


def principal_modes(shapes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (T, 2), modes (K, T, 2) and variances (K,) of shapes (N, T, 2), in float64 (Eq. 2).

    K = min(count, N − 1, 2T). The modes are orthonormal as rows (K, 2T), sorted by variance, and
    signed so that the component of largest size is positive. Variances are the eigenvalues of
    the covariance with 1/(N − 1).

    Raises:
      ValueError: with fewer than two shapes.
    """
    num, num_points = len(shapes), shapes.shape[1]
    if num < 2:
        raise ValueError(f"principal_modes: at least 2 shapes were expected, got {num}")
    flat = np.asarray(shapes, np.float64).reshape(num, -1)
    mean = flat.mean(axis=0)
    _, singular, rows = np.linalg.svd(flat - mean, full_matrices=False)
    count = min(count, num - 1, flat.shape[1])
    rows, variances = rows[:count], singular[:count] ** 2 / (num - 1)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    modes = rows * np.where(largest < 0, -1.0, 1.0)
    return mean.reshape(-1, 2), modes.reshape(count, num_points, 2), variances
