"""Evidence from every pixel, shape from the model, in one network trained as one.

The network is that of ``networks.evidence``. Its maps learn from masks and points, its landmarks
and moves from points, and the whole by where the points come to lie and by their mask.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jssm.config import Config
from jssm.methods import losses
from jssm.methods import model as models
from jssm.methods.method import AXIS, Method
from jssm.methods.model import Model, predict_prepared
from jssm.networks import feature_search, heatmaps
from jssm.networks.dense import LANDMARK_STRIDE, to_map
from jssm.networks.evidence import SIGMA_PX, EvidenceNetwork, half_profile
from jssm.networks.feature_search import Moves
from jssm.rasterizer import rasterize
from jssm.shape import affine, labels, order, placing
from jssm.shape.masks import binarize
from jssm.shape.pose import Pose, decode
from jssm.shape.shape_model import ShapeModel

JITTER = 0.05  # RMS radii: how far training puts the first pose beside the landmarks' one
LANDMARK_WEIGHT, MOVES_WEIGHT = 0.1, 0.03  # of their losses, in the sum


def network_from(config: Config) -> EvidenceNetwork:
    """The network of these settings."""
    options = config.model
    return EvidenceNetwork(
        depth=options.depth,
        width=options.width,
        searches=options.searches,
        dtype=jnp.bfloat16 if options.bfloat16 else jnp.float32,
        encoder=options.encoder,
    )


def model_from(config: Config, weights: dict[str, Any]) -> Model:
    """The model of these settings with these arrays."""
    return models.from_weights(network_from(config), config, weights)


def method_from(config: Config, constants: dict[str, Any]) -> Method:
    """The method of these settings with these constants."""
    return method(model_from(config, {"variables": {}, **constants}))


def method(model: Model) -> Method:
    """The three functions of this model's network and shape model; its weights are unused."""
    training = model.network.clone(axis_name=AXIS)

    def init(key: jax.Array) -> Any:
        images = jnp.zeros((1, model.size, model.size))
        return model.network.init(key, images, model.mean_theta, model.shape, train=False)

    return Method(
        init=init,
        loss=lambda variables, batch, key: loss(
            model.replace(variables=variables, network=training), batch, key
        ),
        predict=lambda variables, images: predict_prepared(
            model.replace(variables=variables), images
        ),
        learns_points=False,
    )


def shaken(key: jax.Array, batch: dict[str, jax.Array], axis_name: str | None) -> jax.Array:
    """How the first pose of each case is shaken (n, 2, 3), wherever it stands in the whole batch of
    all devices under the mapped axis ``axis_name``."""
    count = len(batch["image"])
    if axis_name is None:
        return JITTER * jax.random.normal(key, (count, 2, 3))
    whole = jax.random.normal(key, (count * lax.axis_size(axis_name), 2, 3))
    return JITTER * whole[batch["place"]]


