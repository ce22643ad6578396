"""Contour: the U-Net with the active-contour loss (Chen et al., "Learning active contour models
for medical image segmentation", 2019), after some epochs of cross-entropy, as its authors advise.

Means, ε and the weights λ and μ, both 1 where the settings do not say otherwise, are those of the
authors' code. It takes the length's two differences at pixels diagonally apart, ours at the same
one. How long to pretrain, 10 epochs, is our choice.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jssm.config import BaselineConfig, Config
from jssm.methods.baselines import pixelwise, segmenter
from jssm.methods.method import Method

EPSILON = 1e-8  # under the root, so that it has a derivative where the mask is flat


def length(mask: jax.Array) -> jax.Array:
    """Mean √(δx² + δy² + ε) of a mask (H, W): its outline's length in px per pixel.

    δx and δy lead from each pixel to its right and its lower neighbour; the last row and column
    have none and do not count.
    """
    right = mask[:-1, 1:] - mask[:-1, :-1]
    down = mask[1:, :-1] - mask[:-1, :-1]
    return jnp.mean(jnp.sqrt(right**2 + down**2 + EPSILON))


def region(mask: jax.Array, true: jax.Array, *, inside_weight: float) -> jax.Array:
    """μ·mean(u(v − 1)²) + mean((1 − u)v²), u the ``mask`` (H, W), v the ``true`` one, μ the weight.

    With v of 0 and 1: what u has too much, times μ, and what it lacks, as shares of the image.
    """
    return inside_weight * jnp.mean(mask * (true - 1) ** 2) + jnp.mean((1 - mask) * true**2)


def contour_loss(mask: jax.Array, true: jax.Array, *, options: BaselineConfig) -> jax.Array:
    """Length plus λ times region of a predicted ``mask`` (H, W) and the ``true`` one."""
    within = region(mask, true, inside_weight=options.inside_weight)
    return length(mask) + options.region_weight * within


def case_loss(
    logits: jax.Array, true: jax.Array, epoch: jax.Array, *, options: BaselineConfig
) -> jax.Array:
    """The loss of logits (H, W): cross-entropy in the first ``pretrain_epochs``, then Contour's."""
    contour = contour_loss(jax.nn.sigmoid(logits), true, options=options)
    return jnp.where(
        epoch < options.pretrain_epochs, segmenter.cross_entropy(logits, true), contour
    )


def method(config: Config, constants: dict[str, Any]) -> Method:
    """The three functions; there are no constants."""
    return segmenter.from_network(
        pixelwise.network_from(config),
        size=config.model.size,
        case_loss=partial(case_loss, options=config.baseline),
        masks_of=segmenter.masks_of_logits,
    )
