"""How far the points of a prediction may be off, from the posterior of the fit that placed them.

The last fit of a shape weighs moves by their variances against the shape model as the prior; the
inverse of its normal matrix is the posterior covariance of θ and the mode weights (to first order,
as the model is linear near its optimum). A :class:`jssm.Prediction` carries it as a factor of the
points' own covariance: ``points − true ≈ spread @ z``, with z standard normal (Q,).
"""

import jax
import jax.numpy as jnp

from jssm.shape.pose import Pose, decode, moved
from jssm.shape.shape_model import ShapeModel


def spread_of(shape: ShapeModel, pose: Pose) -> jax.Array:
    """The factor (T, 2, 6 + K) px of the covariance of a pose's points.

    J L⁻ᵀ: the derivative J of the points by a change of the pose, and the pose's ``factor`` L.

    Raises:
      ValueError: when the pose was not found by a fit.
    """
    if pose.factor is None:
        raise ValueError("the pose has no factor: it was not found by a fit")

    def points(change: jax.Array) -> jax.Array:
        return decode(shape, moved(pose, change[:6].reshape(2, 3), change[6:]))[2]

    effects = jax.jacfwd(points)(jnp.zeros(6 + shape.num_modes))
    flat = effects.reshape(-1, effects.shape[-1])
    factor = jax.scipy.linalg.solve_triangular(pose.factor, flat.T, lower=True).T
    return factor.reshape(effects.shape)


@jax.jit
def covariances(spread: jax.Array) -> jax.Array:
    """The covariance (..., 2, 2) in px² of each point, of ``spread`` (..., 2, Q) px."""
    return jnp.einsum("...iq,...jq->...ij", spread, spread)


def deviations(spread: jax.Array) -> jax.Array:
    """The standard deviation (...) of each point along a direction, the root mean square over all
    directions, of ``spread`` (..., 2, Q); in its unit."""
    return (spread**2).sum(axis=(-2, -1)) ** 0.5 / 2**0.5
