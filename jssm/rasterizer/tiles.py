"""What the rasterizer does in one tile of the image: which sides of the strip matter there, the
nearest edges of its pixels, the sign of their distance, and how the distance changes.

The functions take numbers, or arrays that broadcast to the pixels: the fields of one side of the
strip against all pixels of a tile, or one side for each of many tiles.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jssm.rasterizer import codes, grid
from jssm.rasterizer.grid import Vector
from jssm.shape import order
from jssm.shape.strip import Outline, outline
from jssm.shape.vectors import cross, unit

SATURATION = 12.0  # in τ: farther from the outline the sigmoid is within 1e-5 of 0 or 1
SLACK = 1e-3  # px added to the tests of what is near
FLAT = 2e-6  # radians; a triangle with a smaller angle covers nothing
SEAM = 1e-5  # px by which triangles are widened, so that rounding opens no seam between them ...
TIP = 1e-2  # px; ... but those as thin as 1e-3 less, so that tips grow by no more than twice this
TINY = 1e-9  # px², below which two squared distances count as equal
TIE = 1e-5  # squared distances with a smaller relative difference count as equal
JOINT = 0.1  # px along an edge within which its end counts as the same point
ON_OUTLINE = 1e-5  # px; a pixel nearer to the outline than this is on it, rounding considered


class Side(NamedTuple):
    """An edge of the outline, and the triangle on it.

    Of the edge, in px: start, end, unit tangent; line, how far ahead of the start its line begins
    (0, or infinite where it has no length and is a point), and stop, where it ends; number, its
    place in the outline; before, after, those of the edges with which it shares an end (−1 where
    that has no length). Of the triangle: inward, 1 where it lies to the left of the tangent, else
    −1; at_start and at_end, the unit normals, into it, of its other sides, through the edge's start
    and through its end; margin, by how much (px) it is widened, −∞ where it covers nothing; height,
    how far (px) it reaches from the edge, or more.
    """

    start: Vector
    end: Vector
    tangent: Vector
    line: jax.Array
    stop: jax.Array
    number: jax.Array
    before: jax.Array
    after: jax.Array
    inward: jax.Array
    at_start: Vector
    at_end: Vector
    margin: jax.Array
    height: jax.Array


class Runs(NamedTuple):
    """Which sides matter in each of n tiles: of either half of the outline (its first T/2 edges,
    and the others; of a ring its loops) ``length`` of them from ``first`` on; none in tiles that
    are far from the outline and not covered.

    Each (n, 2).
    """

    first: jax.Array
    length: jax.Array


class Limits(NamedTuple):
    """What matters to a square: edges whose squared distance from its centre is at most ``square``,
    and triangles that come within ``spread`` (px) of the centre."""

    square: jax.Array
    spread: float


class Trace(NamedTuple):
    """How an image was drawn: the runs of its n tiles, and codes (n, PIXELS) of what
    :func:`settle` found."""

    runs: Runs
    codes: jax.Array


class Nearest(NamedTuple):
    """Of each pixel: its squared distance to the outline; the first and the last of its nearest
    edges (the same one, but for ties) in one number; and how deep in one of the triangles it lies,
    negative outside (px)."""

    square: jax.Array
    edges: jax.Array
    depth: jax.Array


class Pixels(NamedTuple):
    """Places of pixels: the centres of their tiles, and what they are off them."""

    center: Vector
    offset: Vector


class Edge(NamedTuple):
    """An edge as the derivative needs it; see :class:`strip.Outline`. Where no pixel lies on
    the outline, inward and corner may be None."""

    start: Vector
    tangent: Vector
    length: jax.Array
    inward: Vector | None
    corner: Vector | None


class Found(NamedTuple):
    """Of pixels: their places, the sign of their distance, their nearest edges, whether they lie on
    the outline, and whether another triangle covers it there."""

    x: jax.Array
    y: jax.Array
    sign: jax.Array
    first: jax.Array
    last: jax.Array
    on_outline: jax.Array
    buried: jax.Array


class Slope(NamedTuple):
    """How a pixel's distance changes with an edge: the unit vector u of the direction in which it
    grows, and where on the edge the nearest point lies (0 at its start, 1 at its end)."""

    direction: Vector
    share: jax.Array


def all_sides(points: jax.Array, *, closed: bool = False) -> Side:
    """All T edges of the outline with their triangles: each field (T,)."""
    edges, number = outline(points, closed=closed), np.arange(points.shape[0])
    end = order.following(edges.start, closed=closed)
    third = points[order.facing_corners(points.shape[0], closed=closed)[0]]
    corners = jnp.stack([edges.start, end, third])
    vectors = jnp.roll(corners, -1, axis=0) - corners
    direction, length = unit(vectors)
    area = cross(vectors[0], -vectors[2])
    inward = jnp.where(area < 0, -1.0, 1.0)
    normal = jnp.stack([-direction[..., 1], direction[..., 0]], axis=-1) * inward[:, None]
    longest = jnp.max(length, axis=0)
    angle = jnp.abs(area) / jnp.where(longest > 0, longest**2, 1.0)  # the least, or less
    has_length = edges.length > 0
    return Side(
        start=xy(edges.start),
        end=xy(end),
        tangent=xy(jnp.where(has_length[:, None], edges.tangent, np.array([1.0, 0.0], np.float32))),
        # An edge without length is a point: nowhere is it as near as a line.
        line=jnp.where(has_length, 0.0, jnp.inf),
        # An edge's end is the next one's start, and is left to that.
        stop=jnp.where(has_length, edges.length - ON_OUTLINE, jnp.inf),
        number=jnp.asarray(number, jnp.float32),
        before=_neighbor(order.following(number, -1, closed=closed), edges),
        after=_neighbor(order.following(number, 1, closed=closed), edges),
        inward=inward,
        at_start=xy(normal[2]),
        at_end=xy(normal[1]),
        margin=jnp.where(angle > FLAT, jnp.minimum(SEAM, TIP * angle), -jnp.inf),
        height=jnp.minimum(length[1], length[2]),
    )


def xy(vectors: jax.Array) -> Vector:
    """The coordinates (...) of vectors (..., 2)."""
    return vectors[..., 0], vectors[..., 1]


def rows(fields: Side | Edge) -> jax.Array:
    """What belongs to the edges, each leaf (..., T), as one row for each: (..., T, leaves). So one
    gather brings all of it."""
    return jnp.stack(jax.tree.leaves(fields), axis=-1)


def _neighbor(number: np.ndarray, edges: Outline) -> jax.Array:
    return jnp.where(edges.length[number] > 0, number.astype(np.float32), -1.0)


# The plan


def to_edge(side: Side, point: Vector) -> jax.Array:
    """The squared distances from points to edges."""
    (x, y), (sx, sy), (tx, ty) = point, side.start, side.tangent
    length = jnp.where(side.line == 0, jnp.maximum(side.stop, 0), 0.0)
    along = jnp.clip((x - sx) * tx + (y - sy) * ty, 0, length)
    return (x - sx - along * tx) ** 2 + (y - sy - along * ty) ** 2


def limits(distance: jax.Array, reach: Any, size: int) -> Limits:
    """Of squares of ``size`` px whose centres have this distance (px) to the outline.

    What is nearest to a pixel is not much farther from the centre than what is nearest there; and
    beyond ``reach`` (px) nothing needs to be found.
    """
    spread = (size - 1) / math.sqrt(2) + SLACK  # from the centre to the farthest pixel
    return Limits((jnp.minimum(distance + spread, reach) + spread) ** 2, spread)


def matters(side: Side, center: Vector, limits: Limits) -> jax.Array:
    """Whether a side may hold what is nearest to a pixel of a square, or cover one."""
    square = to_edge(side, center)
    covers = _depth(side, Pixels(center, (0.0, 0.0))) >= -limits.spread
    covers &= square <= (side.height + limits.spread) ** 2  # as thin triangles have long tips
    return covers | (square <= limits.square)


def number_of(turn: Any, first: Any, length: Any) -> Any:
    """The side to visit in this turn, by the runs of the two halves; after the last one that one
    again."""
    turn = jnp.minimum(turn, length[0] + length[1] - 1)
    return jnp.where(turn < length[0], first[0] + turn, first[1] + turn - length[0])


# The search


def nothing(shape: tuple[int, ...]) -> Nearest:
    """What pixels have found before they visited any side."""
    return Nearest(
        square=jnp.full(shape, jnp.inf, jnp.float32),
        edges=jnp.zeros(shape, jnp.int32),
        depth=jnp.full(shape, -jnp.inf, jnp.float32),
    )


def nearer(best: Nearest, side: Side, pixels: Pixels) -> Nearest:
    """The best so far, and one side more."""
    square, edges, depth = best
    depth = jnp.maximum(depth, _depth(side, pixels))
    beside, ahead = _from_start(side, pixels)
    behind = jnp.minimum(ahead, side.line)
    here = jnp.where(ahead <= side.stop, beside * beside + behind * behind, jnp.inf)
    number, before, after = (i.astype(jnp.int32) for i in (side.number, side.before, side.after))
    first, last = codes.parts(edges)
    closer = here * (1 + TIE) + TINY < square
    # Two edges have one nearest point, no tie, near the end that they share. As edges are visited
    # in their order, the one before came last, and the one after first, if they came already.
    shared = (last == before) & (ahead < JOINT)
    shared |= (first == after) & (ahead > side.stop - JOINT)
    level = (here <= square * (1 + TIE) + TINY) & ~shared
    first = jnp.where(closer, number, first)
    last = jnp.where(closer | level, number, last)
    return Nearest(jnp.minimum(square, here), codes.pair(first, last), depth)


def _from_start(side: Side, pixels: Pixels) -> Vector:
    """How far (px) pixels lie to the left of an edge's line, and ahead of its start."""
    tx, ty = side.tangent
    return _along((-ty, tx), side.start, pixels), _along(side.tangent, side.start, pixels)


