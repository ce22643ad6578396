"""The method of the paper: a network learns θ and β by the points and the mask (Eq. 10)."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from jssm.config import Config
from jssm.methods import losses
from jssm.methods import model as models
from jssm.methods.method import AXIS, Method
from jssm.methods.model import Model, predict_prepared
from jssm.networks.cascade import Cascade
from jssm.rasterizer import rasterize
from jssm.shape import labels
from jssm.shape.pose import decode

if TYPE_CHECKING:
    from jssm.dataset import Dataset


def network_from(config: Config) -> Cascade:
    """The network of these settings."""
    options = config.model
    return Cascade(
        num_modes=options.num_modes,
        depth=options.depth,
        width=options.width,
        locate_size=options.locate_size,
        refinements=options.refinements,
        searches=options.searches,
        view_size=options.view_size,
        dtype=jnp.bfloat16 if options.bfloat16 else jnp.float32,
    )


def constants(config: Config, data: "Dataset") -> dict[str, Any]:
    """The shape model, with as many modes as the settings say, and the mean θ."""
    shape = data.shape_model.truncate(config.model.num_modes)
    return models.constants(shape, jnp.asarray(data.mean_theta()))


def model_from(config: Config, weights: dict[str, Any]) -> Model:
    """The model of these settings with these arrays."""
    return models.from_weights(network_from(config), config, weights)


def method_from(config: Config, constants: dict[str, Any]) -> Method:
    """The method of these settings with these constants."""
    return method(model_from(config, {"variables": {}, **constants}))


def method(model: Model) -> Method:
    """The three functions of this model's network, shape model and mean θ; its weights are unused.

    The key of ``loss`` is unused: nothing in the network is random.
    """
    training = model.network.clone(axis_name=AXIS)

    def init(key: jax.Array) -> Any:
        images = jnp.zeros((1, model.size, model.size))
        return model.network.init(key, images, model.mean_theta, model.shape, train=False)

    return Method(
        init=init,
        loss=lambda variables, batch, key: loss(
            model.replace(variables=variables, network=training), batch
        ),
        predict=lambda variables, images: predict_prepared(
            model.replace(variables=variables), images
        ),
    )


def loss(
    model: Model, batch: dict[str, jax.Array]
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    """Eq. 10 over a batch; in a cascade every stage has a point loss, the last one the mask's.

    ``batch`` has image (N, S, S), mask (N, S, S), points (N, T, 2), covers (N,) (the codes of
    :mod:`jssm.shape.labels`) and the scalar weights point_weight and mask_weight (δ). Where a label
    covers the cavity, the mask loss compares it with the polygon of the inner points, closed at
    the base; points that are NaN do not count. Each term is a mean over the cases that have it.
    Gives the loss and, beside it, the last stage's metrics and the new batch statistics. The mask
    is rendered only where its weight is not 0.
    """
    poses, new_stats = model.network.apply(
        model.variables,
        batch["image"],
        model.mean_theta,
        model.shape,
        train=True,
        mutable=["batch_stats"],
    )
    shape_hw = batch["mask"].shape[1:]
    axis_name, covers = model.network.axis_name, batch["covers"]
    closed = model.shape.closed
    has_points = jnp.any(jnp.isfinite(batch["points"]), axis=(1, 2))

    def of_points(points: jax.Array) -> jax.Array:
        each = jax.vmap(lambda p, true: losses.point_loss(p, true, shape_hw))
        return losses.mean_over(each(points, batch["points"]), has_points, axis_name)

    def of_mask(points: jax.Array) -> jax.Array:
        strips = jax.vmap(partial(labels.covered_strip, closed=closed))(points, covers)
        masks = jax.vmap(lambda p: rasterize(p, shape_hw, tau=model.tau, closed=closed))(strips)
        each = jax.vmap(losses.dice_loss)(masks, batch["mask"])
        return losses.mean_over(each, covers != labels.NONE, axis_name)

    clouds = [jax.vmap(decode, (None, 0))(model.shape, pose)[2] for pose in poses]
    mask_term = lax.cond(batch["mask_weight"] > 0, of_mask, lambda _: jnp.zeros(()), clouds[-1])
    total = batch["point_weight"] * sum(map(of_points, clouds)) + batch["mask_weight"] * mask_term
    point_term = of_points(clouds[-1])
    metrics = {"loss": total, "points_loss": point_term, "mask_loss": mask_term}
    return total, (metrics, new_stats["batch_stats"])
