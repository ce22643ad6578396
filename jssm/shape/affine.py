"""Affine maps of the plane as (2, 3) arrays: p = A·q + t with A = theta[:, :2], t = theta[:, 2].

Every function also takes leading batch axes.
"""

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def apply(theta: jax.Array, points: jax.Array) -> jax.Array:
    """Map points (..., T, 2) by theta (..., 2, 3) (Eq. 5); gives (..., T, 2)."""
    return points @ theta[..., :2].swapaxes(-1, -2) + theta[..., None, :, 2]


@jax.jit
def compose(outer: jax.Array, inner: jax.Array) -> jax.Array:
    """The map (..., 2, 3) that applies ``inner`` first and ``outer`` second."""
    linear = outer[..., :2] @ inner[..., :2]
    offset = (outer[..., :2] @ inner[..., 2:]) + outer[..., 2:]
    return jnp.concatenate([linear, offset], axis=-1)


@jax.jit
def invert(theta: jax.Array) -> jax.Array:
    """The inverse map (..., 2, 3). A singular ``theta`` gives infinities, as 1/0 does."""
    (a, b), (c, d) = (theta[..., i, :2].swapaxes(0, -1) for i in (0, 1))
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2)
    linear = adjugate / (a * d - b * c)[..., None, None]
    return jnp.concatenate([linear, -linear @ theta[..., 2:]], axis=-1)


def about(center: jax.Array, linear: jax.Array, shift: jax.Array) -> jax.Array:
    """The map (2, 3) that applies ``linear`` (2, 2) about ``center`` (2,), then adds ``shift``."""
    offset = center + shift - linear @ center
    return jnp.concatenate([linear, offset[:, None]], axis=-1)


def letterbox(
    from_shape: tuple[int, ...],
    to_shape: tuple[int, ...],
    *,
    aspect: float | jax.Array = 1.0,
) -> np.ndarray | jax.Array:
    """The (2, 3) pixel map that fits an image of ``from_shape`` into ``to_shape`` (both (H, W)).

    One scale per mm, centred, onto square pixels; pixel centres have integer coordinates, so the
    image's own rectangle spans −½ … W − ½. The rest of the target is padding.

    aspect: the height of the image's pixels over their width (see :func:`aspect_of`). A traced one
    gives a JAX array; otherwise all is NumPy.
    """
    xp = jnp if isinstance(aspect, jax.Array) else np
    (from_h, from_w), (to_h, to_w) = from_shape, to_shape
    scale_x = xp.minimum(to_h / (from_h * aspect), to_w / from_w)
    scale_y = scale_x * aspect
    shift_x = (to_w - scale_x * from_w) / 2 + (scale_x - 1) / 2
    shift_y = (to_h - scale_y * from_h) / 2 + (scale_y - 1) / 2
    zero = 0 * scale_x
    rows = [xp.stack([scale_x, zero, shift_x]), xp.stack([zero, scale_y, shift_y])]
    return xp.stack(rows).astype(xp.float32)


def aspect_of(spacing_mm: tuple[float, float]) -> float:
    """Height over width of pixels of ``spacing_mm`` (row, column); 1 where that is unknown.

    Rounded to 5 digits, as headers in single precision make square pixels not quite square.
    """
    row, column = (float(s) for s in spacing_mm)
    known = np.isfinite(row + column) and min(row, column) > 0
    return round(row / column, 5) if known else 1.0


def resample(image: jax.Array, theta: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Bilinear sampling: output pixel q of ``shape`` (H, W) takes ``image`` (h, w) at theta(q).

    Outside the image the value is 0. Differentiable in the image and in theta.
    """
    rows, columns = jnp.mgrid[: shape[0], : shape[1]].astype(jnp.float32)
    xy = apply(theta, jnp.stack([columns.ravel(), rows.ravel()], axis=-1))
    values = jax.scipy.ndimage.map_coordinates(
        image, [xy[:, 1], xy[:, 0]], order=1, mode="constant"
    )
    return values.reshape(shape)