def _depth(side: Side, pixels: Pixels) -> jax.Array:
    """How deep (px) pixels lie in a side's triangle; negative outside."""
    beside, _ = _from_start(side, pixels)
    others = _along(side.at_start, side.start, pixels), _along(side.at_end, side.end, pixels)
    return jnp.minimum(jnp.minimum(*others), side.inward * beside) + side.margin


def _along(direction: Vector, origin: Vector, pixels: Pixels) -> jax.Array:
    """direction · (pixel − origin)."""
    (dx, dy), (x, y), ((cx, cy), (u, v)) = direction, origin, pixels
    return dx * u + dy * v + (dx * (cx - x) + dy * (cy - y))


def settle(nearest: Nearest, num_points: int) -> tuple[jax.Array, jax.Array]:
    """The signed distances (px), infinite where nothing was found; and codes of the nearest edges
    and of where the pixel lies, for :func:`found`."""
    inside = nearest.depth >= 0
    distance = jnp.where(inside, 1.0, -1.0) * jnp.sqrt(nearest.square)
    is_found, on_outline = nearest.square < jnp.inf, nearest.square <= ON_OUTLINE**2
    # On an edge that another triangle covers the distance is least, and has no slope.
    buried = nearest.depth > SEAM + ON_OUTLINE
    where = jnp.where(on_outline, jnp.where(buried, 3, 2), inside)
    edges = codes.parts(jnp.where(is_found, nearest.edges, 0))
    return distance, codes.pixel(*edges, where, num_points)


