"""The landmark network (Appendix A) as a method: a U-Net that learns heat maps of three landmarks.

It does not segment: its points are the landmarks (N, 3, 2), in the order of ``heatmaps.NAMES``, and
it is judged by its loss on images as they are.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jssm.image_path import standardized
from jssm.methods.method import AXIS, Method
from jssm.networks import heatmaps
from jssm.networks.unet import UNet

NOTHING = 0.1  # the share of training images that are replaced by noise, which shows nothing


def method(*, size: int, width: int, levels: int, sigma_px: float) -> Method:
    """The functions of a U-Net of ``width`` and ``levels`` on images (N, S, S), S being ``size``.

    sigma_px: of the Gaussians that the maps learn. ``predict`` gives :class:`heatmaps.Landmarks`
    however sure the network is, in clockwise order or not at all.
    """
    network = UNet(len(heatmaps.NAMES), width, levels)
    training = network.clone(axis_name=AXIS)
    targets = partial(heatmaps.targets, shape=(size, size), sigma_px=sigma_px)

    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, size, size, 1)), train=False)

    def loss(variables: Any, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Any]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["place"])
        images, aims = jax.vmap(sometimes_nothing)(
            keys, batch["image"], jax.vmap(targets)(batch["points"])
        )
        logits, changed = training.apply(
            variables, _inputs(images), train=True, mutable=["batch_stats"]
        )
        total = jnp.mean(jax.vmap(heatmaps.loss)(logits, aims))
        return total, ({"loss": total}, changed["batch_stats"])

    def logits_of(variables: Any, images: jax.Array) -> Any:
        return network.apply(variables, _inputs(images), train=False)

    def predict(variables: Any, images: jax.Array) -> heatmaps.Landmarks:
        locate = partial(heatmaps.locate, sigma_px=sigma_px, threshold=0.0)
        return jax.vmap(locate)(logits_of(variables, images))

    def scores(variables: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        logits = logits_of(variables, batch["image"])
        return {"loss": jax.vmap(heatmaps.loss)(logits, jax.vmap(targets)(batch["points"]))}

    return Method(
        init,
        loss,
        predict,
        learns_points=False,
        scores=scores,
        merit=lambda means: -means["loss"],
    )


def _inputs(images: jax.Array) -> jax.Array:
    return jax.vmap(standardized)(images)[..., None]


def sometimes_nothing(
    key: jax.Array, image: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """An image (S, S) with its targets, or now and then noise that shows none of the landmarks.

    key: that of the case's augmentation, which takes the first two keys of its split.
    """
    choice, noise = jax.random.split(jax.random.split(key, 3)[2])
    is_noise = jax.random.bernoulli(choice, NOTHING)
    nowhere = heatmaps.nowhere(len(target), image.shape)
    return (
        jnp.where(is_noise, _noise(noise, image.shape), image),
        jnp.where(is_noise, nowhere, target),
    )


def _noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A picture of nothing: noise of a random mixture of grain sizes."""
    keys = jax.random.split(key, 4)
    layers = [
        jax.image.resize(
            jax.random.normal(k, (shape[0] // step, shape[1] // step)), shape, "linear"
        )
        for k, step in zip(keys[:3], (1, 4, 16), strict=True)
    ]
    return jnp.tensordot(jax.random.uniform(keys[3], (3,)), jnp.stack(layers), axes=1)
