"""The outline of the strip of triangles that T points span, its edges and its thickness (Eq. 7).

Of a ring (``closed``) the outline is two loops.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jssm.shape import order
from jssm.shape.vectors import cross, dot, unit


class Outline(NamedTuple):
    """The T edges of the outline, one after another round it, or round its loops.

    start: (T, 2). tangent: (T, 2), of unit length; 0 for an edge without length. length: (T,).
    inward: (T, 2), the unit normal toward the edge's triangle, or its quad where that triangle has
    no area; 0 where both have none. corner: (T, 2), what stands for the inward normal at the start
    itself.
    """

    start: jax.Array
    tangent: jax.Array
    length: jax.Array
    inward: jax.Array
    corner: jax.Array


def outline(points: jax.Array, *, closed: bool = False) -> Outline:
    """The outline of the strip ``points`` (T, 2), differentiable and finite for any points."""
    start = order.outline(points)
    tangent, length = unit(order.following(start, closed=closed) - start)
    third, fourth = points[order.facing_corners(points.shape[0], closed=closed)] - start
    inward = _normal_toward(tangent, third)
    is_flat = jnp.all(inward == 0, axis=-1, keepdims=True)
    inward = jnp.where(is_flat, _normal_toward(tangent, fourth), inward)
    corner = _corner_directions(tangent, inward, closed=closed)
    return Outline(start, tangent, length, inward, corner)


def thicken(points: jax.Array, least_px: float, *, closed: bool = False) -> jax.Array:
    """The strip (T, 2) with the places where its wall is thinner than ``least_px`` widened to that.

    Thickness is measured across the line in the middle between both boundaries, and both move
    apart from it alike. A place that is folded deeper than that stays as it is.
    """
    inner, outer = order.boundaries(points)
    middle = (inner + outer) / 2
    beyond = jnp.pad(middle, ((1, 1), (0, 0)), mode="wrap" if closed else "edge")
    tangent = unit(beyond[2:] - beyond[:-2])[0]
    normal = jnp.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
    half = dot(outer - middle, normal)
    outward = jnp.where(jnp.sum(half) < 0, -1.0, 1.0)
    shift = jnp.where(jnp.abs(half) < least_px / 2, outward * least_px / 2 - half, 0.0)
    return order.from_boundaries(inner - shift[:, None] * normal, outer + shift[:, None] * normal)


def _normal_toward(tangent: jax.Array, aim: jax.Array) -> jax.Array:
    """The normal of ``tangent`` (..., 2) on the side of the vector ``aim``; 0 where that is 0."""
    side = jnp.sign(cross(tangent, aim))
    return jnp.stack([-tangent[..., 1], tangent[..., 0]], axis=-1) * side[..., None]


def _corner_directions(tangent: jax.Array, inward: jax.Array, *, closed: bool) -> jax.Array:
    """The gradient (T, 2) of the signed distance at each corner: its central differences there.

    At a corner the distance has a kink. Along x and along y, half the difference between its
    slopes on the two sides is what a small step both ways would measure.
    """
    before, after = order.following(tangent, -1, closed=closed), tangent
    inward_before = order.following(inward, -1, closed=closed)
    convex = dot(inward_before, after) > 0

    def distance(axis: int, sign: float) -> jax.Array:
        """The signed distance to the corner's two edges, one pixel from it along an axis."""
        to_rays = [
            jnp.where(sign * ray[:, axis] > 0, jnp.abs(ray[:, 1 - axis]), 1.0)
            for ray in (-before, after)
        ]
        sides = [sign * normal[:, axis] >= 0 for normal in (inward_before, inward)]
        inside = jnp.where(convex, sides[0] & sides[1], sides[0] | sides[1])
        return jnp.where(inside, 1.0, -1.0) * jnp.minimum(*to_rays)

    slopes = [(distance(axis, 1.0) - distance(axis, -1.0)) / 2 for axis in range(2)]
    return jnp.stack(slopes, axis=-1)