def trace_like(num_points: int, shape: tuple[int, ...]) -> Trace:
    """The shapes and types of an image's trace."""
    count = grid.count(shape)
    numbers: Any = jax.ShapeDtypeStruct((count, 2), jnp.int32)
    kept: Any = jax.ShapeDtypeStruct((count, grid.PIXELS), codes.kind(num_points))
    return Trace(Runs(numbers, numbers), kept)


# The derivative


def found(pixels: Pixels, kept: jax.Array, num_points: int) -> Found:
    """What the codes of :func:`settle` say."""
    (cx, cy), (u, v) = pixels
    first, last, where = codes.of_pixel(kept, num_points)
    sign = jnp.where(where == 1, 1.0, -1.0)
    return Found(cx + u, cy + v, sign, first, last, where >= 2, where == 3)


def all_edges(points: jax.Array, *, closed: bool = False) -> Edge:
    """All T edges of the outline: each leaf (T,)."""
    edges = outline(points, closed=closed)
    return Edge(
        start=xy(edges.start),
        tangent=xy(edges.tangent),
        length=edges.length,
        inward=xy(edges.inward),
        corner=xy(edges.corner),
    )


def ends(points: jax.Array, *, closed: bool = False) -> jax.Array:
    """Of each edge x and y of its start, and of its end: (T, 4), linear in the points (T, 2)."""
    start = order.outline(points)
    return jnp.concatenate([start, order.following(start, closed=closed)], axis=1)


def slope(edge: Edge, pixels: Found) -> Slope:
    """How each pixel's distance changes with an edge, one of the nearest."""
    tx, ty = edge.tangent
    dx, dy = pixels.x - edge.start[0], pixels.y - edge.start[1]
    along = jnp.minimum(jnp.maximum(dx * tx + dy * ty, 0.0), edge.length)
    # Beside the edge along its normal, on the pixel's side; else away from the edge's start.
    at_start = along <= 0
    beside = pixels.sign * jnp.sign(tx * dy - ty * dx)
    away = pixels.sign * lax.rsqrt(jnp.maximum(dx * dx + dy * dy, ON_OUTLINE**2))
    ux = jnp.where(at_start, dx * away, -ty * beside)
    uy = jnp.where(at_start, dy * away, tx * beside)
    if edge.corner is not None and edge.inward is not None:
        ux, uy = (
            jnp.where(pixels.on_outline, jnp.where(at_start, corner, inward) * ~pixels.buried, u)
            for corner, inward, u in zip(edge.corner, edge.inward, (ux, uy), strict=True)
        )
    return Slope((ux, uy), along / jnp.where(edge.length > 0, edge.length, 1.0))


def of_ends(slope: Slope) -> tuple[jax.Array, ...]:
    """The gradient of the distance for the four numbers of the edge's :func:`ends`: −u · (the
    movement of the nearest point), by the envelope theorem."""
    (ux, uy), share = slope
    return ux * (share - 1), uy * (share - 1), -ux * share, -uy * share
