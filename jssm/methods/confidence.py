"""The Dice to be expected of a prediction, from what tells a good pose from a bad one.

The cues of a network (:mod:`jssm.networks.cues`) are brought together by a logistic regression,
learned on held-out patients by ``jssm calibrate``.
"""

import jax
import jax.numpy as jnp
from flax import struct

FARTHEST = 4.0  # deviations: a cue beyond tells no more than one as far as that


class Confidence(struct.PyTreeNode):
    """What a model has learned of its own failures; C cues.

    center, scale: (C,), mean and deviation of the cues. weights: (C,), of the cues in these units.
    bias: (). least: (), the confidence below which a frame is refused.
    """

    center: jax.Array
    scale: jax.Array
    weights: jax.Array
    bias: jax.Array
    least: jax.Array


def expected_dice(confidence: Confidence, cues: jax.Array) -> jax.Array:
    """The Dice (...) in [0, 1] to be expected where ``cues`` (..., C) were seen; 0 where one of
    them is not finite."""
    finite = jnp.all(jnp.isfinite(cues), axis=-1)
    units = standardized(jnp.where(finite[..., None], cues, 0.0), confidence)
    return jnp.where(finite, jax.nn.sigmoid(units @ confidence.weights + confidence.bias), 0.0)


def standardized(cues: jax.Array, confidence: Confidence) -> jax.Array:
    """The cues (..., C) in deviations from their means, cut off at :data:`FARTHEST`."""
    return jnp.clip((cues - confidence.center) / confidence.scale, -FARTHEST, FARTHEST)
