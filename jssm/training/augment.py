"""Random flips, rotation, translation, scale and looks, of one image with its mask and points.

All that moves is one affine map about the image's centre, applied in one resampling, so the points
and the mask move exactly with the image; looks are those of :mod:`jssm.training.looks`. Works
inside jit; batch with ``jax.vmap`` over keys and cases.
"""

import jax
import jax.numpy as jnp

from jssm.config import Augmentation
from jssm.shape import affine, order
from jssm.shape.masks import binarize
from jssm.training.looks import recolour


def augment(
    key: jax.Array,
    image: jax.Array,
    mask: jax.Array,
    points: jax.Array,
    *,
    options: Augmentation,
    closed: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A random view of one case: ``image`` (H, W) in [0, 1], ``mask`` (H, W), ``points`` (T, 2).

    The mask stays binary. After a mirror the points are numbered from the other basal end, or, of
    a ring (``closed``), the other way round, so that they run clockwise in every image, as they do
    in every data set.
    """
    place, colour = jax.random.split(key)
    theta = random_map(place, image.shape, options=options)
    source = affine.invert(theta)
    mirrored = jnp.linalg.det(theta[:, :2]) < 0
    moved = affine.apply(theta, points)
    # Side by side, as one gather takes little longer for both than for one.
    both = jnp.stack([image, mask], axis=-1)
    both = jax.vmap(lambda x: affine.resample(x, source, image.shape), -1, -1)(both)
    label = binarize(both[..., 1]).astype(jnp.float32)
    return (
        recolour(colour, both[..., 0], label, options),
        label,
        jnp.where(mirrored, order.reversed_order(moved, closed=closed), moved),
    )


def random_map(key: jax.Array, shape: tuple[int, ...], *, options: Augmentation) -> jax.Array:
    """A random pixel map (2, 3) about the centre of an image of ``shape`` (H, W)."""
    height, width = shape
    keys = jax.random.split(key, 6)
    angle = jnp.deg2rad(_uniform(keys[0], options.rotation_degrees))
    scale = jnp.exp(_uniform(keys[1], options.log_scale))
    shift = _uniform(keys[2], options.translation, (2,)) * jnp.array([width, height])
    flip_x = _sign(keys[3], options.flip_left_right)
    flip_y = _sign(keys[4], options.flip_up_down)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, -sin], [sin, cos]])
    stretch = jnp.exp(_uniform(keys[5], options.log_aspect) / 2)
    linear = scale * rotation * jnp.array([flip_x * stretch, flip_y / stretch])
    center = jnp.array([(width - 1) / 2, (height - 1) / 2])
    return affine.about(center, linear, shift)


def _uniform(key: jax.Array, limit: float, shape: tuple[int, ...] = ()) -> jax.Array:
    return jax.random.uniform(key, shape, minval=-1, maxval=1) * limit


def _sign(key: jax.Array, wanted: bool) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key) & wanted, -1.0, 1.0)
