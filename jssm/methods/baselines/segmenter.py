"""What the baselines share: from a network that labels pixels to the three functions of a method.

They learn from the cases whose label covers the whole wall; others weigh nothing, save that batch
statistics see their images.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jssm.config import ModelConfig
from jssm.image_path import standardized
from jssm.methods import losses
from jssm.methods.method import AXIS, Method
from jssm.shape import labels


class Segmentation(struct.PyTreeNode):
    """Masks (N, H, W) in [0, 1] of a method without points."""

    mask: jax.Array
    points: None = None


def dtype_of(options: ModelConfig) -> Any:
    """What the convolutions compute in."""
    return jnp.bfloat16 if options.bfloat16 else jnp.float32


def cross_entropy(logits: jax.Array, true: jax.Array) -> jax.Array:
    """The mean binary cross-entropy of logits (H, W) and a mask (H, W) of 0 and 1."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, true))


def from_network(
    network: nn.Module,
    *given: jax.Array,
    size: int,
    case_loss: Callable[[Any, jax.Array, jax.Array], jax.Array],
    masks_of: Callable[[Any], jax.Array],
) -> Method:
    """The method of a Linen ``network`` with the field ``axis_name`` and batch statistics.

    network(images, *given, train=...) maps normalized images (N, S, S, 1), and what else it is
    given, to outputs with a leading axis N. size: S. case_loss(outputs, mask, epoch) gives the loss
    of one case from its outputs, its true mask (S, S) and the number of the epoch, from 0.
    masks_of(outputs) gives the masks (N, S, S) in [0, 1]. The loss is a mean over the labelled
    cases of the batch, on all devices; 0 where there is none.
    """
    training = network.clone(axis_name=AXIS)

    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, size, size, 1)), *given, train=False)

    def loss(variables: Any, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Any]:
        outputs, changed = training.apply(
            variables, inputs(batch["image"]), *given, train=True, mutable=["batch_stats"]
        )
        each = jax.vmap(case_loss, (0, 0, None))(outputs, batch["mask"], batch["epoch"])
        total = losses.mean_over(each, batch["covers"] == labels.MYOCARDIUM, AXIS)
        return total, ({"loss": total}, changed["batch_stats"])

    def predict(variables: Any, images: jax.Array) -> Segmentation:
        outputs = network.apply(variables, inputs(images), *given, train=False)
        return Segmentation(masks_of(outputs))

    return Method(init, loss, predict, learns_points=False)


def masks_of_logits(logits: jax.Array) -> jax.Array:
    """Probabilities (N, H, W) of logits."""
    return jax.nn.sigmoid(logits)


def inputs(images: jax.Array) -> jax.Array:
    """Images (N, H, W) as networks take them: (N, H, W, 1), mean 0, standard deviation 1."""
    return jax.vmap(standardized)(images)[..., None]
