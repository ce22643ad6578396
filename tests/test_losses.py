import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.methods import losses
from tests import reference

rng = np.random.default_rng(0)


def test_point_rmse_is_equation_6():
    a, b = rng.normal(size=(2, 9, 2))
    assert float(losses.point_rmse(a, b)) == pytest.approx(reference.point_rmse(a, b), rel=1e-6)


def test_point_loss_is_in_half_image_widths():
    a = jnp.zeros((5, 2))
    assert float(losses.point_loss(a, a + jnp.array([3.0, 4.0]), (50, 100))) == pytest.approx(0.1)


def test_point_rmse_gradient():
    a, b = rng.normal(size=(2, 9, 2))
    expected = reference.central_difference(lambda x: reference.point_rmse(x, b), a)
    np.testing.assert_allclose(jax.grad(losses.point_rmse)(jnp.asarray(a), b), expected, atol=1e-5)


def test_point_rmse_of_equal_clouds_has_a_finite_gradient():
    a = jnp.asarray(rng.normal(size=(9, 2)))
    np.testing.assert_array_equal(jax.grad(losses.point_rmse)(a, a), 0)


def test_dice_loss_against_the_definition_and_its_gradient():
    a = rng.uniform(size=(6, 5))
    b = rng.integers(0, 2, size=(6, 5)).astype(float)
    assert float(losses.dice_loss(a, b)) == pytest.approx(1 - reference.dice(a, b), rel=1e-5)
    expected = reference.central_difference(lambda x: 1 - reference.dice(x, b), a)
    np.testing.assert_allclose(jax.grad(losses.dice_loss)(jnp.asarray(a), b), expected, atol=1e-5)


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 0, 0), (0, 1, 1), (1, 1, 0)])
def test_dice_loss_of_constant_masks(a, b, expected):
    full = jnp.ones((4, 4))
    assert float(losses.dice_loss(a * full, b * full)) == pytest.approx(expected)
    assert np.isfinite(jax.grad(losses.dice_loss)(a * full, b * full)).all()
