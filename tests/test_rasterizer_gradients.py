"""The rasterizer's derivatives, against differences of the slow reference."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssm.methods import losses
from jssm.rasterizer import draw, loops
from tests import reference
from tests.strips import SHAPE, SHAPES, masks_and_gradients, small_horseshoe, twelve

pytestmark = pytest.mark.usefixtures("real_rasterizer")


@pytest.mark.parametrize(
    "name",
    ["horseshoe", "mirrored", "reversed", "partly outside", "repeated points", "on the pixels"],
)
def test_gradient_agrees_with_central_differences(name):
    points = np.float64(np.float32(SHAPES[name]))
    _check_gradient(points, np.random.default_rng(0).normal(size=SHAPE))


@pytest.mark.parametrize("grid", [0, 1, 0.5], ids=["anywhere", "on pixels", "on half pixels"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradient_of_random_shapes(seed, grid):
    """Outlines through pixel centres have kinks and ties there; differences see both sides."""
    rng = np.random.default_rng(seed)
    points = small_horseshoe(inner=4 + 2 * rng.random()) + rng.normal(size=(12, 2)) * 0.5
    points = np.round(points / grid) * grid if grid else np.float64(np.float32(points))
    _check_gradient(points, rng.normal(size=SHAPE))


def test_gradient_where_a_triangle_is_collinear():
    """Its outline edge still knows which side is the inner one."""
    points = twelve([5, 5], [5, 10], [5, 15], [5, 1], [20, 10], [20, 15])
    np.testing.assert_array_equal(points[[0, 1, 6], 0], 5)
    slope = _weighted_gradient(jnp.asarray(points, jnp.float32), np.ones(SHAPE))
    assert float(slope[1, 0]) < -1.5  # the wall to its right shrinks as it moves right
    assert np.isfinite(slope).all()


def _check_gradient(points, weights):
    expected = reference.central_difference(
        lambda p: np.sum(weights * reference.soft_mask(p, SHAPE, 0.5)), points
    )
    found = _weighted_gradient(jnp.asarray(points, jnp.float32), weights)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


@jax.jit
def _weighted_gradient(points, weights):
    return jax.grad(lambda p: jnp.sum(weights * draw.rasterize(p, SHAPE)))(points)


def test_gradient_of_an_outline_on_the_pixels():
    """A rectangle whose sides run through pixel centres: moving a side by h adds h · length."""
    points = twelve([5, 5], [5, 10], [5, 15], [20, 5], [20, 10], [20, 15])
    right = np.zeros((12, 2))
    right[6:, 0] = 1
    ends = [np.sum(reference.soft_mask(points + h * right, SHAPE, 0.5)) for h in (0.01, -0.01)]
    gradient = _weighted_gradient(jnp.asarray(points, jnp.float32), np.ones(SHAPE))
    assert float(np.sum(gradient * right)) == pytest.approx((ends[0] - ends[1]) / 0.02, rel=0.02)
    assert float(np.sum(gradient * right)) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("few", "shape"), [(1, (40, 101)), (100, (40, 102))])
def test_gradient_where_many_tiles_have_ties(monkeypatch, few, shape):
    """The middle of a wall of 8 px is as near to either side; whatever number counts as few."""
    monkeypatch.setattr(loops, "FEW", few)  # read when a new shape is traced
    x = np.linspace(3.3, 96.6, 24)
    points = np.concatenate([np.stack([x, np.full(24, y)], axis=-1) for y in (14.0, 22.0)])
    rng = np.random.default_rng(0)
    weights, direction = rng.normal(size=shape), rng.normal(size=points.shape)
    ends = [reference.soft_mask(points + h * direction, shape, 2.0) for h in (1e-5, -1e-5)]
    slope = np.sum(weights * (ends[0] - ends[1])) / 2e-5

    def total(p):
        return jnp.sum(weights * draw.rasterize(p, shape, tau=2.0))

    gradient = jax.jit(jax.grad(total))(jnp.asarray(points, jnp.float32))
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-3)


def test_a_batch_agrees_with_one_at_a_time():
    """Shapes that need different numbers of tiles and sides share one loop."""
    names = ("horseshoe", "wholly outside", "on the pixels", "folded")
    large = SHAPES["horseshoe"] * 1.7 - 6
    batch = jnp.asarray(np.stack([*(SHAPES[name] for name in names), large]), jnp.float32)
    masks, gradients = masks_and_gradients(batch)
    weights = np.sin(np.arange(np.prod(SHAPE)).reshape(SHAPE))
    for points, mask, gradient in zip(batch, masks, gradients, strict=True):
        np.testing.assert_allclose(mask, draw.rasterize(points, SHAPE), atol=1e-6)
        np.testing.assert_allclose(gradient, _weighted_gradient(points, weights), atol=1e-5)


@pytest.mark.parametrize(("shape", "tau"), [(SHAPE, 0.5), (SHAPE, 1.0), ((150, 200), 0.5)])
def test_gradient_of_the_softness(shape, tau):
    """Pixels far away do not change with it."""
    points = SHAPES["horseshoe"]
    ahead, behind = (reference.soft_mask(points, shape, tau + h) for h in (1e-3, -1e-3))
    of_sum, of_squares = _slopes_of_softness(jnp.asarray(points, jnp.float32), shape, tau)
    assert float(of_sum) == pytest.approx(np.sum(ahead - behind) / 2e-3, abs=2e-3)
    assert float(of_squares) == pytest.approx(np.sum(ahead**2 - behind**2) / 2e-3, rel=1e-2)


@partial(jax.jit, static_argnames="shape")
def _slopes_of_softness(points, shape, tau):
    def sums(tau):
        mask = draw.rasterize(points, shape, tau=tau)
        return jnp.stack([jnp.sum(mask), jnp.sum(mask**2)])

    return jax.jacrev(sums)(tau)


def test_second_derivatives_of_one_edge():
    """Far from every bend and end the distance is linear in a shift: sigmoid'' is all there is."""
    points = jnp.array([[5, -50], [5, 10], [5, 70], [60, -50], [60, 10], [60, 70]], jnp.float32)

    def value(shift):
        return draw.rasterize(points + jnp.array([1.0, 0.0]) * shift, (24, 24))[12, 6]

    m, second = jax.jit(lambda x: (value(x), jax.jacfwd(jax.grad(value))(x)))(0.0)
    assert float(second) == pytest.approx(float(m * (1 - m) * (1 - 2 * m)) / 0.5**2, rel=1e-3)


def test_a_mask_loss_alone_pulls_a_shape_from_twenty_pixels_away():
    """At the final softness it has no gradient there; sharpening step by step, it arrives."""
    shape, steps = (64, 64), 80
    true = small_horseshoe(num_points=24, center=(42, 32))
    target = np.float32(reference.soft_mask(true, shape, 0.5) > 0.5)
    start = jnp.asarray(true - [20, 0], jnp.float32)
    optimizer = optax.adam(optax.cosine_decay_schedule(1.0, steps))

    def loss(theta, tau):
        center = jnp.mean(start, axis=0)
        moved = (start - center) @ (jnp.eye(2) + theta[:, :2] / 20).T + center + theta[:, 2]
        mask = draw.rasterize(moved, shape, tau=tau)
        return losses.dice_loss(mask, target), mask

    @jax.jit
    def step(state, tau):
        theta, moments = state
        slope, mask = jax.grad(loss, has_aux=True)(theta, tau)
        updates, moments = optimizer.update(slope, moments)
        return (theta + updates, moments), slope, mask

    state = (np.zeros((2, 3), np.float32), optimizer.init(jnp.zeros((2, 3))))
    assert np.abs(step(state, 0.5)[1]).max() < 1e-3
    for progress in np.linspace(0, 1, steps):
        state, *_ = step(state, draw.sharpness(progress))
    mask = step(state, 0.5)[2] > 0.5
    assert float(losses.dice_loss(mask.astype(jnp.float32), target)) < 0.05
