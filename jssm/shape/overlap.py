"""How far two soft masks agree."""

import jax
import jax.numpy as jnp


def overlap(first: jax.Array, second: jax.Array) -> jax.Array:
    """The soft Dice coefficient of two masks (H, W) in [0, 1] (Eq. 9); 1 where both are empty."""
    total = jnp.sum(first) + jnp.sum(second)
    is_empty = total == 0
    return jnp.where(is_empty, 1.0, 2 * jnp.sum(first * second) / jnp.where(is_empty, 1.0, total))
