from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm.rasterizer import codes

NUMBERS = [0, 1, 2, 126, 127, 128, 129, 16383, 16384, 32766, 32767]


def _edges(num_points):
    """Two edges and a place, in all combinations."""
    numbers = [n for n in NUMBERS if n < num_points] + [num_points - 1]
    return (x.ravel().astype(np.int32) for x in np.meshgrid(numbers, numbers, np.arange(4)))


def test_a_pair_gives_its_parts_and_is_not_negative():
    low, high, _ = _edges(codes.MOST_POINTS)
    pairs = codes.pair(jnp.asarray(low), jnp.asarray(high))
    assert pairs.dtype == np.int32
    assert pairs.min() >= 0
    np.testing.assert_array_equal(codes.parts(pairs), (low, high))


@pytest.mark.parametrize(
    ("num_points", "kind"), [(88, "uint16"), (128, "uint16"), (130, "int32"), (32768, "int32")]
)
def test_what_is_kept_of_a_pixel_fits_its_type(num_points, kind):
    given = tuple(_edges(num_points))
    kept = codes.pixel(*map(jnp.asarray, given), num_points).astype(codes.kind(num_points))
    assert kept.dtype == kind
    np.testing.assert_array_equal(codes.of_pixel(kept, num_points), given)


def test_numbers_by_rank():
    ranks = np.random.default_rng(0).integers(0, 6, 50)
    expected = np.argsort(ranks, kind="stable")[: np.sum(ranks < 5)]
    found = codes.by_rank(jnp.asarray(ranks, jnp.uint32), 5)
    np.testing.assert_array_equal(found, [*expected, *[50] * np.sum(ranks == 5)])


def test_keys_of_32_bits_suffice_or_say_so():
    def shape_of(count):
        return jax.eval_shape(
            partial(codes.by_rank, most=64), jax.ShapeDtypeStruct((count,), jnp.uint32)
        )

    assert shape_of((1 << 26) - 1).dtype == np.int32
    with pytest.raises(ValueError, match="67108864 tiles in a batch: fewer than 67108864"):
        shape_of(1 << 26)


@pytest.mark.parametrize("draw", [jssm.rasterize, jssm.rasterize_whole, jssm.signed_distance])
def test_too_many_points_are_refused(draw, real_rasterizer):
    shape = partial(jax.eval_shape, lambda p: draw(p, (8, 8)))
    assert shape(jax.ShapeDtypeStruct((32768, 2), jnp.float32)).shape == (8, 8)
    with pytest.raises(ValueError, match="a strip of 32770 points: at most 32768 were expected"):
        shape(jax.ShapeDtypeStruct((32770, 2), jnp.float32))
