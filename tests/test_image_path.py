"""The one way of an image from file to network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm import image_path
from jssm.shape import affine

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (31, 40), (3, 64, 64)])
def test_the_grey_window_is_that_of_sorted_values(shape):
    """By counting bits in JAX, by NumPy otherwise; with ties, both signs, and far outliers."""
    for values in (
        RNG.normal(size=shape),
        RNG.integers(-3, 3, shape),
        np.full(shape, -2.5),
        np.where(RNG.random(shape) < 0.01, 1e7, RNG.normal(size=shape)),
    ):
        values = values.astype(np.float32)
        expected = np.percentile(values, (0.1, 99.9))
        np.testing.assert_array_equal(image_path.grey_window(values), expected)
        found = jax.jit(image_path.grey_window)(values)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_in_window():
    image = np.array([[-5.0, 0.0, 5.0], [10.0, 20.0, 30.0]], np.float32)
    expected = [[0, 0, 0.25], [0.5, 1, 1]]
    np.testing.assert_array_equal(image_path.in_window(image, np.array([0.0, 20.0])), expected)
    found = jax.jit(image_path.in_window)(image, jnp.array([0.0, 20.0]))
    np.testing.assert_array_equal(found, expected)
    assert not image_path.in_window(image, np.array([7.0, 7.0])).any()


@pytest.mark.parametrize("aspect", [1.0, 1.3])
@pytest.mark.parametrize("shape", [(50, 70), (16, 9), (32, 32)])
def test_fit_is_jax_own_resampling(shape, aspect):
    image = RNG.normal(size=shape).astype(np.float32)
    theta = np.asarray(affine.letterbox(shape, (32, 32), aspect=aspect))
    scale = np.array([theta[1, 1], theta[0, 0]])
    expected = jax.image.scale_and_translate(
        jnp.asarray(image), (32, 32), (0, 1), jnp.asarray(scale),
        jnp.asarray((32 - scale * shape) / 2), method="linear", antialias=True,
    )  # fmt: skip
    found = image_path.fit(image, 32, aspect=aspect)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    traced = jax.jit(lambda image, aspect: image_path.fit(image, 32, aspect=aspect))
    np.testing.assert_allclose(traced(image, aspect), expected, atol=5e-5)


def test_fit_maps_as_the_letterbox_says():
    """A linear ramp stays one where the image is, and around it there is nothing."""
    rows, columns = np.mgrid[:60, :40].astype(np.float32)
    ramp = 1 + 0.02 * columns + 0.01 * rows
    found = image_path.fit(ramp, 90)
    to_file = affine.invert(jnp.asarray(affine.letterbox(ramp.shape, (90, 90))))
    places = np.stack(np.meshgrid(np.arange(90), np.arange(90)), axis=-1).reshape(-1, 2)
    x, y = np.asarray(affine.apply(to_file, jnp.asarray(places, jnp.float32))).T
    inside = ((x > 0) & (x < 39) & (y > 0) & (y < 59)).reshape(90, 90)
    expected = (1 + 0.02 * x + 0.01 * y).reshape(90, 90)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)
    assert not found[:, :14].any()
    assert not found[:, -14:].any()


def test_data_sets_keep_grey_values_as_bytes():
    window = np.array([100.0, 200.0])
    found = image_path.to_uint8(np.array([0, 100, 150.2, 200, 300]), window)
    assert found.tolist() == [0, 0, 128, 255, 255]
    values = np.arange(256, dtype=np.uint8)
    restored = image_path.to_uint8(image_path.from_uint8(values), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(restored, values)
