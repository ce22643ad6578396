"""What the rasterizer does in one tile of the image: the nearest edges of its pixels, the sign of
their distance, and how the distance changes.

The functions take numbers, or arrays that broadcast to the pixels: the fields of one side of the
strip against all pixels of a tile, or one side for each of many tiles.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jssm.strip import Outline, cross, facing_corners, outline, unit

TILE = 8  # pixels along a tile's side
PIXELS = TILE * TILE
FLAT = 2e-6  # radians; a triangle with a smaller angle covers nothing
SEAM = 1e-5  # px by which triangles are widened, so that rounding opens no seam between them ...
TIP = 1e-2  # px; ... but those as thin as 1e-3 less, so that tips grow by no more than twice this
TINY = 1e-9  # px², below which two squared distances count as equal
TIE = 1e-5  # squared distances with a smaller relative difference count as equal
JOINT = 0.1  # px along an edge within which its end counts as the same point
ON_OUTLINE = 1e-5  # px; a pixel nearer to the outline than this is on it, rounding considered

EDGE_BITS = 15  # for the number of an edge
BURIED = -1  # in place of edges

Vector = tuple[Any, Any]  # x and y


class Side(NamedTuple):
    """One of a cell's two sides: an edge of the outline, and the triangle on it.

    Of the edge, in px: start, end, unit tangent; line, how far ahead of the start its line begins
    (0, or infinite where it has no length and is a point), and stop, where it ends; number, its
    place in the outline; before, after, those of the edges with which it shares an end (−1 where
    that has no length). Of the triangle: inward, 1 where it lies to the left of the tangent, else
    −1; at_start and at_end, the unit normals, into it, of its other sides, through the edge's start
    and through its end; margin, by how much (px) it is widened.
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


class Nearest(NamedTuple):
    """Of each pixel: its squared distance to the outline; the first and the last of its nearest
    edges (the same one, but for ties) in one number; and how deep in one of the triangles it lies,
    negative outside (px)."""

    square: jax.Array
    edges: jax.Array
    depth: jax.Array


class Visits(NamedTuple):
    """Which tiles to visit, and what was found there; n tiles in all.

    order: the near tiles, then n again and again, up to whole chunks. chunks: (), how many chunks
    hold near tiles. low, high: (n,), the first and the last cell that matter, by tile. edges:
    (len(order), PIXELS), of each pixel its nearest edges, by place in ``order``, as
    :func:`settle` gives them.
    """

    order: jax.Array
    chunks: jax.Array
    low: jax.Array
    high: jax.Array
    edges: jax.Array


class Pixels(NamedTuple):
    """Places of pixels: the centres of their tiles, and what they are off them."""

    center: Vector
    offset: Vector


class Edge(NamedTuple):
    """An edge as the derivative needs it; see :class:`jssm.strip.Outline`. Where no pixel lies on
    the outline, inward and corner may be None."""

    start: Vector
    tangent: Vector
    length: jax.Array
    inward: Vector | None
    corner: Vector | None


