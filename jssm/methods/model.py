"""A network with its weights and its shape model, and what it sees in images (Eq. 3, 4 and 8)."""

import hashlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from jssm import image_path
from jssm.config import Config
from jssm.methods.confidence import Confidence, expected_dice
from jssm.rasterizer import rasterize_whole
from jssm.shape import affine
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.pose import Pose, decode
from jssm.shape.shape_model import ShapeModel, arrays_of, from_arrays
from jssm.shape.uncertainty import covariances, spread_of


class Model(struct.PyTreeNode):
    """All that a prediction needs.

    variables: the Linen variables ``params`` and ``batch_stats``.
    shape: the shape model. mean_theta: (2, 3), the training set's mean θ.
    network: the Linen module; network(images, mean_theta, shape, train=...) gives poses, the last
    of which counts. size: the side of its square input, in pixels. tau: the softness of the mask,
    in pixels. temperature: (), what the covariance of a fit is multiplied by, found on held-out
    patients. confidence: what its cues say of the Dice to be expected, learned there too; None of a
    model that has not learned it.
    """

    variables: Any
    shape: ShapeModel
    mean_theta: jax.Array
    network: nn.Module = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)
    tau: float = struct.field(pytree_node=False, default=0.5)
    temperature: jax.Array | float = 1.0
    confidence: Confidence | None = None

    @property
    def least_confidence(self) -> jax.Array | float:
        """The confidence below which a frame is refused; 0 of a model that has not learned it."""
        return 0.0 if self.confidence is None else self.confidence.least


class Prediction(struct.PyTreeNode):
    """What a model sees in N images of (H, W), in the pixels of those images.

    points: (N, T, 2) (Eq. 4). mask: (N, H, W) in [0, 1] (Eq. 8), a wall of at least about a pixel
    everywhere, so that it is one piece when cut at 0.5. theta: (N, 2, 3), from the
    canonical frame to the image. beta: (N, K), within ±3√λ. canonical_points: (N, T, 2) (Eq. 3).
    integrity: the certificate of each shape, (N,) in each field; ``integrity.ok`` sums it up.
    spread: (N, T, 2, 6 + K) px, how far the points may be off (:func:`jssm.uncertainty`); None of
    networks that do not tell. confidence: (N,) in [0, 1], the Dice to be expected; NaN of models
    that have not learned it. A frame below ``model.confidence.least`` is better refused.
    """

    points: jax.Array
    mask: jax.Array
    theta: jax.Array
    beta: jax.Array
    canonical_points: jax.Array
    integrity: Integrity
    spread: jax.Array | None
    confidence: jax.Array


@jax.jit
def predict(
    model: Model,
    images: jax.Array,
    *,
    aspect: jax.Array | None = None,
    window: jax.Array | None = None,
) -> Prediction:
    """Segment ``images`` (N, H, W), in any intensity units and of any size.

    They go the way of :mod:`jssm.image_path`: grey values are cut off at the 0.1 and 99.9
    percentiles; images of another size than the network's, or whose pixels are not square, are
    letterboxed to it, and the result is mapped back. Pixels that are not finite count as 0. Pure:
    works under jit, vmap, grad and pmap.

    aspect: height over width of the images' pixels (``affine.aspect_of`` their spacing); None for
    square ones. window: the grey values (2,) that are black and white in all of them, for frames of
    one cine (``image_path.grey_window``); None for each image's own.

    Raises:
      ValueError: when ``images`` is not three-dimensional.
    """
    images = image_path.check_images(images)
    return prediction_of(model, poses_in(model, images, aspect, window), images.shape[1:])


