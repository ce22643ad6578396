import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jssm import rasterizer
from tests import reference

SHAPE = (24, 28)


def small_horseshoe(**options):
    defaults = {"num_points": 12, "center": (14, 12), "inner": 5, "outer": 8, "aspect": 1.1}
    return reference.horseshoe(**(defaults | options))


FOLDED = np.array([[4, 4], [20, 6], [6, 16], [8, 8], [22, 18], [12, 20]], float)
SHAPES = {
    "horseshoe": small_horseshoe(),
    "mirrored": small_horseshoe() * [-1, 1] + [27, 0],
    "reversed": small_horseshoe()[::-1],
    "folded": FOLDED,
    "partly outside": small_horseshoe(center=(2, 3)),
    "wholly outside": small_horseshoe(center=(-40, 3)),
    "repeated points": np.repeat(small_horseshoe(num_points=6), 2, axis=0),
    "on the pixels": np.round(small_horseshoe()),
    "without area": np.linspace([2, 2], [20, 20], 12),
}


@pytest.mark.parametrize("name", SHAPES)
def test_signed_distance_agrees_with_the_slow_reference(name):
    points = SHAPES[name]
    expected = reference.signed_distance(points, SHAPE)
    found = np.asarray(rasterizer.signed_distance(jnp.asarray(points), SHAPE))
    # On the outline itself both signs are right.
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-5)
    off = np.abs(expected) > 1e-4
    np.testing.assert_array_equal(np.sign(found)[off], np.sign(expected)[off])


@pytest.mark.parametrize("tau", [0.25, 0.5, 2.0])
def test_mask_is_the_sigmoid_of_the_distance(tau):
    expected = reference.rasterize(SHAPES["horseshoe"], SHAPE, tau)
    found = rasterizer.rasterize(jnp.asarray(SHAPES["horseshoe"]), SHAPE, tau=tau)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_seams_inside():
    """SoftRas-like renderers show 0.75 on the triangles' common edges."""
    points = np.array([[4, 4], [4, 10], [4, 16], [20, 4], [20, 10], [20, 16]], float)
    mask = np.asarray(rasterizer.rasterize(jnp.asarray(points), SHAPE, tau=0.5))
    assert mask[7:14, 7:18].min() > 0.99


def test_area_of_a_large_shape():
    points = reference.horseshoe(88, center=(112, 112), inner=40, outer=52)
    loop = points[rasterizer.outline_indices(88)]
    x, y = loop.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    mask = rasterizer.rasterize(jnp.asarray(points), (224, 224), tau=0.5)
    assert float(mask.sum()) == pytest.approx(area, rel=0.002)


def test_triangles_and_outline_are_equation_7():
    assert {tuple(t) for t in rasterizer.strip_triangles(12)} == set(reference.strip_triangles(12))
    assert len(rasterizer.strip_triangles(88)) == 86
    loop = rasterizer.outline_indices(12)
    edges = {frozenset(e) for e in zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)}
    assert edges == {frozenset(e) for e in reference.outline_edges(12)}


@pytest.mark.parametrize("num_points", [2, 7])
def test_a_strip_needs_an_even_number_of_points(num_points):
    with pytest.raises(ValueError, match="even number of points, at least 4"):
        rasterizer.strip_triangles(num_points)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_agrees_with_central_differences(seed):
    rng = np.random.default_rng(seed)
    points = small_horseshoe(num_points=8) + rng.normal(size=(8, 2)) * 0.3
    weights = rng.normal(size=SHAPE)

    def slow(p):
        return np.sum(weights * reference.rasterize(p, SHAPE, 0.5))

    expected = reference.central_difference(slow, points)
    found = jax.grad(lambda p: jnp.sum(weights * rasterizer.rasterize(p, SHAPE)))(
        jnp.asarray(points, jnp.float32)
    )
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_gradient_of_an_outline_on_the_pixels():
    """A rectangle whose sides run through pixel centres: moving a side by h adds h · length."""
    points = jnp.array([[5, 5], [5, 10], [5, 15], [20, 5], [20, 10], [20, 15]], jnp.float32)

    def area_when_moved(h):
        moved = points.at[3:, 0].add(h)
        return jnp.sum(rasterizer.rasterize(moved, SHAPE))

    slope = (area_when_moved(1e-2) - area_when_moved(-1e-2)) / 2e-2
    assert float(jax.grad(area_when_moved)(0.0)) == pytest.approx(float(slope), rel=0.02)
    assert float(slope) == pytest.approx(10, rel=0.05)


coordinates = st.one_of(st.floats(-40, 60, width=32), st.integers(-2, 28).map(float))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=8, max_size=8))
def test_any_shape_has_finite_values_and_gradients(points):
    points = jnp.array(points, jnp.float32)
    value, gradient = _value_and_gradient(points)
    assert np.isfinite(value).all()
    assert (value >= 0).all()
    assert (value <= 1).all()
    assert np.isfinite(gradient).all()


@jax.jit
def _value_and_gradient(points):
    def total(p):
        mask = rasterizer.rasterize(p, (16, 16))
        return jnp.sum(mask * jnp.arange(256.0).reshape(16, 16)), mask

    gradient, mask = jax.grad(total, has_aux=True)(points)
    return mask, gradient


def test_jit_and_vmap_agree_with_one_at_a_time():
    batch = jnp.asarray(np.stack([SHAPES["horseshoe"] + i for i in range(3)]), jnp.float32)
    one = jnp.stack([rasterizer.rasterize(p, SHAPE) for p in batch])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda p: rasterizer.rasterize(p, SHAPE)))(batch), one, atol=1e-6
    )


def test_forward_and_reverse_mode_agree():
    points = jnp.asarray(SHAPES["horseshoe"], jnp.float32)

    def f(p):
        return jnp.sum(rasterizer.rasterize(p, SHAPE) ** 2)

    np.testing.assert_allclose(jax.jacfwd(f)(points), jax.jacrev(f)(points), rtol=1e-4, atol=1e-5)
