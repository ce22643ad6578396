"""The loss terms of Eq. 6, 9 and 10, for one case each; batch with ``jax.vmap``."""

import jax
import jax.numpy as jnp


def point_rmse(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """The root mean square distance of two point clouds (T, 2), in their unit (Eq. 6).

    At distance 0, where the root has no derivative, the gradient is 0.
    """
    square = jnp.mean(jnp.sum((predicted - true) ** 2, axis=-1))
    is_zero = square == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def point_loss(predicted: jax.Array, true: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Eq. 6 in half image widths, for points (T, 2) in pixels of an image of ``shape`` (H, W).

    That is the [−1, 1] frame of the paper's renderer; it makes the two terms of Eq. 10 alike in
    size.
    """
    return point_rmse(predicted, true) * (2 / shape[1])


def dice_loss(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """One minus the soft Dice coefficient of two masks (H, W) in [0, 1] (Eq. 9).

    Two empty masks agree: their loss is 0.
    """
    total = jnp.sum(predicted) + jnp.sum(true)
    is_empty = total == 0
    overlap = 2 * jnp.sum(predicted * true) / jnp.where(is_empty, 1.0, total)
    return 1 - jnp.where(is_empty, 1.0, overlap)
