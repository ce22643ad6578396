"""A certificate that a predicted strip of points is a myocardium: unfolded and uncrossed.

The strip of triangles (Eq. 7) is connected by construction, but nothing in a linear shape model
keeps it from folding over itself; these pure functions tell whether it did.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jssm.shape import order
from jssm.shape.certificate import Integrity
from jssm.shape.vectors import nearest_offsets

# A 2-D cross product of float32 differences is wrong by at most four half-ulp roundings of its two
# terms (two in the differences, one in the product, one in the sum); this is twice that.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


jax.tree_util.register_dataclass(Integrity)


@partial(jax.jit, static_argnames="closed")
def integrity(points: jax.Array, *, closed: bool = False) -> Integrity:
    """The certificate of one shape, points (T, 2) in px: first half inner, last half outer.

    closed: it is a ring, with a triangle where the last points are followed by the first, too.
    Mirrored shapes are as good as others. Where float32 cannot tell on which side
    of a line a point lies, it counts as on the line: its triangle is flipped, its edges touch
    without crossing. Works under jit and vmap. Raises ValueError unless T is even and at least 4.
    """
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] % 2 or points.shape[0] < 4:
        raise ValueError(f"points have shape {points.shape}, expected (T, 2) with T even, T >= 4")
    points = points.astype(jnp.float32)
    inner, outer = order.boundaries(points)
    half = len(inner)
    crossed = _crossed_edges(order.outline(points), closed=closed)
    # In the loop the inner edges come first, then a rung, then the outer edges, then a rung; a ring
    # has no rungs.
    walls_crossed = jnp.any(crossed[:half, half:] if closed else crossed[: half - 1, half:-1])
    lines = [order.line(boundary, closed=closed) for boundary in (inner, outer)]
    gap = jnp.minimum(_chain_distance(inner, lines[1]), _chain_distance(outer, lines[0]))
    thickness = jnp.where(walls_crossed, 0.0, gap)
    flipped = _flipped_triangles(points, closed=closed)
    crossings = jnp.sum(jnp.triu(crossed), dtype=jnp.int32)
    return Integrity(
        flipped_triangles=flipped,
        crossings=crossings,
        min_thickness_px=thickness,
        ok=(flipped == 0) & (crossings == 0) & (thickness > 0) & jnp.all(jnp.isfinite(points)),
    )


def _turn(origin: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """Sign (-1, 0, 1) of the turn origin -> first -> second; 0 within rounding; (..., 2) each."""
    a, b = first - origin, second - origin
    left, right = a[..., 0] * b[..., 1], a[..., 1] * b[..., 0]
    cross = left - right
    return jnp.where(
        jnp.abs(cross) <= _ROUNDING * (jnp.abs(left) + jnp.abs(right)), 0.0, jnp.sign(cross)
    )


def _flipped_triangles(points: jax.Array, *, closed: bool) -> jax.Array:
    triangles = order.strip_triangles(points.shape[0], closed=closed)
    # The two families of Eq. 7 have opposite winding: two inner corners one way, two outer ones
    # the other.
    winding = np.where(np.sum(order.is_outer(len(points))[triangles], axis=1) == 1, 1.0, -1.0)
    turns = winding.astype(np.float32) * _turn(*(points[triangles[:, k]] for k in range(3)))
    majority = jnp.maximum(jnp.sum(turns > 0, dtype=jnp.int32), jnp.sum(turns < 0, dtype=jnp.int32))
    return len(triangles) - majority


def _crossed_edges(outline: jax.Array, *, closed: bool) -> jax.Array:
    """Which edges i -> i+1 of an outline (T, 2) properly cross which: (T, T) bool, symmetric.

    Neighbours share a corner, whose turn is 0, so they never count.
    """
    end = order.following(outline, closed=closed)
    turns = _turn(outline[:, None], end[:, None], outline[None, :])
    # Corners j and j+1 on two sides of edge i.
    straddled = turns * order.following(turns, closed=closed, axis=1) < 0
    return straddled & straddled.T


def _chain_distance(corners: jax.Array, chain: jax.Array) -> jax.Array:
    """The smallest distance from points (N, 2) to the segments of an open chain (M, 2)."""
    return jnp.sqrt(jnp.min(jnp.sum(nearest_offsets(corners, chain) ** 2, axis=-1)))
