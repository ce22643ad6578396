"""U-Net (Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation",
2015), with cross-entropy or the Dice loss (``baseline.loss``).

Ours differs from the original in 'same' convolutions with batch normalization and no dropout, in
one logit per pixel for the two classes, and in doing without the weights at borders between
touching cells.
"""

from functools import partial
from typing import Any

import jax
from flax import linen as nn

from jssm.config import Config
from jssm.methods import losses
from jssm.methods.baselines import segmenter
from jssm.methods.method import Method
from jssm.networks.unet import UNet


class Logits(nn.Module):
    """The U-Net with one map: images (N, H, W, 1) to logits (N, H, W)."""

    width: int
    dtype: Any
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The logits of the wall."""
        network = UNet(1, self.width, dtype=self.dtype, axis_name=self.axis_name, name="unet")
        return network(images, train=train)[..., 0]


def network_from(config: Config) -> Logits:
    """The network of these settings: ``model.width`` channels on the first of five levels."""
    return Logits(config.model.width, segmenter.dtype_of(config.model))


def case_loss(logits: jax.Array, true: jax.Array, epoch: jax.Array, *, kind: str) -> jax.Array:
    """The ``kind`` of loss, "cross_entropy" or "dice", of logits (H, W) and a mask (H, W)."""
    if kind == "dice":
        return losses.dice_loss(jax.nn.sigmoid(logits), true)
    return segmenter.cross_entropy(logits, true)


def method(config: Config, constants: dict[str, Any]) -> Method:
    """The three functions; there are no constants."""
    return segmenter.from_network(
        network_from(config),
        size=config.model.size,
        case_loss=partial(case_loss, kind=config.baseline.loss),
        masks_of=segmenter.masks_of_logits,
    )
