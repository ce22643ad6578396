"""Random looks of an image: what it would be with another scanner, contrast, or body around.

A network that is to work on scans that it has not seen learns from looks far wider than any
scanner's. Each function takes a key and one image (H, W), and works inside jit.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jssm.config import Augmentation
from jssm.image_path import standardized

SHADES = 4  # rows and columns of a gain, before it is interpolated
PIECES = 8  # of a random curve of grey values
LAYERS, CHANNELS = 4, 2  # of random convolutions
LEAK = 0.2  # slope of their rectifier below 0
PATCHES = (4, 16)  # rows and columns of the fields of patches, before they are interpolated
GREYS = 10  # that patches may have
ROUGHNESS = 0.1  # of the border to them, as the deviation of the logarithm of its distance
BLACK_SHARE = 0.3  # of the surroundings that are black instead
CLEAR = (1.15, 2.2)  # of the label's reach from its centre, within which its surroundings stay


def recolour(
    key: jax.Array, image: jax.Array, label: jax.Array, options: Augmentation
) -> jax.Array:
    """A random look of ``image`` (H, W) in [0, 1], whose ``label`` (H, W) says where the heart is.

    From the body to the scanner: surroundings, contrasts, gain, sharpness, noise.
    """
    gamma_key, noise_key, shade_key, blur_key = jax.random.split(key, 4)
    around_key, curve_key, convolution_key = jax.random.split(jax.random.fold_in(key, 1), 3)
    if options.surroundings:
        image = _in_share(around_key, options.surroundings, resurrounded, image, label)
    if options.curves:
        image = _in_share(curve_key, options.curves, curved, image)
    if options.contrast:
        gamma = jnp.exp(options.contrast * jax.random.uniform(gamma_key, minval=-1, maxval=1))
        image = jnp.exp(gamma * jnp.log(jnp.maximum(image, 1e-6)))  # which vectorizes; ** does not
    if options.convolutions:
        image = _in_share(convolution_key, options.convolutions, convolved, image)
    if options.shading:
        coarse = options.shading * jax.random.normal(shade_key, (SHADES, SHADES))
        image = image * jnp.exp(jax.image.resize(coarse, image.shape, "cubic"))
    if options.blur_px:
        sigma_px = options.blur_px * jax.random.uniform(blur_key)
        image = blurred(image, sigma_px, options.blur_px)
    if options.noise:
        noise = jax.random.normal(noise_key, image.shape)
        image = image + options.noise * jnp.std(image) * noise
    return image


def curved(key: jax.Array, image: jax.Array) -> jax.Array:
    """The grey values in [0, 1] through a random rising curve.

    As the Bézier curves of SLAug (Su et al., "Rethinking data augmentation for single-source domain
    generalization in medical image segmentation", AAAI 2023), but in :data:`PIECES` straight
    pieces of random slopes.
    """
    rises = jax.random.exponential(key, (PIECES,))
    rises = rises / jnp.sum(rises)
    reached = [rise * jnp.clip(image * PIECES - k, 0, 1) for k, rise in enumerate(rises)]
    return sum(reached[1:], reached[0])


def convolved(key: jax.Array, image: jax.Array) -> jax.Array:
    """The image blended with itself through small random convolutions; mean and deviation stay.

    GIN (Ouyang et al., "Causality-inspired single-source domain generalization for medical image
    segmentation", IEEE TMI 42, 2023): :data:`LAYERS` layers of :data:`CHANNELS` channels, each with
    kernels of 1×1 or 3×3 and a leaky rectifier; the blend is uniform.
    """
    keys = jax.random.split(key, LAYERS + 1)
    mean, deviation = jnp.mean(image), jnp.std(image)
    before = standardized(image)
    channels = before[None]
    for layer in range(LAYERS):
        if layer > 0:
            channels = jnp.where(channels > 0, channels, LEAK * channels)
        out = CHANNELS if layer < LAYERS - 1 else 1
        channels = _random_convolution(keys[layer], channels, out)
    after = standardized(channels[0])
    after = after * jnp.sign(jnp.sum(before * after))  # what is bright stays bright on the whole
    share = jax.random.uniform(keys[-1])
    blend = share * before + (1 - share) * after
    return mean + deviation * standardized(blend)


def _random_convolution(key: jax.Array, channels: jax.Array, out: int) -> jax.Array:
    """Channels (C, H, W) through a random convolution to (out, H, W), the border held."""
    kernel_key, shift_key, small_key = jax.random.split(key, 3)
    kernel = jax.random.normal(kernel_key, (out, len(channels), 3, 3))
    pointwise = jnp.zeros((3, 3)).at[1, 1].set(1.0)
    kernel = kernel * jnp.where(jax.random.bernoulli(small_key), pointwise, 1.0)
    shift = jax.random.normal(shift_key, (out, 1))
    height, width = channels.shape[1:]
    padded = jnp.pad(channels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    # A product with shifted images: one per case of a batch, which a convolution does slowly.
    shifted = jnp.stack(
        [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=1
    )
    flat = kernel.reshape(out, -1) @ shifted.reshape(-1, height * width) + shift
    return flat.reshape(out, height, width)


def resurrounded(key: jax.Array, image: jax.Array, label: jax.Array) -> jax.Array:
    """What lies well beyond the ``label`` (H, W) black or replaced by random patches.

    The border is a rough circle about the label's centre. Without a label nothing changes.
    """
    reach_key, edge_key, patch_key, black_key = jax.random.split(key, 4)
    rows, columns = jnp.mgrid[: image.shape[0], : image.shape[1]].astype(jnp.float32)
    area = jnp.maximum(jnp.sum(label), 1.0)
    row, column = jnp.sum(label * rows) / area, jnp.sum(label * columns) / area
    distance = jnp.hypot(rows - row, columns - column)
    low, high = CLEAR
    reach = jax.random.uniform(reach_key, minval=low, maxval=high) * jnp.max(label * distance)
    rough = jax.image.resize(jax.random.normal(edge_key, (8, 8)), image.shape, "cubic")
    beyond = (distance > reach * jnp.exp(ROUGHNESS * rough)) & (label <= 0) & (reach > 0)
    is_black = jax.random.bernoulli(black_key, BLACK_SHARE)
    return jnp.where(beyond, jnp.where(is_black, 0.0, _patches(patch_key, image.shape)), image)


def _patches(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A smooth random field cut into patches of a grey each, (H, W) in [0, 1]."""
    coarse_key, fine_key, greys_key, mix_key = jax.random.split(key, 4)
    coarse, fine = (
        jax.image.resize(jax.random.normal(k, (side, side)), shape, "cubic")
        for k, side in zip((coarse_key, fine_key), PATCHES, strict=True)
    )
    field = coarse + jax.random.uniform(mix_key, maxval=0.5) * fine
    level = jnp.clip((GREYS * (0.5 + 0.25 * field)).astype(jnp.int32), 0, GREYS - 1)
    return jax.random.uniform(greys_key, (GREYS,))[level]


def _in_share(
    key: jax.Array, share: float, change: Callable, image: jax.Array, *rest: jax.Array
) -> jax.Array:
    """``change(key, image, *rest)`` in this ``share`` of the cases, else the image as it is."""
    which_key, key = jax.random.split(key)
    return jnp.where(jax.random.bernoulli(which_key, share), change(key, image, *rest), image)


def blurred(image: jax.Array, sigma_px: jax.Array, most_px: float) -> jax.Array:
    """The image (H, W) under a Gaussian of ``sigma_px``, at most ``most_px``, its border held."""
    reach = math.ceil(2 * most_px)
    taps = jnp.exp(-(jnp.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2 + 1e-6))
    taps /= jnp.sum(taps)
    for _ in range(2):  # along the rows, then along the columns
        padded = jnp.pad(image, ((reach, reach), (0, 0)), mode="edge")
        shifted = [taps[k] * padded[k : k + len(image)] for k in range(2 * reach + 1)]
        image = sum(shifted[1:], shifted[0]).T
    return image
