"""Whole walls around drawn cavities: the inner boundary as drawn, the outer one as it is seen.

Far more cavities are drawn than walls. A model of the method ``evidence`` finds the wall around one
as it finds any: it puts the shape on the heart, and searches. But here the drawing has the word
on the inner boundary. First the outer one follows it, so that the wall keeps the thickness that the
model gave it; then the last search looks for the outer boundary from there. A model that took the
trabeculae for wall comes to see the wall behind them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jssm.methods.model import Model
from jssm.networks import feature_search
from jssm.networks.evidence import EvidenceNetwork
from jssm.networks.feature_search import Moves
from jssm.shape import order
from jssm.shape.pose import Pose, decode, moved
from jssm.shape.shape_model import ShapeModel
from jssm.shape.vectors import nearest_offsets

FOLLOWED, SEARCHED = 8, 4  # steps, in which the outer boundary follows and is searched for
# Standard deviations, in RMS radii: of a drawn boundary across and of its ends along the wall, too
# (a longitudinal strain rests on them), of the wall's thickness when its inner boundary is moved,
# and of what is not known.
DRAWN, THICKNESS, UNKNOWN = 0.02, 0.1, 1.0


def check(model: Model) -> None:
    """That a model can complete walls.

    Raises:
      ValueError: when it is not of the method evidence, makes no search, or is one of closed
        shapes, whose points no cavity tells the beginning of.
    """
    if not isinstance(model.network, EvidenceNetwork) or not model.network.searches:
        raise ValueError("walls are completed by a model of the method evidence, with searches")
    if model.shape.closed:
        raise ValueError("a drawn cavity does not tell where a ring's points begin")


@jax.jit
def completed(model: Model, images: jax.Array, inner: jax.Array) -> jax.Array:
    """The points (N, T, 2) px of whole walls with the drawn inner boundaries.

    images: (N, S, S) in 0..1, as those of a data set, of the model's size. inner: (N, M, 2) px, a
    line along each drawn inner boundary from one basal end to the other, in the order of points.

    Raises:
      ValueError: as :func:`check`.
    """
    check(model)
    shape, last = model.shape, model.network.searches - 1
    apply = partial(model.network.apply, model.variables, train=False)
    seen: Any = apply(images, shape, jnp.zeros((len(images), 2, 3)), method="observe")
    trust = jnp.exp(model.variables["params"][f"log_trust_{last}"])

    drawn = jax.vmap(partial(_drawn, shape))
    fitted = jax.vmap(partial(_fitted, shape))

    def follow(_: int, pose: Pose) -> Pose:
        return fitted(pose, drawn(pose, inner))

    def search(_: int, pose: Pose) -> Pose:
        found: Any = apply(last, seen.maps.features, shape, pose, method="search")
        found = found._replace(variances=found.variances / trust)
        return fitted(pose, jax.tree.map(_inner_and_outer, drawn(pose, inner), found))

    pose = lax.fori_loop(0, FOLLOWED, follow, seen.poses[-1]._replace(factor=None))
    pose = lax.fori_loop(0, SEARCHED, search, pose)
    return jax.vmap(lambda pose: decode(shape, pose)[2])(pose)


def _drawn(shape: ShapeModel, pose: Pose, inner: jax.Array) -> Moves:
    """The moves that take the inner boundary to the line ``inner`` (M, 2) px, and the outer one as
    far. Only at the ends the line tells how far to move along it."""
    canonical, points = decode(shape, pose)[1:]
    boundary = order.boundaries(points)[0]
    offsets = -nearest_offsets(boundary, inner)
    ends = jnp.array([0, -1])
    offsets = offsets.at[ends].set(inner[ends] - boundary[ends])
    to_canonical = jnp.linalg.inv(pose.theta[:, :2])
    wanted = jnp.tile(offsets @ to_canonical.T, (2, 1))
    means = jnp.einsum("tad,td->ta", feature_search.frames(canonical), wanted)
    along = jnp.full(len(boundary), UNKNOWN).at[ends].set(DRAWN)
    deviations = [jnp.stack([jnp.full(len(along), s), along], 1) for s in (DRAWN, THICKNESS)]
    return Moves(means, order.from_boundaries(*deviations) ** 2)


def _inner_and_outer(drawn: jax.Array, found: jax.Array) -> jax.Array:
    """Of the inner boundary what is drawn, of the outer one what is found; (N, T, 2) each."""
    return jnp.where(order.is_outer(drawn.shape[1])[:, None], found, drawn)


def _fitted(shape: ShapeModel, pose: Pose, moves: Moves) -> Pose:
    """The pose after one step of the fit."""
    step = feature_search.fit(shape, pose.latent, moves, jnp.ones(()))
    return moved(pose, step.place, step.latent)
