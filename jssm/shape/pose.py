"""What places and bends one shape: θ and mode weights, and the points that they give (Eq. 3, 4)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jssm.shape import affine
from jssm.shape.shape_model import ShapeModel


class Pose(NamedTuple):
    """What places one shape: theta (2, 3) and the unbounded mode weights ``latent`` (K,).

    factor: (6 + K, 6 + K), where a fit found the pose: the lower Cholesky factor of the inverse of
    the posterior covariance of a small change of it, of the affine map (by rows, in the canonical
    frame), then of latent. cues: (C,), of a network that has them, what tells how far to trust it
    (``networks.cues``).
    """

    theta: jax.Array
    latent: jax.Array
    factor: jax.Array | None = None
    cues: jax.Array | None = None


def moved(pose: Pose, place: jax.Array, latent: jax.Array) -> Pose:
    """The pose after a change: ``place`` (2, 3), added to the identity, is an affine map in the
    canonical frame, ``latent`` (K,) is added to the weights. Any leading axes."""
    theta = affine.compose(pose.theta, jnp.eye(2, 3) + place)
    return Pose(theta, pose.latent + latent)


def decode(shape: ShapeModel, pose: Pose) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The mode weights (K,), canonical points (T, 2) and image points (T, 2) of one pose.

    The weights are 3√λ·tanh(latent): smooth, and never beyond ±3√λ.
    """
    beta = shape.limits * jnp.tanh(pose.latent)
    canonical = shape.deform(beta)
    return beta, canonical, affine.apply(pose.theta, canonical)
