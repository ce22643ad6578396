"""A method of a few numbers in place of a network: its training compiles in a moment.

It brightens and darkens: the mask is where the image is bright, the points are one guess for all
images. It has all that the loop minds: both losses, batch statistics, and noise from the step's
key. Dice and point loss are its own scores, so that nothing is rendered or drawn. Its merit is the
point loss, which falls: its first validation is the best, and a run has to remember that.
"""

import jax
import jax.numpy as jnp

from jssm.config import Augmentation, Config, TrainConfig
from jssm.methods import losses, registry
from jssm.methods.baselines.segmenter import Segmentation
from jssm.methods.method import AXIS, Method

NAME = "unet"  # of the method whose place it takes


def method() -> Method:
    """The method itself."""

    def init(key):
        params = {"slope": 5 + jax.random.normal(key), "centre": jnp.zeros(2)}
        return {"params": params, "batch_stats": {"mean": jnp.zeros(())}}

    def masks(params, mean, images):
        return jax.nn.sigmoid(params["slope"] * (images - mean))

    def point_losses(params, points):
        return jnp.mean((params["centre"] - points.mean(1) / 32) ** 2, axis=1)

    def loss(variables, batch, key):
        params, before = variables["params"], variables["batch_stats"]["mean"]
        mean = jax.lax.pmean(jnp.mean(batch["image"]), AXIS)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["place"])
        noise = jax.vmap(lambda key: jax.random.normal(key, batch["image"].shape[1:]))(keys)
        noisy = batch["image"] + 0.01 * noise
        mask_loss = jnp.mean(jax.vmap(losses.dice_loss)(masks(params, mean, noisy), batch["mask"]))
        points_loss = jnp.mean(point_losses(params, batch["points"]))
        total = batch["point_weight"] * points_loss + batch["mask_weight"] * mask_loss
        metrics = {"loss": total, "points_loss": points_loss, "mask_loss": mask_loss}
        return total, (metrics, {"mean": 0.9 * before + 0.1 * mean})

    def predict(variables, images):
        mean = variables["batch_stats"]["mean"]
        return Segmentation(masks(variables["params"], mean, images))

    def scores(variables, batch):
        found = predict(variables, batch["image"]).mask
        dice = 1 - jax.vmap(losses.dice_loss)(found, batch["mask"].astype(jnp.float32))
        return {"dice": dice, "points_loss": point_losses(variables["params"], batch["points"])}

    return Method(init, loss, predict, scores=scores, merit=lambda means: means["points_loss"])


def install(monkeypatch, **changes) -> None:
    """Put the method, with some of its parts changed, in the place of :data:`NAME`."""
    changed = method()._replace(**changes)
    entry = registry.Entry(lambda config, constants: changed)
    monkeypatch.setitem(registry.METHODS, NAME, entry)


def config(data, **train) -> Config:
    """Four epochs of eight steps, points alone in the first two."""
    options = {"batch_size": 2, "epochs": 4, "points_epochs": 2, "learning_rate": 0.01} | train
    return Config(
        data=str(data),
        method=NAME,
        train=TrainConfig(**options),
        augment=Augmentation(flip_left_right=True, rotation_degrees=10.0),
    )