def poses_in(
    model: Model, images: jax.Array, aspect: jax.Array | None, window: jax.Array | None
) -> Pose:
    """The poses, with a leading axis N, in the pixels of ``images`` (N, H, W), which are float32
    and finite; the rest is as for :func:`predict`."""
    size = model.size
    ratio = 1.0 if aspect is None else jnp.asarray(aspect, jnp.float32)

    def prepared(image: jax.Array) -> jax.Array:
        of_image = image_path.grey_window(image) if window is None else window
        return image_path.fit(image_path.in_window(image, of_image), size, aspect=ratio)

    pose = pose_of(model, jax.vmap(prepared)(images))
    to_square = jnp.asarray(affine.letterbox(images.shape[1:], (size, size), aspect=ratio))
    return pose._replace(theta=_from_square(to_square, pose.theta))


def predict_prepared(model: Model, images: jax.Array) -> Prediction:
    """The same for ``images`` (N, S, S) in 0..1 that have gone the way already, as those of a data
    set; in their own pixels."""
    return prediction_of(model, pose_of(model, images), images.shape[1:])


def pose_of(model: Model, images: jax.Array) -> Pose:
    """Where ``images`` (N, S, S) in 0..1, on their way as above, show the heart: the poses, with a
    leading axis N, in the square's pixels."""
    poses: Any = model.network.apply(
        model.variables, images, model.mean_theta, model.shape, train=False
    )
    return poses[-1]


def weights_of(model: Model) -> dict[str, Any]:
    """The arrays of a model as nested dictionaries."""
    known = constants(model.shape, model.mean_theta)
    told = {} if model.confidence is None else {"confidence": dict(vars(model.confidence))}
    return {"variables": model.variables, **known, "temperature": model.temperature, **told}


def constants(shape: ShapeModel, mean_theta: jax.Array) -> dict[str, Any]:
    """What of these arrays the training set gives."""
    return {"shape": arrays_of(shape), "mean_theta": mean_theta}


def from_weights(network: nn.Module, config: Config, weights: dict[str, Any]) -> Model:
    """The model of a network and these settings with the arrays of :func:`weights_of`."""
    return Model(
        variables=weights["variables"],
        shape=from_arrays(weights["shape"]),
        mean_theta=weights["mean_theta"],
        network=network,
        size=config.model.size,
        tau=config.model.tau,
        temperature=weights.get("temperature", 1.0),
        confidence=Confidence(**weights["confidence"]) if "confidence" in weights else None,
    )


def digest(model: Model) -> str:
    """The SHA-256 of all arrays of a model, which tells models apart."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        total.update(np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest()


def _from_square(to_square: jax.Array, theta: jax.Array) -> jax.Array:
    return affine.compose(affine.invert(to_square), theta)


def prediction_of(model: Model, pose: Pose, shape: tuple[int, ...]) -> Prediction:
    """What poses (with a leading axis N) show in images of ``shape`` (H, W)."""
    beta, canonical, points = jax.vmap(decode, (None, 0))(model.shape, pose)
    closed = model.shape.closed
    mask = jax.vmap(lambda p: rasterize_whole(p, shape, tau=model.tau, closed=closed))(points)
    spread = None
    if pose.factor is not None:
        factor = jax.vmap(spread_of, (None, 0))(model.shape, pose)
        spread = jnp.sqrt(model.temperature) * factor
    certificate = jax.vmap(partial(integrity, closed=closed))(points)
    sure = confidence_of(model, pose)
    return Prediction(points, mask, pose.theta, beta, canonical, certificate, spread, sure)


def confidence_of(model: Model, pose: Pose) -> jax.Array:
    """The Dice (N,) to be expected of poses with a leading axis N; NaN where the network has no
    cues or the model has not learned to read them."""
    if model.confidence is None or pose.cues is None:
        return jnp.full(pose.theta.shape[0], jnp.nan)  # len() fails of the unknown N of an export
    return expected_dice(model.confidence, pose.cues)


@jax.jit
def uncertainty(prediction: Prediction) -> jax.Array:
    """The covariance (N, T, 2, 2) of each predicted point about the true one, in px².

    By the posterior of the fit; 95 % of the true points are to lie in the ellipses of 5.99 times
    it. NaN of networks that do not tell.
    """
    if prediction.spread is None:
        return jnp.full((*prediction.points.shape, 2), jnp.nan)
    return covariances(prediction.spread)
