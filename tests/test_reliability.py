"""What predictions say of themselves, against drawn points and by hand."""

import numpy as np
import pytest

from jssm.evaluation import reliability

rng = np.random.default_rng(0)


def test_the_ellipses_are_those_of_a_normal_distribution():
    drawn = (rng.normal(size=(100_000, 2)) ** 2).sum(1)
    np.testing.assert_allclose(reliability.held(drawn), reliability.SHARES, atol=0.005)


def test_points_are_as_far_as_their_own_covariance_says():
    factor = rng.normal(size=(3, 4, 2, 2))
    covariance = factor @ factor.swapaxes(-1, -2)
    offset = rng.normal(size=(3, 4, 2))
    expected = [d @ np.linalg.inv(s) @ d for d, s in zip(
        offset.reshape(-1, 2), covariance.reshape(-1, 2, 2), strict=True)]  # fmt: skip
    found = reliability.squared_distances(offset, covariance)
    np.testing.assert_allclose(found.ravel(), expected)


def test_the_least_confident_go_first():
    share, dice = reliability.kept_dice(np.array([0.2, 0.9, 0.5]), np.array([0.3, 0.9, 0.6]))
    np.testing.assert_allclose(share, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(dice, [0.9, 0.75, 0.6])


def test_what_is_not_known_is_none():
    squares = np.array([[0.5, np.nan], [9.0, 1.0]])
    found = reliability.summary(squares, np.array([0.8, np.nan]), np.array([0.9, 0.7]))
    assert found["confidence_mean_absolute_error"] == pytest.approx(0.1)
    assert found["ellipses_hold"]["50%"] == pytest.approx(2 / 3)
    nothing = reliability.summary(np.nan * squares, np.full(2, np.nan), np.array([0.9, 0.7]))
    assert nothing == {"ellipses_hold": None, "confidence_mean_absolute_error": None}
