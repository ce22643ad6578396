"""Landmarks from heat maps (Appendix A): targets, loss, sub-pixel places, confidence, abstention.

A network gives one map of logits per landmark. A softmax over all pixels of a map and one more
outcome, "not in this image", whose logit is 0, makes it the probability of where the landmark is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

NAMES = ("apex", "basal1", "basal2")  # basal 1, apex, basal 2 run clockwise as displayed
PEAK_RADIUS = (
    3.0  # the confidence counts what lies within this many standard deviations of the peak
)


class Landmarks(struct.PyTreeNode):
    """Three landmarks of one image, in the order of :data:`NAMES`.

    points: (3, 2) px (x, y), sub-pixel; NaN where ``found`` is not. confidence: (3,), the
    probability that each lies within three standard deviations of the target from where the map
    peaks. found: (), every confidence reaches the threshold and the order is clockwise.
    """

    points: jax.Array
    confidence: jax.Array
    found: jax.Array


class Peaks(NamedTuple):
    """points: (L, 2) px (x, y), sub-pixel. confidence: (L,), as in :class:`Landmarks`."""

    points: jax.Array
    confidence: jax.Array


def targets(points: jax.Array, shape: tuple[int, int], *, sigma_px: float) -> jax.Array:
    """What the maps should say of landmarks (L, 2), in images (H, W): (L, H·W + 1), each summing 1.

    Gaussians of standard deviation ``sigma_px`` about the landmarks; what of them lies outside the
    image belongs to the last outcome, "not in this image".
    """
    rows, columns = jnp.mgrid[: shape[0], : shape[1]].astype(jnp.float32)
    distance2 = (columns - points[:, :1, None]) ** 2 + (rows - points[:, 1:, None]) ** 2
    density = jnp.exp(-distance2 / (2 * sigma_px**2)) / (2 * jnp.pi * sigma_px**2)
    density = density.reshape(len(points), -1)
    outside = jnp.maximum(1 - jnp.sum(density, axis=1, keepdims=True), 0)
    both = jnp.concatenate([density, outside], axis=1)
    return both / jnp.sum(both, axis=1, keepdims=True)


def nowhere(count: int, shape: tuple[int, ...]) -> jax.Array:
    """The targets (count, H·W + 1) of an image that shows none of ``count`` landmarks."""
    return jnp.zeros((count, shape[0] * shape[1] + 1)).at[:, -1].set(1.0)


def log_probabilities(logits: jax.Array) -> jax.Array:
    """Logits (H, W, L) as log-probabilities (L, H·W + 1), the last for "not in this image"."""
    flat = logits.reshape(-1, logits.shape[-1]).T
    return jax.nn.log_softmax(jnp.pad(flat, ((0, 0), (0, 1))), axis=1)


def loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The mean divergence of maps (H, W, L) from ``target`` (L, H·W + 1): 0 where they agree."""
    log_target = jnp.log(jnp.where(target > 0, target, 1.0))
    divergence = jnp.sum(target * (log_target - log_probabilities(logits)), axis=1)
    return jnp.mean(divergence)


def locate(logits: jax.Array, *, sigma_px: float, threshold: float = 0.5) -> Landmarks:
    """The landmarks that maps (H, W, 3) show, or none: a peak that is not sure is no landmark.

    ``sigma_px`` is that of the training's targets.
    """
    best = peaks(logits, sigma_px=sigma_px)
    found = jnp.all(best.confidence >= threshold) & is_clockwise(best.points)
    return Landmarks(jnp.where(found, best.points, jnp.nan), best.confidence, found)


def peaks(logits: jax.Array, *, sigma_px: float) -> Peaks:
    """Where maps (H, W, L) peak, however low."""
    height, width, count = logits.shape
    chances = jnp.exp(log_probabilities(logits))[:, :-1].reshape(count, height, width)
    return Peaks(*jax.vmap(lambda p: _peak(p, PEAK_RADIUS * sigma_px))(chances))


def is_clockwise(points: jax.Array) -> jax.Array:
    """Whether basal 1, apex, basal 2 of landmarks (3, 2) run clockwise as displayed."""
    apex, first, last = points
    a, b = apex - first, last - first
    return a[0] * b[1] - a[1] * b[0] > 0


def _peak(chances: jax.Array, radius_px: float) -> tuple[jax.Array, jax.Array]:
    """The centre of gravity (2,) about the highest of ``chances`` (H, W), and what it weighs.

    It is taken within ``radius_px`` of the highest pixel: sub-pixel, and blind to lesser peaks.
    """
    rows, columns = jnp.mgrid[: chances.shape[0], : chances.shape[1]].astype(jnp.float32)
    y, x = jnp.unravel_index(jnp.argmax(chances), chances.shape)
    near = (columns - x) ** 2 + (rows - y) ** 2 <= radius_px**2
    weights = jnp.where(near, chances, 0.0)
    mass = jnp.sum(weights)
    offset = jnp.stack([jnp.sum(weights * (columns - x)), jnp.sum(weights * (rows - y))])
    place = jnp.stack([x, y]).astype(jnp.float32)
    return place + offset / jnp.where(mass > 0, mass, 1.0), mass
