import numpy as np
import pytest

from prep.shapes.pca import principal_modes


def test_modes_are_the_eigenvectors_of_the_covariance():
    shapes = np.random.default_rng(0).normal(size=(40, 6, 2)) * np.arange(1, 13).reshape(6, 2)
    mean, modes, variances = principal_modes(shapes, 8)
    flat = shapes.reshape(40, -1)
    covariance = np.zeros((12, 12))
    for row in flat - flat.mean(axis=0):
        covariance += np.outer(row, row) / 39
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(mean, shapes.mean(axis=0))
    np.testing.assert_allclose(variances, values[::-1][:8], rtol=1e-10)
    for k, mode in enumerate(modes.reshape(8, -1)):
        assert abs(mode @ vectors[:, -1 - k]) == pytest.approx(1, abs=1e-9)
        assert mode[np.abs(mode).argmax()] > 0


def test_modes_are_orthonormal_and_rebuild_the_shapes():
    shapes = np.random.default_rng(1).normal(size=(5, 7, 2))
    mean, modes, variances = principal_modes(shapes, 30)
    assert modes.shape == (4, 7, 2)  # N − 1
    rows = modes.reshape(4, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-12)
    weights = (shapes - mean).reshape(5, -1) @ rows.T
    np.testing.assert_allclose(mean + np.tensordot(weights, modes, 1), shapes, atol=1e-12)
    np.testing.assert_allclose(weights.var(axis=0, ddof=1), variances)


def test_one_shape_is_not_enough():
    with pytest.raises(ValueError, match="at least 2 shapes"):
        principal_modes(np.zeros((1, 4, 2)), 3)
