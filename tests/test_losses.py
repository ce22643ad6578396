from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.methods import losses, regression
from jssm.methods.model import Model
from jssm.shape import labels
from jssm.shape.pose import Pose
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


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 0, 0), (0, 1, 1), (1, 1, 0), (0.5, 0.5, 0.5)])
def test_dice_loss_of_constant_masks(a, b, expected):
    full = jnp.ones((4, 4))
    assert float(losses.dice_loss(a * full, b * full)) == pytest.approx(expected)
    assert np.isfinite(jax.grad(losses.dice_loss)(a * full, b * full)).all()


def test_every_stage_has_a_point_loss_and_the_last_one_the_masks(small_shape):
    """Eq. 10 of a cascade of two that gives known poses, whatever it sees."""
    thetas = [jnp.array([[[scale, 0, 16.0], [0, scale, 15.0]]]) for scale in (6.0, 8.0)]
    poses = [Pose(theta, jnp.zeros((1, 2))) for theta in thetas]
    cascade = SimpleNamespace(axis_name=None, apply=lambda *_, **__: (poses, {"batch_stats": {}}))
    true = np.asarray(7.0 * small_shape.mean + jnp.array([16.0, 15.0]))
    batch = {
        "image": jnp.zeros((1, 32, 32)),
        "mask": reference.soft_mask(true, (32, 32), 0.5)[None] > 0.5,
        "points": true[None],
        "covers": jnp.array([labels.MYOCARDIUM]),
        "point_weight": 0.7,
        "mask_weight": 0.3,
    }
    model = Model({}, small_shape, jnp.eye(2, 3), cascade, 32)
    total, (metrics, _) = jax.jit(lambda batch: regression.loss(model, batch))(batch)
    # The mean shape's RMS radius is 1: either stage is off by 1 px, in an image of 16 half widths.
    assert float(metrics["points_loss"]) == pytest.approx(1 / 16, rel=1e-4)
    of_last = reference.soft_mask(8.0 * small_shape.mean + np.array([16, 15]), (32, 32), 0.5)
    mask_loss = 1 - reference.dice(of_last, batch["mask"][0])
    assert float(metrics["mask_loss"]) == pytest.approx(mask_loss, rel=1e-3)
    assert float(total) == pytest.approx(0.7 * 2 / 16 + 0.3 * mask_loss, rel=1e-3)