class Found(NamedTuple):
    """Of pixels: their places, their signed distances, their nearest edges, and which of them lie
    on an edge that another triangle covers."""

    x: jax.Array
    y: jax.Array
    distance: jax.Array
    first: jax.Array
    last: jax.Array
    buried: jax.Array


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of tiles that cover the image."""
    return -(-shape[0] // TILE), -(-shape[1] // TILE)


def centers(tiles: Any, shape: tuple[int, ...]) -> Vector:
    """The centres of tiles, given by their numbers."""
    columns = grid(shape)[1]
    middle = (TILE - 1) / 2
    return (tiles % columns) * TILE + middle, (tiles // columns) * TILE + middle


def offsets(pixels: Any) -> Vector:
    """Where the pixels of these numbers lie, from the centre of their tile."""
    middle = (TILE - 1) / 2
    return pixels % TILE - middle, pixels // TILE - middle


def all_sides(points: jax.Array) -> Side:
    """All T edges of the outline with their triangles: each field (T,)."""
    edges, number = outline(points), np.arange(points.shape[0])
    end = jnp.roll(edges.start, -1, axis=0)
    third = points[facing_corners(points.shape[0])[0]]
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
        tangent=xy(jnp.where(has_length[:, None], edges.tangent, np.array([1.0, 0.0]))),
        # An edge without length is a point: nowhere is it as near as a line.
        line=jnp.where(has_length, 0.0, jnp.inf),
        # An edge's end is the next one's start, and is left to that.
        stop=jnp.where(has_length, edges.length - ON_OUTLINE, jnp.inf),
        number=jnp.asarray(number, jnp.float32),
        before=_neighbor(number - 1, edges),
        after=_neighbor(number + 1, edges),
        inward=inward,
        at_start=xy(normal[2]),
        at_end=xy(normal[1]),
        margin=jnp.where(angle > FLAT, jnp.minimum(SEAM, TIP * angle), -1.0),
    )


def xy(vectors: jax.Array) -> Vector:
    """The coordinates (...) of vectors (..., 2)."""
    return vectors[..., 0], vectors[..., 1]


def _neighbor(number: np.ndarray, edges: Outline) -> jax.Array:
    number = number % edges.length.size
    return jnp.where(edges.length[number] > 0, number, -1.0)


def cell_edges(num_points: int) -> np.ndarray:
    """The numbers (T/2 + 1, 2) of the edges of each cell.

    The cells are the T/2 − 1 quads of the strip, and one at either end for the edge there.
    """
    i = np.arange(num_points // 2 + 1)
    return np.stack([(i - 1) % num_points, num_points - 1 - i], axis=1)


def nothing(shape: tuple[int, ...]) -> Nearest:
    """What pixels have found before they visited any cell."""
    return Nearest(
        square=jnp.full(shape, jnp.inf),
        edges=jnp.zeros(shape, jnp.int32),
        depth=jnp.full(shape, -jnp.inf),
    )


def nearer(best: Nearest, side: Side, pixels: Pixels) -> Nearest:
    """The best so far, and one side more."""
    (cx, cy), (u, v) = pixels

    def along(direction: Vector, origin: Vector) -> jax.Array:
        """direction · (pixel − origin)."""
        (dx, dy), (x, y) = direction, origin
        return dx * u + dy * v + (dx * (cx - x) + dy * (cy - y))

    square, edges, depth = best
    tx, ty = side.tangent
    beside, ahead = along((-ty, tx), side.start), along(side.tangent, side.start)
    inside = jnp.minimum(along(side.at_start, side.start), along(side.at_end, side.end))
    inside = jnp.minimum(inside, side.inward * beside) + side.margin
    depth = jnp.maximum(depth, inside)
    behind = jnp.minimum(ahead, side.line)
    here = jnp.where(ahead <= side.stop, beside * beside + behind * behind, jnp.inf)
    number, before, after = (i.astype(jnp.int32) for i in (side.number, side.before, side.after))
    first, last = edges & ((1 << EDGE_BITS) - 1), edges >> EDGE_BITS
    closer = here * (1 + TIE) + TINY < square
    # Two edges have one nearest point, no tie, near the end that they share.
    shared = ((last == before) & (ahead < JOINT)) | ((last == after) & (ahead > side.stop - JOINT))
    level = (here <= square * (1 + TIE) + TINY) & ~shared
    first = jnp.where(closer, number, first)
    last = jnp.where(closer | level, number, last)
    edges = first | (last << EDGE_BITS)
    return Nearest(jnp.minimum(square, here), edges, depth)


def settle(nearest: Nearest) -> tuple[jax.Array, jax.Array]:
    """The signed distances (px), and the nearest edges as numbers; BURIED on a covered edge."""
    distance = jnp.where(nearest.depth >= 0, 1.0, -1.0) * jnp.sqrt(nearest.square)
    # On an edge that another triangle covers the distance is least, and has no slope.
    buried = (nearest.depth > SEAM + ON_OUTLINE) & (nearest.square <= ON_OUTLINE**2)
    return distance, jnp.where(buried, BURIED, nearest.edges)


def found(pixels: Pixels, distance: jax.Array, edges: jax.Array) -> Found:
    """What :func:`settle` gave, taken apart."""
    (cx, cy), (u, v) = pixels
    buried = edges == BURIED
    edges = jnp.where(buried, 0, edges)
    first, last = edges & ((1 << EDGE_BITS) - 1), edges >> EDGE_BITS
    return Found(cx + u, cy + v, distance, first, last, buried)


def all_edges(points: jax.Array) -> Edge:
    """All T edges of the outline: each leaf (T,)."""
    edges = outline(points)
    return Edge(
        start=xy(edges.start),
        tangent=xy(edges.tangent),
        length=edges.length,
        inward=xy(edges.inward),
        corner=xy(edges.corner),
    )


def slopes(edge: Edge, pixels: Found) -> tuple[Vector, Vector]:
    """The gradient of each pixel's distance for the start and for the end of an edge, which is
    one of the nearest.

    The distance changes by −u · (the movement of the nearest point), u the direction in which it
    grows (the envelope theorem).
    """
    sign, (tx, ty) = jnp.sign(pixels.distance), edge.tangent
    dx, dy = pixels.x - edge.start[0], pixels.y - edge.start[1]
    along = jnp.minimum(jnp.maximum(dx * tx + dy * ty, 0.0), edge.length)
    # Beside the edge along its normal, on the pixel's side; else away from the edge's start.
    at_start = along <= 0
    beside = sign * jnp.sign(tx * dy - ty * dx)
    away = sign * lax.rsqrt(jnp.maximum(dx * dx + dy * dy, ON_OUTLINE**2))
    ux = jnp.where(at_start, dx * away, -ty * beside)
    uy = jnp.where(at_start, dy * away, tx * beside)
    if edge.corner is not None and edge.inward is not None:
        on_outline = jnp.abs(pixels.distance) <= ON_OUTLINE
        ux, uy = (
            jnp.where(on_outline, jnp.where(at_start, corner, inward) * ~pixels.buried, u)
            for corner, inward, u in zip(edge.corner, edge.inward, (ux, uy), strict=True)
        )
    share = along / jnp.where(edge.length > 0, edge.length, 1.0)
    return (ux * (share - 1), uy * (share - 1)), (-ux * share, -uy * share)