def loss(
    model: Model, batch: dict[str, jax.Array], key: jax.Array
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    """Everything at once: the maps, the landmarks, each search and its fit, the last mask.

    ``batch`` is as in :func:`jssm.methods.regression.loss`, and has place (N,), where each case
    stands in the whole batch of all devices, where the network has a mapped axis. The maps, the
    landmarks and the moves learn from the cases that have all points, and what is cavity also from
    those of which only that is drawn. Gives the loss and, beside it, its terms and the new batch
    statistics.
    """
    axis_name = model.network.axis_name
    seen, changed = model.network.apply(
        model.variables,
        batch["image"],
        model.shape,
        shaken(key, batch, axis_name),
        train=True,
        mutable=["batch_stats"],
        method="observe",
    )
    shape_hw, covers, closed = batch["mask"].shape[1:], batch["covers"], model.shape.closed
    has_points = jnp.all(jnp.isfinite(batch["points"]), axis=(1, 2))
    true = jnp.where(has_points[:, None, None], batch["points"], 0.0)

    def over(values: jax.Array, counted: jax.Array) -> jax.Array:
        return losses.mean_over(values, counted, axis_name)

    has_wall = has_points & (covers == labels.MYOCARDIUM)
    of_maps = jax.vmap(partial(map_loss, closed=closed))
    maps = over(of_maps(seen.maps.classes, batch["mask"], true), has_wall)
    cavities = over(
        jax.vmap(cavity_loss)(seen.maps.classes, batch["mask"]), covers == labels.CAVITY
    )
    of_marks = jax.vmap(partial(landmark_loss, closed=closed))
    marks = over(of_marks(seen.maps.landmarks, true), has_points)

    def points_and_loss(pose: Pose) -> tuple[jax.Array, jax.Array]:
        points = jax.vmap(decode, (None, 0))(model.shape, pose)[2]
        each = jax.vmap(lambda p, t: losses.point_loss(p, t, shape_hw))(points, true)
        return points, over(each, has_points)

    points, last = points_and_loss(seen.poses[0])
    moves_term = points_term = jnp.zeros(())
    for k, moves in enumerate(seen.moves):
        terms = jax.vmap(search_loss, (None, 0, 0, 0, None))(
            model.shape, lax.stop_gradient(seen.poses[k]), moves, true, half_profile(k)
        )
        moves_term += over(terms, has_points)
        points, last = points_and_loss(seen.poses[k + 1])
        points_term += last
    strips = jax.vmap(partial(labels.covered_strip, closed=closed))(points, covers)
    masks = jax.vmap(lambda p: rasterize(p, shape_hw, tau=model.tau, closed=closed))(strips)
    mask_term = over(jax.vmap(losses.dice_loss)(masks, batch["mask"]), covers != labels.NONE)
    total = (
        maps
        + cavities
        + LANDMARK_WEIGHT * marks
        + MOVES_WEIGHT * moves_term
        + batch["point_weight"] * points_term
        + batch["mask_weight"] * mask_term
    )
    metrics = {
        "loss": total,
        "maps_loss": maps,
        "cavities_loss": cavities,
        "landmarks_loss": marks,
        "moves_loss": moves_term,
        "points_loss": last,
        "mask_loss": mask_term,
    }
    return total, (metrics, changed["batch_stats"])


def map_loss(
    classes: jax.Array, mask: jax.Array, points: jax.Array, *, closed: bool = False
) -> jax.Array:
    """Cross-entropy and soft Dice of wall and cavity, of logits (H, W, 3).

    The wall is the ``mask`` (H, W); the cavity is what the inner ``points`` (T, 2) enclose.
    """
    wall, strip = binarize(mask), points[order.cavity_strip(points.shape[0], closed=closed)]
    cavity = binarize(rasterize(strip, mask.shape, closed=closed)) & ~wall
    true = jnp.stack([~wall & ~cavity, wall, cavity], axis=-1).astype(jnp.float32)
    entropy = jnp.mean(optax.softmax_cross_entropy(classes, true))
    chances = jax.nn.softmax(classes)
    dice = jax.vmap(losses.dice_loss, (-1, -1))(chances[..., 1:], true[..., 1:])
    return entropy + jnp.mean(dice)


def cavity_loss(classes: jax.Array, mask: jax.Array) -> jax.Array:
    """Cross-entropy and soft Dice of the cavity, the ``mask`` (H, W), of logits (H, W, 3).

    Whether the rest is wall does not matter.
    """
    odds = classes[..., 2] - jax.nn.logsumexp(classes[..., :2], axis=-1)
    entropy = jnp.mean(optax.sigmoid_binary_cross_entropy(odds, mask))
    return entropy + losses.dice_loss(jax.nn.sigmoid(odds), mask)


def landmark_loss(maps: jax.Array, points: jax.Array, *, closed: bool = False) -> jax.Array:
    """The divergence of the landmarks' maps (h, w, 3) from where ``points`` (T, 2) have them."""
    places = to_map(placing.middles(points, closed=closed), LANDMARK_STRIDE)
    return heatmaps.loss(
        maps, heatmaps.targets(places, (maps.shape[0], maps.shape[1]), sigma_px=SIGMA_PX)
    )


def search_loss(
    shape: ShapeModel, pose: Pose, moves: Moves, true: jax.Array, reach: float
) -> jax.Array:
    """The mean negative log-likelihood, but for a constant, of moves that from this pose take the
    points to ``true`` (T, 2) px.

    Points farther off than ``reach``, which the search cannot see, do not count.
    """
    canonical = decode(shape, pose)[1]
    offset = affine.apply(affine.invert(pose.theta), true) - canonical
    wanted = jnp.einsum("tad,td->ta", feature_search.frames(canonical), offset)
    known = jnp.all(jnp.abs(wanted) < reach, axis=1)
    wanted = jnp.where(known[:, None], wanted, 0.0)
    each = (moves.means - wanted) ** 2 / moves.variances + jnp.log(moves.variances)
    return losses.mean_over(jnp.mean(each, axis=1) / 2, known)
