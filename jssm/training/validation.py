"""Validation: the scores of the validation cases, their means, and pictures of some of them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jssm.dataset import Dataset
from jssm.image_path import from_uint8
from jssm.methods import losses
from jssm.methods.method import Method
from jssm.rasterizer import rasterize
from jssm.shape import labels, order
from jssm.shape.masks import binarize
from jssm.training import hosts
from jssm.training.feed import Feed
from jssm.training.runlog import RunLog

PICTURES = 8  # cases that are drawn, the same ones every time


def case_scores(
    method: Method, variables: Any, batch: dict[str, jax.Array], *, closed: bool = False
) -> dict[str, jax.Array]:
    """The scores of each case of a batch, each (n,), NaN where its label does not give them.

    Those of a method that brings its own; else dice, of the wall; cavity_dice, of the inner points'
    polygon; points_loss, Eq. 6, over the points that are known. A method without points has the
    first alone. closed: the shapes are rings.
    """
    images = from_uint8(batch["image"])
    if method.scores is not None:
        return method.scores(variables, batch | {"image": images})
    prediction = method.predict(variables, images)
    shape, covers = batch["mask"].shape[1:], batch["covers"]
    is_wall = covers == labels.MYOCARDIUM
    if prediction.points is None:
        return {"dice": jnp.where(is_wall, _hard_dice(prediction.mask, batch["mask"]), jnp.nan)}
    strips = prediction.points[:, order.cavity_strip(prediction.points.shape[1], closed=closed)]
    cavity = jax.vmap(lambda p: rasterize(p, shape, closed=closed))(strips)
    is_cavity = covers == labels.CAVITY
    drawn = jnp.where(is_cavity[:, None, None], cavity, prediction.mask)
    dice = _hard_dice(drawn, batch["mask"])
    point_loss = jax.vmap(lambda p, true: losses.point_loss(p, true, shape))
    has_points = jnp.any(jnp.isfinite(batch["points"]), axis=(1, 2))
    scores = {
        "dice": (dice, is_wall),
        "cavity_dice": (dice, is_cavity),
        "points_loss": (point_loss(prediction.points, batch["points"]), has_points),
    }
    return {name: jnp.where(known, value, jnp.nan) for name, (value, known) in scores.items()}


class Validation:
    """The validation cases of ``data``, scored and drawn by ``method``, in batches of one shape."""

    def __init__(self, method: Method, data: Dataset, feed: Feed, *, batch_size: int):
        self._method, self._data, self._feed = method, data, feed
        self._rows = data.rows("val")
        self._batch_size = min(batch_size, len(self._rows))
        self._score = jax.jit(partial(case_scores, method, closed=data.shape_model.closed))
        self._predict = jax.jit(method.predict)

    def scores(self, variables: Any) -> dict[str, float]:
        """The mean of each score over the cases that have it.

        Of several processes each scores as many of the batches, and all have the means.
        """
        count, size, shares = len(self._rows), self._batch_size, hosts.number()
        batches = -(-count // (size * shares)) * shares
        padded = np.resize(self._rows, (batches, size))[hosts.part(batches)]
        variables = self._feed.on_one_device(variables)
        parts = [self._score(variables, batch) for batch in self._feed.whole_batches(padded)]
        own = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        stacked = {name: values[:count] for name, values in hosts.joined(own).items()}
        known = {name: values[~np.isnan(values)] for name, values in stacked.items()}
        return {name: float(np.mean(values)) for name, values in known.items() if len(values)}

    def draw(self, variables: Any, log: RunLog, *, step: int, epoch: int) -> None:
        """Pictures of a few cases in the log; of a method with scores of its own there are none."""
        if self._method.scores is not None:
            return
        places = np.linspace(0, len(self._rows) - 1, min(PICTURES, len(self._rows)))
        rows = self._rows[places.astype(int)]
        images, masks = self._data.images[rows], self._data.masks[rows]
        variables = self._feed.on_one_device(variables)
        prediction = self._predict(variables, from_uint8(images))
        titles = self._data.cases["case"].iloc[rows].tolist()
        closed, seen = self._data.shape_model.closed, jax.tree.map(np.asarray, prediction)
        log.overlays(step, epoch, images, masks, seen, titles, closed=closed)


def _hard_dice(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """The Dice (n,) of predicted masks (n, H, W) in [0, 1], thresholded, and true ones."""
    pairs = binarize(predicted).astype(jnp.float32), true.astype(jnp.float32)
    return 1 - jax.vmap(losses.dice_loss)(*pairs)
