"""The U-Net: its size, its parts against plain formulations, any image size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jssm.networks.unet import UNet, UpConvolution, pad_to_multiple


def test_size_is_that_of_the_original():
    """Convolution by convolution of the paper's Fig. 1, with batch normalization for biases."""
    network = UNet(2)
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False)
    )
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    widths = [64, 128, 256, 512, 1024]
    down = [(1, 64), *((w, 2 * w) for w in widths[:-1])]
    up = [(2 * w, w) for w in widths[:-1]]  # a skip and as many from below
    convolutions = sum(9 * i * o + 9 * o * o + 4 * o for i, o in down + up)
    widening = sum(4 * 2 * w * w + 4 * w for w in widths[:-1])
    assert count == convolutions + widening + 64 * 2 + 2


@pytest.mark.parametrize("shape", [(32, 32), (37, 50), (5, 3)])
def test_maps_have_the_size_of_the_images(shape):
    network = UNet(3, width=2, levels=3)
    images = jnp.ones((2, *shape, 1))
    maps, _ = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), images, train=False)
    )
    assert maps.shape == (2, *shape, 3)


def test_padding_repeats_the_last_pixels():
    padded = pad_to_multiple(jnp.arange(6.0).reshape(1, 2, 3, 1), 4)
    assert padded.shape == (1, 4, 4, 1)
    np.testing.assert_array_equal(padded[0, :, :, 0], [[0, 1, 2, 2], *3 * [[3, 4, 5, 5]]])


def test_the_up_convolution_is_a_transposed_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    module = UpConvolution(6)
    variables = module.init(jax.random.key(1), x)
    dense = variables["params"]["Dense_0"]
    # (in, 4 · out) as the transposed convolution's kernel (2, 2, in, out), which Linen flips.
    kernel = dense["kernel"].reshape(4, 2, 2, 6).transpose(1, 2, 0, 3)[::-1, ::-1]
    plain = nn.ConvTranspose(6, (2, 2), (2, 2), use_bias=False)
    expected = [plain.apply({"params": {"kernel": k}}, x) for k in (kernel, kernel[::-1, ::-1])]
    found = module.apply(variables, x)
    assert min(float(jnp.abs(found - e).max()) for e in expected) < 1e-5


def test_statistics_are_those_of_all_devices():
    network = UNet(1, width=2, levels=1, axis_name="batch")
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    variables = jax.jit(partial(network.init, train=False))(jax.random.key(1), images)

    def forward(network, images):
        return network.apply(variables, images, train=True, mutable=["batch_stats"])

    devices = jax.jit(jax.vmap(partial(forward, network), axis_name="batch"))
    split, stats = devices(images.reshape(2, 2, 8, 8, 1))
    whole, together = jax.jit(partial(forward, network.clone(axis_name=None)))(images)
    np.testing.assert_allclose(split.reshape(whole.shape), whole, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), stats, together)


def test_gradients_are_finite_where_pixels_tie():
    network = UNet(1, width=2, levels=1)
    images = jnp.ones((1, 8, 8, 1)).at[:, :4].set(0.0)
    variables = jax.jit(partial(network.init, train=False))(jax.random.key(1), images)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(network.apply(v, images, train=False) ** 2)))
    for leaf in jax.tree.leaves(gradient(variables)):
        assert np.isfinite(leaf).all()


def test_bfloat16_keeps_parameters_and_maps_in_float32():
    network = UNet(1, width=2, levels=1, dtype=jnp.bfloat16)
    maps, variables = jax.jit(
        lambda: network.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 1)), train=False)
    )()
    assert maps.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
