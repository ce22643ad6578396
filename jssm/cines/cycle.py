"""One fit for a whole heart cycle: what a frame does not show, its neighbours in time do.

The poses of all frames, θ and the unbounded mode weights, follow a smooth curve: the first
harmonics of the cycle, found by least squares in which a frame weighs by how far it is to be
trusted. A frame that lies far from the curve weighs less (Student's t, by reweighting), so that a
bad one is outvoted by its neighbours instead of ruling end-diastole.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jssm import image_path
from jssm.cines.options import HARMONICS
from jssm.methods.model import Model, Prediction, confidence_of, poses_in, prediction_of
from jssm.shape.pose import Pose, decode
from jssm.shape.shape_model import ShapeModel

ROUNDS = 4  # of reweighting
USUAL = 3.0  # medians of the frames' distances: one that lies as far counts half
ROUGHNESS = 1e-5  # keeps the curve smooth, and known where few frames are used


@partial(jax.jit, static_argnames=("harmonics", "periodic"))
def predict_cine(
    model: Model,
    frames: jax.Array,
    *,
    harmonics: int = HARMONICS,
    periodic: bool = True,
    aspect: jax.Array | None = None,
    least_confidence: jax.Array | float | None = None,
) -> Prediction:
    """Segment all ``frames`` (F, H, W) of one cine together.

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
    fitted = fit_cycle(model.shape, pose, used, harmonics=harmonics, periodic=periodic)
    return prediction_of(model, fitted, frames.shape[1:])


@partial(jax.jit, static_argnames=("harmonics", "periodic"))
def fit_cycle(
    shape: ShapeModel,
    pose: Pose,
    used: jax.Array,
    *,
    count: ArrayLike | None = None,
    harmonics: int = HARMONICS,
    periodic: bool = True,
) -> Pose:
    """The poses (leading axis F) of a smooth curve through those that are ``used`` (F,).

    ``harmonics`` of the cycle are kept, besides the mean. ``periodic``: the last frame is followed
    by the first; else the curve's ends are free, and as many waves are kept. Where no frame is
    used, the poses stay; what tells how sure a pose is (factor, cues) always does. count: how many
    of the F are frames; what comes after them is not to be ``used``, and one program serves cines
    of many lengths.
    """
    length = len(used)
    count = jnp.asarray(length if count is None else count)
    flat = jnp.concatenate([pose.theta.reshape(length, 6), pose.latent], axis=1)
    basis, order = _waves(length, count, harmonics, periodic)
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


def _waves(
    length: int, count: jax.Array, harmonics: int, periodic: bool
) -> tuple[jax.Array, jax.Array]:
    """The mean and the waves over ``count`` frames, and how often each goes round: (F, 1 + 2 H) and
    (1 + 2 H,). Cosines and sines of the cycle, or cosines of halves of it, whose ends are free.
    Of waves that few frames cannot tell apart, the fit takes the slowest, as the smoothest."""
    frame = jnp.arange(length)[:, None]
    if periodic:
        rounds = jnp.repeat(jnp.arange(1.0, harmonics + 1), 2)
        angle = 2 * jnp.pi * frame * rounds / count
        waves = jnp.where(jnp.arange(2 * harmonics) % 2, jnp.sin(angle), jnp.cos(angle))
    else:
        rounds = jnp.arange(1.0, 2 * harmonics + 1) / 2
        waves = jnp.cos(2 * jnp.pi * (frame + 0.5) * rounds / count)
    return jnp.pad(waves, ((0, 0), (1, 0)), constant_values=1.0), jnp.pad(rounds, (1, 0))
