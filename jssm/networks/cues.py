"""What tells a good pose from a bad one: how well all that the network saw fits together.

A pose is right where the drawn wall and cavity are those of the maps, the landmarks are clear, the
searches are sure and have nothing left to move, and the shape is one that hearts have.
"""

import jax
import jax.numpy as jnp

from jssm.networks import heatmaps
from jssm.networks.dense import FEATURE_STRIDE, Maps
from jssm.networks.feature_search import Moves
from jssm.shape import order
from jssm.shape.overlap import overlap
from jssm.shape.polygon import encloses
from jssm.shape.pose import Pose, decode
from jssm.shape.shape_model import ShapeModel

NAMES = (
    "agreement of the wall with its map",
    "agreement of the cavity with its map",
    "entropy of the maps within the heart",
    "certainty of the least clear landmark",
    "certainty of the landmarks",
    "deviation of the moves across the wall",
    "deviation of the moves along the wall",
    "deviation of the least sure tenth of the moves",
    "moves that are left",
    "way from the landmarks' pose",
    "unlikeliness of the shape",
    "share of the points outside the image",
    "size",
    "stretch",
    "thickness of the wall",
)
LEAST = 1e-3  # so that a logarithm is finite


def cues(
    shape: ShapeModel, maps: Maps, first: Pose, last: Pose, moves: Moves, *, sigma_px: float
) -> jax.Array:
    """The numbers :data:`NAMES` (C,) of one image.

    maps: without a leading axis. first, last: the poses of the landmarks and of the last search,
    whose ``moves`` are given. sigma_px: of the landmarks' targets.
    """
    height, width = maps.classes.shape[:2]
    # The maps are interpolated from every other pixel, so these tell all.
    classes = maps.classes[::FEATURE_STRIDE, ::FEATURE_STRIDE]
    chances = jax.nn.softmax(classes)
    _, canonical, points = decode(shape, last)
    rows, columns = jnp.mgrid[:height:FEATURE_STRIDE, :width:FEATURE_STRIDE]
    pixels = jnp.stack([columns, rows], axis=-1).astype(jnp.float32)
    wall = encloses(order.outline(points), pixels, closed=shape.closed).astype(jnp.float32)
    cavity = encloses(order.boundaries(points)[0], pixels).astype(jnp.float32)
    heart = jnp.maximum(wall, cavity)
    entropy = -jnp.sum(chances * jax.nn.log_softmax(classes), axis=-1)
    clear = heatmaps.peaks(maps.landmarks, sigma_px=sigma_px).confidence
    deviations = jnp.sqrt(moves.variances)
    way = _rms(decode(shape, first)[2] - points)
    stretches = _singular_values(last.theta[:, :2])
    inner, outer = order.boundaries(canonical)
    inside = jnp.all((points >= 0) & (points <= jnp.array([width, height]) - 1), axis=-1)
    return jnp.stack([
        overlap(chances[..., 1], wall),
        overlap(chances[..., 2], cavity),
        jnp.sum(entropy * heart) / (jnp.sum(heart) + LEAST),
        _log(jnp.min(clear)),
        jnp.mean(_log(clear)),
        jnp.mean(_log(deviations[:, 0])),
        jnp.mean(_log(deviations[:, 1])),
        _log(jnp.quantile(deviations[:, 0], 0.9)),
        _log(_rms(moves.means)),
        _log(way / (jnp.sqrt(stretches[0] * stretches[1]) + LEAST)),
        jnp.log1p(jnp.mean(last.latent**2)),
        1 - jnp.mean(inside),
        _log(jnp.sqrt(stretches[0] * stretches[1]) / height),
        _log(stretches[0] / (stretches[1] + LEAST)),
        _log(_rms(outer - inner)),
    ])  # fmt: skip


def _log(values: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(values, LEAST))


def _rms(vectors: jax.Array) -> jax.Array:
    """The root mean square length of vectors (n, 2)."""
    return jnp.sqrt(jnp.mean(jnp.sum(vectors**2, axis=-1)))


def _singular_values(linear: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The greater and the lesser singular value of a matrix (2, 2)."""
    half_sum, determinant = jnp.sum(linear**2) / 2, jnp.linalg.det(linear)
    root = jnp.sqrt(jnp.maximum(half_sum**2 - determinant**2, 0.0))
    return jnp.sqrt(half_sum + root), jnp.sqrt(jnp.maximum(half_sum - root, 0.0))
