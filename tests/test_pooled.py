import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.rasterizer.pooled import pooled


def _ranks(x):
    """The rank of each number among those of the whole batch."""
    flat = x.reshape(-1)
    return jnp.argsort(jnp.argsort(flat)).reshape(x.shape)


RANKS = jax.ShapeDtypeStruct((2,), jnp.int32)
NUMBER = jax.ShapeDtypeStruct((), jnp.float32)
NUMBERS = jnp.array([[[5.0, 1.0], [3.0, 0.0]], [[2.0, 9.0], [7.0, 4.0]]])


def test_it_sees_one_item_alone_and_all_of_a_batch():
    ranks = pooled(_ranks, RANKS)
    np.testing.assert_array_equal(ranks(NUMBERS[0, 0]), [1, 0])
    np.testing.assert_array_equal(jax.vmap(ranks)(NUMBERS[0]), [[3, 1], [2, 0]])


def test_a_batch_of_none():
    found = jax.vmap(jax.vmap(pooled(lambda x: x / max(x), NUMBER)))(jnp.zeros((3, 0)))
    assert found.shape == (3, 0)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_batches_of_batches_are_one(wrap):
    found = wrap(jax.vmap(jax.vmap(pooled(_ranks, RANKS))))(NUMBERS)
    np.testing.assert_array_equal(found, _ranks(NUMBERS))


def test_what_is_the_same_for_all_is_repeated():
    add = pooled(
        lambda given: {
            "sum": given["x"] + given["y"],
            "size": given["y"].shape[0] + 0 * given["y"],
        },
        {"sum": NUMBER, "size": NUMBER},
    )
    found = jax.vmap(lambda x: add({"x": x, "y": jnp.float32(2.0)}))(jnp.arange(3.0))
    np.testing.assert_array_equal(found["sum"], [2, 3, 4])
    np.testing.assert_array_equal(found["size"], [3, 3, 3])


def test_forward_derivatives():
    total = pooled(lambda x: jnp.broadcast_to(jnp.sum(x**2), x.shape), NUMBER)
    x = jnp.array([1.0, 2.0, 3.0])
    _, change = jax.jvp(jax.vmap(total), (x,), (jnp.array([1.0, 0.0, 1.0]),))
    np.testing.assert_allclose(change, [8, 8, 8])


def test_second_derivatives():
    shifted = pooled(lambda x: x**3 + 0 * jnp.cumsum(x), NUMBER)
    np.testing.assert_allclose(jax.jacfwd(jax.jacfwd(shifted))(2.0), 12.0)


def test_a_batch_of_unknown_size_goes_item_by_item():
    (size,) = jax.export.symbolic_shape("batch")
    function = jax.jit(jax.vmap(pooled(lambda x: x * len(x), NUMBER)))
    artifact = jax.export.export(function)(jax.ShapeDtypeStruct((size,), jnp.float32))
    np.testing.assert_array_equal(artifact.call(jnp.arange(3.0)), [0, 1, 2])
