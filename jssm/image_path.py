"""The one way of an image from file to network: grey window, square, float32.

Data sets, training, evaluation, ``jssm.predict`` and ``jssm predict`` all take it:

1. :func:`grey_window` finds what counts as black and as white, so that a few bright pixels
   (burnt-in text, a spike) do not decide how dark the heart is.
2. :func:`in_window` maps grey values between the two to 0..1, and cuts off the rest.
3. :func:`fit` brings the image into the network's square, one scale per mm, without aliasing.
4. :func:`standardized`, a network's own first step, gives it mean 0 and standard deviation 1.

A data set keeps the result of the first three as uint8. The functions of one image work on NumPy
arrays, and give those, and on JAX arrays.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jssm.shape import affine

CUT = 0.001  # the share of the pixels that is black, and that is white

Array = TypeVar("Array", np.ndarray, jax.Array)


def check_images(images: Any) -> jax.Array:
    """``images`` (N, H, W) as float32, with 0 for what is not finite.

    Raises:
      ValueError: when it is not three-dimensional.
    """
    images = jnp.asarray(images)
    if images.ndim != 3:
        hint = "; add the leading axis with image[None]" if images.ndim == 2 else ""
        raise ValueError(f"images must have the shape (N, H, W), got {images.shape}{hint}")
    images = images.astype(jnp.float32)
    return jnp.where(jnp.isfinite(images), images, 0.0)


def grey_window(frames: Array) -> Array:
    """The grey values (2,) that count as black and as white: the 0.1 and 99.9 percentiles.

    ``frames`` are of one image or of all frames of a cine, any shape. Percentiles are interpolated
    as NumPy does; under differentiation they count as constants.
    """
    if isinstance(frames, np.ndarray):
        return np.percentile(frames, (100 * CUT, 100 * (1 - CUT)))
    values = lax.stop_gradient(frames.astype(jnp.float32).ravel())
    places = np.array([CUT, 1 - CUT]) * (values.size - 1)
    lower, upper = _order_statistics(values, places.astype(int))
    return lower + (places % 1).astype(np.float32) * (upper - lower)


def in_window(image: Array, window: Array) -> Array:
    """Grey values (any shape) as 0..1 of the ``window`` (2,); 0 where that is a single value."""
    return _scaled(image, window, 1.0).astype(np.float32)


def fit(image: Array, size: int, *, aspect: Any = 1.0) -> Array:
    """Images (..., H, W) letterboxed into (size, size) by :func:`affine.letterbox`, 0 around them.

    Linear interpolation; where the image shrinks, a triangle as wide as the new pixels, which keeps
    finer detail from aliasing. aspect: the height of their pixels over the width.
    """
    shape = image.shape[-2:]
    if not isinstance(aspect, jax.Array) and aspect == 1 and shape == (size, size):
        return image.astype(np.float32)
    xp = jnp if isinstance(image, jax.Array) or isinstance(aspect, jax.Array) else np
    theta = affine.letterbox(shape, (size, size), aspect=aspect)
    rows, columns = (
        _weights(shape[axis], size, theta[1 - axis, 1 - axis], theta[1 - axis, 2], xp)
        for axis in (0, 1)
    )
    return rows @ image.astype(np.float32) @ columns.T


def to_uint8(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Grey values of a ``window`` (2,) as a data set keeps them, 0 to 255."""
    return np.rint(_scaled(image, window, 255.0)).astype(np.uint8)


def from_uint8(image: Array) -> Array:
    """The float32 grey values in 0..1 of a data set's images."""
    return image.astype(np.float32) / 255


def standardized(image: jax.Array) -> jax.Array:
    """The image (H, W) with mean 0 and standard deviation 1; a constant image gives 0."""
    centered = image - jnp.mean(image)
    variance = jnp.mean(centered**2)
    is_constant = variance == 0
    return jnp.where(is_constant, 0.0, centered * lax.rsqrt(jnp.where(is_constant, 1.0, variance)))


def _scaled(image: Any, window: Any, white: float) -> Any:
    """Grey values as 0..white of the window; float64 in NumPy, so that they round as they are."""
    xp = np if isinstance(image, np.ndarray) else jnp
    low, high = window[0], window[1]
    slope = white / xp.where(high > low, high - low, 1) * (high > low)
    return xp.clip((image.astype(np.float32) - low) * slope, 0, white)


def _weights(length: int, size: int, scale: Any, shift: Any, xp: Any) -> Any:
    """What each of ``length`` pixels weighs in each of ``size`` new ones, (size, length) float32.

    A pixel at p comes to lie at scale·p + shift. Rows of places outside the image are 0.
    """
    place = (xp.arange(size) - shift) / scale
    distance = xp.abs(place[:, None] - xp.arange(length))
    triangle = xp.maximum(1 - distance / xp.maximum(1 / scale, 1), 0)
    is_inside = (place >= -0.5) & (place <= length - 0.5)
    total = xp.where(is_inside, xp.sum(triangle, axis=1), np.inf)
    return (triangle / total[:, None]).astype(np.float32)


def _order_statistics(values: jax.Array, places: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The values (P,) at ``places`` (P,) in the order of ``values`` (n,), and the next after each.

    Found bit by bit, by counting: on a CPU 20 times as fast as sorting them all.
    """
    sign = np.uint32(1 << 31)
    bits = lax.bitcast_convert_type(values, jnp.uint32)
    keys = jnp.where(bits < sign, bits | sign, ~bits)[:, None]  # in the order of the values

    def with_next_bit(turn: jax.Array, found: jax.Array) -> jax.Array:
        larger = found | (sign >> turn.astype(jnp.uint32))
        return jnp.where(jnp.sum(keys < larger, axis=0) <= places, larger, found)

    found = lax.fori_loop(0, 32, with_next_bit, jnp.zeros(len(places), jnp.uint32))
    above = jnp.min(jnp.where(keys > found, keys, ~np.uint32(0)), axis=0)
    is_next = (jnp.sum(keys <= found, axis=0) == places + 1) & (places + 1 < values.size)
    above = jnp.where(is_next, above, found)
    back = (jnp.where(key >= sign, key ^ sign, ~key) for key in (found, above))
    lower, upper = (lax.bitcast_convert_type(key, jnp.float32) for key in back)
    return lower, upper
