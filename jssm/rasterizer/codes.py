"""Small numbers packed into one integer, so that loops carry, and the derivative keeps, fewer.

An edge's number takes 15 bits, which limits the number of points; 7 in what is kept of a pixel, if
there are at most 128 points.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BITS, FEW_BITS = 15, 7
MOST_POINTS = 1 << BITS
MASK = MOST_POINTS - 1


def check(num_points: int) -> None:
    """Refuse shapes whose edges have no codes.

    Raises:
      ValueError: when there are more than :data:`MOST_POINTS` points.
    """
    if num_points > MOST_POINTS:
        raise ValueError(f"a strip of {num_points} points: at most {MOST_POINTS} were expected")


# Two edges


def pair(low: Any, high: Any) -> Any:
    """The numbers of two edges as one that is not negative."""
    return low | (high << BITS)


def parts(pairs: Any) -> tuple[Any, Any]:
    """What :func:`pair` was given."""
    return pairs & MASK, pairs >> BITS


# What is kept of a pixel: two edges and two bits


def kind(num_points: int) -> Any:
    """The type of a pixel's code."""
    return jnp.uint16 if _bits(num_points) == FEW_BITS else jnp.int32


def pixel(first: jax.Array, last: jax.Array, where: jax.Array, num_points: int) -> jax.Array:
    """The codes (int32; all of it fits :func:`kind`) of two edges and ``where``, 0 to 3."""
    bits = _bits(num_points)
    return first | (last << bits) | (where << (2 * bits))


def of_pixel(codes: jax.Array, num_points: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What :func:`pixel` was given."""
    codes, bits = codes.astype(jnp.int32), _bits(num_points)
    mask = (1 << bits) - 1
    return codes & mask, (codes >> bits) & mask, (codes >> (2 * bits)) & 3


def _bits(num_points: int) -> int:
    return FEW_BITS if num_points <= 1 << FEW_BITS else BITS


# Numbers by rank


def by_rank(ranks: jax.Array, most: int) -> jax.Array:
    """The numbers 0 to n − 1 by their ranks (n,) uint32; those of rank ``most`` are left out, and n
    stands in their place at the end.

    Raises:
      ValueError: when rank and number do not fit 32 bits.
    """
    total = ranks.size
    if most * total >= 1 << 32:
        raise ValueError(f"{total} tiles in a batch: fewer than {(1 << 32) // most} were expected")
    last = np.uint32(most * total)  # one key for all that are left out: that sorts in half the time
    keys = jnp.where(ranks < most, ranks * total + lax.iota(jnp.uint32, total), last)
    keys = lax.sort(keys, is_stable=False)
    return jnp.where(keys < last, keys % total, total).astype(jnp.int32)
