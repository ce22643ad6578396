"""One fit for a whole heart cycle: what a frame does not show, its neighbours in time do.

The poses of all frames, θ and the unbounded mode weights, follow a periodic curve: the first
harmonics of the cycle, found by least squares in which a frame weighs by how far it is to be
trusted. A frame that lies far from the curve weighs less (Student's t, by reweighting), so that a
bad one is outvoted by its neighbours instead of ruling end-diastole.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jssm import image_path
from jssm.methods.model import Model, Prediction, confidence_of, poses_in, prediction_of
from jssm.shape.pose import Pose, decode
from jssm.shape.shape_model import ShapeModel

ROUNDS = 4  # of reweighting
USUAL = 3.0  # medians of the frames' distances: one that lies as far counts half
ROUGHNESS = 1e-5  # keeps the curve smooth, and known where few frames are used


@partial(jax.jit, static_argnames="harmonics")
def predict_cine(
    model: Model,
    frames: jax.Array,
    *,
    harmonics: int = 4,
    aspect: jax.Array | None = None,
    least_confidence: jax.Array | float | None = None,
) -> Prediction:
    """Segment all ``frames`` (F, H, W) of one heart cycle together, the last followed by the first.

    As :func:`jssm.predict`, but points, masks and poses are those of a curve through all frames
    (:func:`fit_cycle`); ``spread`` and ``confidence`` are as sure as each frame alone. Frames below
    ``least_confidence``, by default what the model has learned, take no part in the curve, and have
    their points from it. Pure and differentiable.

    Raises:
      ValueError: when ``frames`` is not three-dimensional.
    """
    frames = image_path.check_images(frames)
    pose = poses_in(model, frames, aspect, image_path.grey_window(frames))
    least = model.least_confidence if least_confidence is None else least_confidence
    used = ~(confidence_of(model, pose) < least)
    fitted = fit_cycle(model.shape, pose, used, harmonics=harmonics)
    return prediction_of(model, fitted, frames.shape[1:])


@partial(jax.jit, static_argnames="harmonics")
def fit_cycle(shape: ShapeModel, pose: Pose, used: jax.Array, *, harmonics: int = 4) -> Pose:
    """The poses (leading axis F) of a periodic curve through those that are ``used`` (F,).

    ``harmonics`` of the cycle are kept, besides the mean. Where no frame is used, the poses stay;
    what tells how sure a pose is (factor, cues) always does.
    """
    count = len(used)
    flat = jnp.concatenate([pose.theta.reshape(count, 6), pose.latent], axis=1)
    basis, order = _waves(count, harmonics)
    smooth = ROUGHNESS * count * jnp.diag(order**4)
    points = jax.vmap(decode, (None, 0))(shape, pose)[2]
    known = jnp.where(used[:, None], flat, jnp.nan)
    curve = jnp.broadcast_to(jnp.nanmedian(known, axis=0), flat.shape)
    for _ in range(ROUNDS):
        fitted = jax.vmap(decode, (None, 0))(shape, _put(pose, curve))[2]
        away = jnp.sum((fitted - points) ** 2, axis=(1, 2))
        usual = USUAL**2 * jnp.nanmedian(jnp.where(used, away, jnp.nan))
        weighted = basis * (used / (1 + away / jnp.where(usual > 0, usual, 1.0)))[:, None]
        curve = basis @ jnp.linalg.solve(basis.T @ weighted + smooth, weighted.T @ flat)
    return _put(pose, jnp.where(jnp.any(used), curve, flat))


def _put(pose: Pose, flat: jax.Array) -> Pose:
    """The poses with θ and latent of these rows (F, 6 + K), θ by rows."""
    return pose._replace(theta=flat[:, :6].reshape(-1, 2, 3), latent=flat[:, 6:])


def _waves(count: int, harmonics: int) -> tuple[jax.Array, jax.Array]:
    """The mean, cosines and sines over ``count`` frames (F, 1 + 2 H), and the order of each; no
    more harmonics than these frames can tell apart."""
    most = min(harmonics, (count - 1) // 2)
    angle = 2 * jnp.pi * jnp.arange(count)[:, None] * jnp.arange(1, most + 1) / count
    basis = jnp.concatenate([jnp.ones((count, 1)), jnp.cos(angle), jnp.sin(angle)], axis=1)
    orders = jnp.arange(1, most + 1, dtype=jnp.float32)
    return basis, jnp.concatenate([jnp.zeros(1), orders, orders])
