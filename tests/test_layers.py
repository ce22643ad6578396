"""The layers beside those of flax.linen, which are slower."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jssm.networks.layers import BatchNorm, Conv, blocks, max_pool

SIZES = [(6, 8), (7, 9), (1, 4)]


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def outcome(layer, variables, x, weights):
    """Of a weighted sum of what the layer gives: its gradients; the statistics; what it gives."""

    def total(params, x):
        y, new = layer.apply(variables | {"params": params}, x, mutable=["batch_stats"])
        return jnp.sum(y * weights), (new["batch_stats"], y)

    return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(variables["params"], x)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_that_of_linen(train):
    x, weights = 2 * normal((3, 4, 5, 6)) + 1, normal((3, 4, 5, 6), seed=1)
    plain = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
    variables = plain.init(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, variables, BatchNorm(train).init(jax.random.key(0), x)
    )
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.arange(6.0), variables)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5),
        outcome(BatchNorm(train), variables, x, weights),
        outcome(plain, variables, x, weights),
    )


def test_batch_norm_of_a_part_is_that_of_the_whole_batch():
    x, weights = normal((4, 3, 3, 2)), normal((4, 3, 3, 2), seed=1)
    variables = BatchNorm(train=True).init(jax.random.key(0), x)
    _, (stats, y) = outcome(BatchNorm(train=True), variables, x, weights)

    def part(x, weights):
        return outcome(BatchNorm(train=True, axis_name="batch"), variables, x, weights)

    parts = jax.vmap(part, axis_name="batch")(x[:, None], weights[:, None])
    whole = outcome(BatchNorm(train=True), variables, x, weights)
    np.testing.assert_allclose(parts[0][1][:, 0], whole[0][1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts[1][1][:, 0], y, rtol=1e-4, atol=1e-6)
    for name in ("scale", "bias"):  # the sum over devices is the gradient of the sum
        summed = jnp.sum(parts[0][0][name], axis=0)
        np.testing.assert_allclose(summed, whole[0][0][name], rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(parts[1][0][name][1], stats[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_of_one_value_gives_the_bias(train):
    """Of a channel without variance, and in bfloat16 what goes in and comes out."""
    x = jnp.full((2, 3, 3, 2), 0.0, jnp.bfloat16)
    layer = BatchNorm(train, jnp.bfloat16)
    gradients, (_, y) = outcome(layer, layer.init(jax.random.key(0), x), x, 1.0)
    assert y.dtype == gradients[1].dtype == jnp.bfloat16
    assert not y.any()
    assert jax.tree.all(jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), gradients))


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        *((3, 1, size) for size in [(9, 7), (2, 2), (1, 1)]),
        *((3, 2, size) for size in [(9, 7), (2, 2), (1, 1)]),
        *((7, 2, size) for size in [(9, 7), (1, 1)]),
        *((1, stride, (5, 4)) for stride in (1, 2)),
    ],
)
def test_convolution_is_that_of_linen(kernel, stride, size):
    """Also where it gives fewer pixels than its kernel has."""
    x, padding = normal((2, *size, 3)), kernel // 2
    ours = Conv(4, (kernel, kernel), stride, padding=padding)
    plain = nn.Conv(4, (kernel, kernel), stride, padding=padding, use_bias=False)
    variables, same = (jax.jit(layer.init)(jax.random.key(0), x) for layer in (plain, ours))
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    weights = normal(jax.eval_shape(plain.apply, variables, x).shape, seed=1)

    def gradients(layer):
        return jax.jit(jax.value_and_grad(lambda *a: jnp.sum(layer.apply(*a) * weights), (0, 1)))

    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5),
        gradients(ours)(variables, x),
        gradients(plain)(variables, x),
    )


def test_convolution_computes_in_its_type():
    x = normal((2, 2, 2, 3))
    layer = Conv(4, (3, 3), padding=1, dtype=jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert layer.apply(variables, x).dtype == jnp.bfloat16


@pytest.mark.parametrize("size", SIZES)
def test_max_pool_is_that_of_linen(size):
    """Whole numbers, so that many are equal."""
    x = jnp.round(2 * normal((2, *size, 3)))
    ours, pull = jax.vjp(jax.jit(max_pool), x)
    theirs, pull_theirs = jax.vjp(
        jax.jit(lambda x: nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))), x
    )
    np.testing.assert_array_equal(ours, theirs)
    weights = normal(ours.shape, seed=1)
    np.testing.assert_allclose(pull(weights)[0], pull_theirs(weights)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3)])
def test_blocks_are_the_pixels_of_two_by_two(height, width):
    images = np.asarray(normal((2, height, width, 3)))
    found = np.asarray(blocks(jnp.asarray(images)))
    rows, columns = (-(-n // 2) for n in (height, width))
    assert found.shape == (2, rows, columns, 12)
    for row, column, y, x in np.ndindex(rows, columns, 2, 2):
        inside = 2 * row + y < height and 2 * column + x < width
        expected = images[:, 2 * row + y, 2 * column + x] if inside else 0
        k = 3 * (2 * y + x)
        np.testing.assert_array_equal(found[:, row, column, k : k + 3], expected)
