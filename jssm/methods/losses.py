"""The loss terms of Eq. 6, 9 and 10, for one case each; batch with ``jax.vmap``."""

import jax
import jax.numpy as jnp

from jssm.shape.overlap import overlap


def point_rmse(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """The root mean square distance of two point clouds (T, 2), in their unit (Eq. 6).

    Points that are NaN in ``true`` are unknown and do not count; where none is known it is 0. At
    distance 0, where the root has no derivative, the gradient is 0.
    """
    known = jnp.isfinite(true)
    offset = jnp.where(known, predicted - jnp.where(known, true, 0.0), 0.0)
    square = jnp.sum(offset**2) * true.shape[-1] / jnp.maximum(jnp.sum(known), 1)
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
    return 1 - overlap(predicted, true)


def mean_over(values: jax.Array, counted: jax.Array, axis_name: str | None = None) -> jax.Array:
    """The mean of the ``values`` (N,) that are ``counted`` (N,), and 0 where none is.

    With ``axis_name`` they are counted over all devices of that mapped axis, so that the mean of
    the devices' results is the mean over the whole batch, however its cases are dealt out.
    """
    share = jnp.mean(counted.astype(jnp.float32))
    if axis_name is not None:
        share = jax.lax.pmean(share, axis_name)
    return jnp.mean(jnp.where(counted, values, 0.0)) / jnp.where(share > 0, share, 1.0)
