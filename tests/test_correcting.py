"""A correction against SciPy's bounded least squares of the formula as it is written."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from jssm.shape.correcting import correct

THETA = np.array([[9.0, 1.5, 16.0], [-1.0, 8.0, 15.0]])


def points_of(shape, theta, beta):
    canonical = np.asarray(shape.mean) + np.tensordot(beta, np.asarray(shape.modes), axes=1)
    return canonical @ theta[:, :2].T + theta[:, 2]


def reference(shape, beta, target, weights, near):
    """The points (T, 2) of the least sum of squares, β within its bounds."""
    sigma = np.sqrt(np.asarray(shape.variances, float))
    start = points_of(shape, THETA, beta)

    def residuals(x):
        points = points_of(shape, x[:6].reshape(2, 3), x[6:])
        dragged = np.sqrt(weights)[:, None] * (points - target)
        stayed = np.sqrt(near)[:, None] * (points - start)
        return np.concatenate([dragged.ravel(), stayed.ravel(), (x[6:] - beta) / sigma])

    bounds = np.concatenate([np.full(6, np.inf), 3 * sigma * (1 + 1e-9)])
    options = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "bounds": (-bounds, bounds)}
    found = least_squares(residuals, np.concatenate([THETA.ravel(), beta]), **options).x
    return points_of(shape, found[:6].reshape(2, 3), found[6:])


@pytest.mark.parametrize("pull", [0.0, 2.0, 12.0], ids=lambda px: f"{px:g} px")
def test_a_correction_is_the_least_sum_of_squares(small_shape, pull):
    rng = np.random.default_rng(int(pull))
    beta = np.array([0.3, -0.15])
    start = points_of(small_shape, THETA, beta)
    target, weights = start.copy(), np.zeros(8)
    target[[1, 6]] += pull * rng.normal(size=(2, 2))
    weights[[1, 6]] = 1 / 0.2**2
    near = 1 / rng.uniform(1, 4, 8) ** 2
    theta, found = correct(small_shape, THETA, beta, target, weights, near)
    points = points_of(small_shape, np.asarray(theta), np.asarray(found))
    expected = reference(small_shape, beta, target, weights, near)
    np.testing.assert_allclose(points, expected, atol=1e-3)
    assert (np.abs(found) <= 3 * np.sqrt(small_shape.variances) * (1 + 1e-6)).all()
    if pull:
        off = np.linalg.norm(points - target, axis=1)[[1, 6]]
        assert (off < np.linalg.norm(start - target, axis=1)[[1, 6]] / 2).all()
    else:
        np.testing.assert_allclose(points, start, atol=1e-4)
