"""Vectors of the plane, and how far points lie from a polyline."""

import jax
import jax.numpy as jnp


def unit(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors (..., 2) at unit length, 0 where they are 0, and their lengths (...)."""
    length = length_of(v)
    return v / nonzero(length)[..., None], length


def length_of(v: jax.Array) -> jax.Array:
    """The lengths (...) of vectors (..., 2), NaN where one is; of a zero vector with gradient 0."""
    square = dot(v, v)
    return jnp.where(square == 0, 0.0, jnp.sqrt(nonzero(square)))


def nonzero(value: jax.Array) -> jax.Array:
    """The value, or 1 in place of 0, to divide by."""
    return jnp.where(value == 0, 1.0, value)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The scalar product (...) of vectors (..., 2)."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]


def cross(a: jax.Array, b: jax.Array) -> jax.Array:
    """The cross product (...) of vectors (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def nearest_offsets(corners: jax.Array, chain: jax.Array) -> jax.Array:
    """The vectors (N, 2) to points (N, 2) from the nearest places on an open chain (M, 2)."""
    start, along = chain[None, :-1], jnp.diff(chain, axis=0)[None]
    offset = corners[:, None] - start
    length2 = jnp.sum(along**2, axis=-1)
    share = jnp.sum(offset * along, axis=-1) / jnp.where(length2 > 0, length2, 1.0)
    offsets = offset - jnp.clip(share, 0.0, 1.0)[..., None] * along
    nearest = jnp.argmin(jnp.sum(offsets**2, axis=-1), axis=1)
    return jnp.take_along_axis(offsets, nearest[:, None, None], axis=1)[:, 0]
