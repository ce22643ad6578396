"""FCN-8s (Long et al., "Fully convolutional networks for semantic segmentation", 2015).

A VGG16 whose fully connected layers are convolutions, 1×1 scores of its last, fourth and third
stages, and their sums, widened by transposed convolutions: the two between the sums begin as
bilinear interpolation and are learned, the last one stays it. Ours differs from the original in
'same' convolutions with batch normalization in place of padding by 100 pixels, dropout and
pretrained weights, and in one logit per pixel for the two classes. It is trained at once, not by
way of FCN-32s and FCN-16s.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jssm.config import Config
from jssm.methods.baselines import segmenter
from jssm.methods.baselines.convolutions import Convolutions
from jssm.methods.method import Method
from jssm.networks.unet import halve, pad_to_multiple

STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))  # VGG16: convolutions, and widths of the first
HEAD = 64  # widths of the first stage in the two layers on top


class FCN8s(nn.Module):
    """Images (N, H, W, 1) to logits (N, H, W) float32.

    width: channels of the first stage, 64 in the original; the last two layers have 64 times as
    many. dtype, axis_name: of each :class:`jssm.methods.baselines.convolutions.Convolutions`.
    """

    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The logits of the wall. Sides that 32 does not divide are padded inside."""
        height, width = images.shape[1:3]
        block = partial(Convolutions, dtype=self.dtype, axis_name=self.axis_name)
        x = pad_to_multiple(images.astype(self.dtype), 2 ** len(STAGES))
        pools = []
        for count, widths in STAGES:
            x = halve(block(self.width * widths, count)(x, train=train))
            pools.append(x)
        for kernel in (7, 1):
            x = block(self.width * HEAD, 1, kernel)(x, train=train)
        logits = UpScore(2)(_score(x)) + _score(pools[3])
        logits = UpScore(2)(logits) + _score(pools[2])
        return widen(logits, jnp.asarray(bilinear(8)), 8)[:, :height, :width, 0]


class UpScore(nn.Module):
    """A map (N, H, W, 1) ``factor`` times as large, at first by bilinear interpolation."""

    factor: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The map (N, factor·H, factor·W, 1), as :func:`widen` gives it."""
        kernel = self.param("kernel", lambda key: jnp.asarray(bilinear(self.factor)))
        return widen(x, kernel, self.factor)


def widen(x: jax.Array, kernel: jax.Array, factor: int) -> jax.Array:
    """The transposed convolution of stride ``factor`` of a map (N, H, W, 1) with a ``kernel``.

    The result (N, factor·H, factor·W, 1) begins and ends half a pixel of ``x`` further out.
    """
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (factor, factor)
    return jax.lax.conv_transpose(x, kernel, strides, "SAME", dimension_numbers=layout)


def bilinear(factor: int) -> np.ndarray:
    """The kernel (2·factor, 2·factor, 1, 1) whose transposed convolution interpolates bilinearly.

    Pixel i of the widened map lies at (i + ½) / factor − ½ of the map.
    """
    distance = np.abs(np.arange(2 * factor) - factor + 0.5) / factor
    return np.outer(1 - distance, 1 - distance)[..., None, None].astype(np.float32)


def _score(x: jax.Array) -> jax.Array:
    """The 1×1 score of each place (N, H, W, 1), at first 0 as in the original."""
    return nn.Conv(1, (1, 1), kernel_init=nn.initializers.zeros)(x.astype(jnp.float32))


def network_from(config: Config) -> FCN8s:
    """The network of these settings, with ``model.width`` channels in the first stage."""
    return FCN8s(config.model.width, segmenter.dtype_of(config.model))


def method(config: Config, constants: dict[str, Any]) -> Method:
    """The three functions, with cross-entropy; there are no constants."""
    return segmenter.from_network(
        network_from(config),
        size=config.model.size,
        case_loss=lambda logits, true, epoch: segmenter.cross_entropy(logits, true),
        masks_of=segmenter.masks_of_logits,
    )
