"""A differentiable rasterizer for strips: T points to a soft mask (Eq. 7 and 8).

The mask is sigmoid(signed distance to the outline / τ). The distance is taken to the T outline
edges, those that belong to one triangle alone; a distance per triangle would show a seam of 0.5
along every edge that two triangles share. The sign is that of the union of the T − 2 triangles, so
a shape that folds over itself has no hole.

Where the sigmoid is flat no distance is needed. The image is cut into tiles; only those near the
outline are visited, each with the few cells of the strip that can matter there. A cell is a quad
of two triangles with its inner and its outer edge.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jax.flatten_util import ravel_pytree

from jssm.linear_map import linear_map
from jssm.strip import (
    Outline,
    cross,
    dot,
    normal_toward,
    outline,
    outline_indices,
    strip_triangles,
    thicken,
    unit,
)

__all__ = [
    "outline_indices",
    "rasterize",
    "rasterize_whole",
    "sharpness",
    "signed_distance",
    "strip_triangles",
]

REACH = 12.0  # in τ: farther from the outline the sigmoid is within 1e-5 of 0 or 1
TILE = 8  # pixels along a tile's side
CHUNK = 48  # tiles visited together
FEW = 4  # tiles of a chunk whose gradients need a closer look, taken apart from the others
THINNEST = 1.1  # px: a band of 1 px has a pixel's centre in every row or column that it crosses
FLAT = 1e-6  # a triangle's area over the square of its longest side, below which it covers nothing
SEAM = 1e-5  # px by which triangles overlap, so that rounding opens no seam between them
SLACK = 1e-3  # px added to the tests of what is near
TINY = 1e-9  # px², below which two squared distances count as equal
TIE = 1e-5  # squared distances with a smaller relative difference count as equal
JOINT = 0.1  # px along an edge within which its end counts as the same point
ON_OUTLINE = 1e-5  # px; a pixel nearer to the outline than this is on it, rounding considered

EDGE_BITS = 15  # for the place of an edge in the outline
BURIED = -1  # in place of edges

_HALF_DIAGONAL = (TILE - 1) / np.sqrt(2)  # from a tile's centre to its farthest pixel
# A tile's pixels from its centre, each (1, TILE²).
_V, _U = (np.mgrid[:TILE, :TILE].reshape(2, 1, -1) - (TILE - 1) / 2).astype(np.float32)


class Visits(NamedTuple):
    """Which tiles to visit, and what was found there; n tiles in all.

    order: the near tiles, then n again and again, up to whole chunks. chunks: (), how many chunks
    hold near tiles. low, high: (n,), the first and the last cell that matter, by tile. edges:
    (len(order), TILE²), of each pixel its nearest edges, by place in ``order``: see :func:`_pack`;
    or BURIED.
    """

    order: jax.Array
    chunks: jax.Array
    low: jax.Array
    high: jax.Array
    edges: jax.Array


@partial(jax.jit, static_argnames="shape")
def rasterize(points: jax.Array, shape: tuple[int, ...], *, tau: float = 0.5) -> jax.Array:
    """The soft mask (H, W) in [0, 1] of the strip ``points`` (T, 2) in pixels (Eq. 8).

    ``tau`` (pixels) is the softness: 0.5 on the outline, 0.88 one pixel inside for τ = 0.5.
    ``shape`` is (H, W). Differentiable in ``points`` and ``tau``; batch with ``jax.vmap``.
    Farther than 12τ from the outline the mask is 0 or 1, and its gradient 0, to within 1e-5.
    Second derivatives: see :func:`signed_distance`.
    """
    tiles, _ = _search(jnp.asarray(points, jnp.float32), lax.stop_gradient(REACH * tau), shape)
    return _untile(jax.nn.sigmoid(tiles / tau), shape)


@partial(jax.jit, static_argnames="shape")
def rasterize_whole(points: jax.Array, shape: tuple[int, ...], *, tau: float = 0.5) -> jax.Array:
    """As :func:`rasterize`, of a wall that is at least :data:`THINNEST` px thick everywhere.

    A thinner one can slip between the centres of the pixels, and the mask, cut at 0.5, tears.
    """
    return rasterize(thicken(points, THINNEST), shape, tau=tau)


def sharpness(progress: jax.Array, *, widest: float = 16.0, tau: float = 0.5) -> jax.Array:
    """A schedule for τ (px): ``widest`` at ``progress`` 0, falling geometrically to ``tau`` at 1.

    A mask has no gradient farther than 12τ from the outline, so that at τ = 0.5 a mask loss alone
    cannot move a shape that lies beside its target. Begin as wide as the shape may be off.
    """
    return widest * (tau / widest) ** jnp.clip(progress, 0.0, 1.0)


@partial(jax.jit, static_argnames="shape")
def signed_distance(points: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The distance (H, W), in pixels, from each pixel's centre to the outline; positive inside.

    The gradient is that of the nearest edge; where two are equally near, the mean of both. On the
    outline itself it is what a small step both ways would measure: the inward normal on an edge,
    central differences at a corner, 0 on an edge that another triangle covers. Where the outline
    runs along itself, or more than two of its edges are equally near, there is no one right
    gradient; what is given is finite.

    Second derivatives (forward over reverse or forward over forward, as in ``jax.hessian``) are
    those of the distance to the nearest edge, which are right wherever that edge does not change;
    they leave out the jump of the gradient where it does. Reverse over reverse is not supported.
    """
    return _untile(_search(jnp.asarray(points, jnp.float32), np.inf, shape)[0], shape)


def _untile(tiles: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    rows, columns = _grid(shape)
    image = tiles.reshape(rows, columns, TILE, TILE).swapaxes(1, 2)
    return image.reshape(rows * TILE, columns * TILE)[: shape[0], : shape[1]]


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of tiles that cover the image."""
    return -(-shape[0] // TILE), -(-shape[1] // TILE)


def _tile_centers(tiles: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The x and the y of the centres of tiles, given by their numbers."""
    columns = _grid(shape)[1]
    middle = (TILE - 1) / 2
    return (tiles % columns) * TILE + middle, (tiles // columns) * TILE + middle


# The search


class Cell(NamedTuple):
    """One of the T/2 − 1 quads of the strip, or a flat one at either end for the edge there.

    center: (2,) and radius: (), a circle round it; all else is relative to the centre.
    Of its two edges: start: (2, 2); tangent: (2, 2); stop: (2,), the length up to which they
    reach; number: (2,), their places in the outline; before, after: (2,), those of the edges with
    which they share an end (−1 where that has no length).
    Of its two triangles: normals: (2, 3, 2), of the sides, into the triangle, and offset: (2, 3);
    a pixel at q is in the triangle where normals · q + offset is negative for no side.
    """

    center: jax.Array
    radius: jax.Array
    start: jax.Array
    tangent: jax.Array
    stop: jax.Array
    number: jax.Array
    before: jax.Array
    after: jax.Array
    normals: jax.Array
    offset: jax.Array


class Nearest(NamedTuple):
    """Of each pixel: its squared distance to the outline, the nearest edges (see :func:`_pack`),
    and how deep in one of the triangles it lies, negative outside (px)."""

    square: jax.Array
    edges: jax.Array
    depth: jax.Array


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _search(points: jax.Array, reach: float, shape: tuple[int, ...]) -> tuple[jax.Array, Visits]:
    """The signed distance (n, TILE²) by tile, and the visits that found it.

    In the tiles farther than ``reach`` (px) from the outline the distance is −2·reach.
    """
    cells = _cells(points)
    plan = _plan(cells, reach, shape)

    def visit(chunk: jax.Array, state: tuple[jax.Array, Visits]) -> tuple[jax.Array, Visits]:
        distance, visits = state
        tiles = _chunk_of(visits.order, chunk)
        nearest = _nearest(cells, tiles, visits, shape)
        found = jnp.where(nearest.depth >= -SEAM, 1.0, -1.0) * jnp.sqrt(nearest.square)
        # On an edge that another triangle covers the distance is least, and has no slope.
        buried = (nearest.depth > ON_OUTLINE) & (nearest.square <= ON_OUTLINE**2)
        nearest = nearest._replace(edges=jnp.where(buried, BURIED, nearest.edges))
        edges = lax.dynamic_update_slice_in_dim(visits.edges, nearest.edges, chunk * CHUNK, axis=0)
        return _scatter(distance, tiles, found), visits._replace(edges=edges)

    far = jnp.full((plan.low.size, TILE * TILE), -2.0 * reach, jnp.float32)
    return lax.fori_loop(0, plan.chunks, visit, (far, plan))


def _cells(points: jax.Array) -> Cell:
    """All T/2 + 1 cells: each field with a leading axis."""
    half = points.shape[0] // 2
    edges = outline(points)
    i = np.arange(half - 1)
    number = np.stack([i, 2 * half - 2 - i], axis=1)
    number = np.concatenate([[[2 * half - 1] * 2], number, [[half - 1] * 2]])
    a, o = (jnp.concatenate([c[:1], c, c[-1:]]) for c in (points[:half], points[half:]))
    corners = jnp.stack([a[:-1], a[1:], o[:-1], o[1:]], axis=1)
    center = jnp.mean(corners, axis=1)
    corners -= center[:, None]
    triangles = corners[:, [[0, 1, 2], [2, 3, 1]]]
    sides = jnp.roll(triangles, -1, axis=2) - triangles
    longest = jnp.max(dot(sides, sides), axis=-1)
    flat = jnp.abs(cross(sides[..., 0, :], sides[..., 1, :])) <= FLAT * longest
    normals = normal_toward(unit(sides)[0], jnp.roll(sides, -1, axis=2))
    length = edges.length[number]
    return Cell(
        center=center,
        radius=jnp.max(unit(corners)[1], axis=1),
        start=edges.start[number] - center[:, None],
        tangent=edges.tangent[number],
        # An edge's end is the next one's start, and is left to that.
        stop=jnp.where(length > 0, length - ON_OUTLINE, 1.0),
        number=jnp.asarray(number, jnp.float32),
        before=_neighbor(number - 1, edges),
        after=_neighbor(number + 1, edges),
        normals=jnp.where(flat[..., None, None], 0.0, normals),
        offset=jnp.where(flat[..., None], -1.0, -dot(normals, triangles)),
    )


def _neighbor(number: np.ndarray, edges: Outline) -> jax.Array:
    number = number % edges.length.size
    return jnp.where(edges.length[number] > 0, number, -1.0)


def _plan(cells: Cell, reach: float, shape: tuple[int, ...]) -> Visits:
    """The tiles to visit, from the distances between their centres and the cells."""
    n, count = int(np.prod(_grid(shape))), cells.radius.size
    padded = -(-n // CHUNK) * CHUNK
    x, y = _tile_centers(np.arange(n), shape)
    dx, dy = x - cells.center[:, :1], y - cells.center[:, 1:]

    def to_edge(side: int) -> jax.Array:
        px, py = dx - cells.start[:, side, :1], dy - cells.start[:, side, 1:]
        tx, ty = cells.tangent[:, side, :1], cells.tangent[:, side, 1:]
        along = jnp.clip(px * tx + py * ty, 0, jnp.maximum(cells.stop[:, side, None], 0))
        return (px - along * tx) ** 2 + (py - along * ty) ** 2

    square = jnp.minimum(to_edge(0), to_edge(1))
    distance = jnp.sqrt(jnp.min(square, axis=0))
    off_center, radius = dx**2 + dy**2, cells.radius[:, None]
    # What is nearest to some pixel is not much farther from the centre than what is nearest there.
    matters = (square <= (distance + 2 * _HALF_DIAGONAL + SLACK) ** 2) | (
        off_center <= (radius + _HALF_DIAGONAL + SLACK) ** 2
    )
    near = (distance <= reach + _HALF_DIAGONAL) | jnp.any(off_center <= radius**2, axis=0)
    index = np.arange(count)[:, None]
    low = jnp.min(jnp.where(matters, index, count), axis=0)
    high = jnp.max(jnp.where(matters, index, -1), axis=0)
    # Near tiles first, and among them those with most cells, so that a chunk's tiles take as long.
    rank = jnp.where(near, count - 1 - (high - low), count)
    order = jnp.sort(rank * n + np.arange(n))
    order = jnp.where(order < count * n, order % n, n)
    return Visits(
        order=jnp.concatenate([order, jnp.full(padded - n, n)]),
        chunks=_shared_max(-(-jnp.sum(near) // CHUNK)),
        low=low,
        high=high,
        edges=jnp.zeros((padded, TILE * TILE), jnp.int32),
    )


def _nearest(cells: Cell, tiles: jax.Array, visits: Visits, shape: tuple[int, ...]) -> Nearest:
    """What each pixel (TILE²) of a chunk's ``tiles`` finds among the cells that matter there."""
    low, high = (
        cell.at[tiles].get(mode="fill", fill_value=0) for cell in (visits.low, visits.high)
    )
    center = jnp.stack(_tile_centers(tiles, shape), axis=-1)
    rounds = _shared_max(jnp.max(high - low) + 1)
    # One row a cell, so that one gather brings it all.
    rows = jax.vmap(lambda cell: ravel_pytree(cell)[0])(cells)
    unravel = ravel_pytree(jax.tree.map(lambda field: field[0], cells))[1]

    def visit(turn: jax.Array, best: Nearest) -> Nearest:
        cell = jax.vmap(unravel)(rows[jnp.minimum(low + turn, high)])
        return _nearer(best, cell, center - cell.center)

    nothing = Nearest(
        square=jnp.full((CHUNK, TILE * TILE), jnp.inf),
        edges=jnp.zeros((CHUNK, TILE * TILE), jnp.int32),
        depth=jnp.full((CHUNK, TILE * TILE), -jnp.inf),
    )
    return lax.fori_loop(0, rounds, visit, nothing)


def _nearer(best: Nearest, cell: Cell, center: jax.Array) -> Nearest:
    """The best so far and one cell for each tile, whose ``center`` (CHUNK, 2) is relative to it."""

    def across(vector: jax.Array, offset: jax.Array) -> jax.Array:
        """vector · pixel + offset, (CHUNK, TILE²)."""
        offset = offset + dot(vector, center)
        return vector[:, :1] * _U + vector[:, 1:] * _V + offset[:, None]

    square, edges, depth = best
    for side in range(2):
        normals, offset = cell.normals[:, side], cell.offset[:, side]
        sides = [across(normals[:, i], offset[:, i]) for i in range(3)]
        depth = jnp.maximum(depth, jnp.minimum(jnp.minimum(*sides[:2]), sides[2]))
        start, tangent = cell.start[:, side] - center, cell.tangent[:, side]
        along = tangent[:, :1] * _U + tangent[:, 1:] * _V
        along -= dot(tangent, start)[:, None]
        foot = jnp.maximum(along, 0.0)
        dx = _U - start[:, :1] - tangent[:, :1] * foot
        dy = _V - start[:, 1:] - tangent[:, 1:] * foot
        here = jnp.where(along <= cell.stop[:, side, None], dx * dx + dy * dy, jnp.inf)
        number, before, after = (
            x[:, side, None].astype(jnp.int32) for x in (cell.number, cell.before, cell.after)
        )
        first, last = _unpack(edges)
        closer = here * (1 + TIE) + TINY < square
        # Two edges have one nearest point, no tie, near the end that they share.
        shared = ((last == before) & (along < JOINT)) | (
            (last == after) & (along > cell.stop[:, side, None] - JOINT)
        )
        level = (here <= square * (1 + TIE) + TINY) & ~shared
        first = jnp.where(closer, number, first)
        edges = _pack(first, jnp.where(closer | level, number, last))
        square = jnp.minimum(square, here)
    return Nearest(square, edges, depth)


def _pack(first: jax.Array, last: jax.Array) -> jax.Array:
    """The first and the last of a pixel's nearest edges (the same one, but for ties) in one."""
    return first | (last << EDGE_BITS)


def _unpack(edges: jax.Array) -> tuple[jax.Array, jax.Array]:
    return edges & ((1 << EDGE_BITS) - 1), edges >> EDGE_BITS


@custom_vmap
def _shared_max(number: jax.Array) -> jax.Array:
    """``number``; under vmap the largest of the batch, so that a loop's length is one number."""
    return number


@_shared_max.def_vmap
def _(size: int, batched: list[bool], numbers: jax.Array) -> tuple[jax.Array, bool]:
    return _shared_max(jnp.max(numbers, axis=0) if batched[0] else numbers), False


def _chunk_of(order: jax.Array, chunk: jax.Array) -> jax.Array:
    return lax.dynamic_slice_in_dim(order, chunk * CHUNK, CHUNK, axis=0)


def _gather(image: jax.Array, tiles: jax.Array, *, beyond: float = 0.0) -> jax.Array:
    """The tiles (CHUNK, TILE²), ``beyond`` where there is none of that number."""
    return image.at[tiles].get(mode="fill", fill_value=beyond)


def _scatter(image: jax.Array, tiles: jax.Array, values: jax.Array) -> jax.Array:
    return image.at[tiles].set(values, mode="drop", unique_indices=True)


# The derivative


@_search.defjvp
def _search_jvp(shape: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple:
    points, reach = primals
    # Through itself, so that the derivative can be differentiated in its turn.
    distance, visits = _search(points, reach, shape)
    given = (points, distance, visits)
    change = linear_map(partial(_push, shape), partial(_pull, shape), given, tangents[0])
    no_change = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), visits)
    return (distance, visits), (change, no_change)


def _push(shape: tuple[int, ...], given: tuple, points_dot: jax.Array) -> jax.Array:
    """The change (n, TILE²) of the distances when the points move by ``points_dot`` (T, 2)."""
    points, distance, visits = given

    def visit(chunk: jax.Array, distance_dot: jax.Array) -> jax.Array:
        change = _change(outline(points), distance, visits, chunk, shape, points_dot)
        return _scatter(distance_dot, _chunk_of(visits.order, chunk), change)

    return lax.fori_loop(0, _shared_max(visits.chunks), visit, jnp.zeros_like(distance))


def _pull(shape: tuple[int, ...], given: tuple, distance_bar: jax.Array) -> jax.Array:
    """The transpose of :func:`_push`: (n, TILE²) to (T, 2)."""
    points, distance, visits = given

    def visit(chunk: jax.Array, points_bar: jax.Array) -> jax.Array:
        change = partial(_change, outline(points), distance, visits, chunk, shape)
        bar = _gather(distance_bar, _chunk_of(visits.order, chunk))
        return points_bar + jax.linear_transpose(change, points)(bar)[0]

    return lax.fori_loop(0, _shared_max(visits.chunks), visit, jnp.zeros_like(points))


def _change(
    edges: Outline,
    distance: jax.Array,
    visits: Visits,
    chunk: jax.Array,
    shape: tuple[int, ...],
    points_dot: jax.Array,
) -> jax.Array:
    """The change (CHUNK, TILE²) of a chunk's distances; linear in ``points_dot`` (T, 2).

    The distance to an edge changes by −u · (the movement of its nearest point), u the direction
    in which it grows (the envelope theorem).
    """
    tiles = _chunk_of(visits.order, chunk)
    x, y = _tile_centers(tiles[:, None], shape)
    nearest = _chunk_of(visits.edges, chunk)
    buried = nearest == BURIED
    first, last = _unpack(jnp.where(buried, 0, nearest))
    found = Pixels(x + _U, y + _V, _gather(distance, tiles, beyond=1.0), first, last, buried)
    special = jnp.any((first != last) | (jnp.abs(found.distance) <= ON_OUTLINE), axis=1)
    through = partial(_through, edges, points_dot)

    def exactly(pixels: Pixels) -> jax.Array:
        """The mean of both nearest edges."""
        return (through(pixels, pixels.first, True) + through(pixels, pixels.last, True)) / 2

    def plainly(pixels: Pixels) -> jax.Array:
        return through(pixels, pixels.first, False)

    def amended() -> jax.Array:
        """What is exact in the few special tiles, beyond :func:`plainly`."""
        few = jnp.argsort(~special)[:FEW]
        some = jax.tree.map(lambda field: field[few], found)
        return nothing.at[few].add(exactly(some) - plainly(some))

    # Ties and pixels on the outline are rare, and their way is long: most chunks have none.
    count = _shared_max(jnp.sum(special))
    nothing = jnp.zeros(nearest.shape)
    most = lax.cond(count <= FEW, lambda: plainly(found), lambda: exactly(found))
    is_few = (count > 0) & (count <= FEW)
    return most + lax.cond(is_few, amended, lambda: nothing)


class Pixels(NamedTuple):
    """Some pixels' places and distances, their nearest edges, and which are on a buried one."""

    x: jax.Array
    y: jax.Array
    distance: jax.Array
    first: jax.Array
    last: jax.Array
    buried: jax.Array


def _through(
    edges: Outline, points_dot: jax.Array, pixels: Pixels, edge: jax.Array, exactly: bool
) -> jax.Array:
    """The change of each pixel's distance by way of one ``edge`` for each; ``exactly`` looks at
    those on the outline too."""
    start_dot = points_dot[outline_indices(points_dot.shape[0])]
    ends_dot = jnp.concatenate([start_dot, jnp.roll(start_dot, -1, axis=0)], axis=1)
    on_outline, sign = jnp.abs(pixels.distance) <= ON_OUTLINE, jnp.sign(pixels.distance)

    def of_edge(field: jax.Array) -> tuple[jax.Array, jax.Array]:
        return field[:, 0][edge], field[:, 1][edge]

    table = jnp.concatenate([edges.start, edges.tangent, edges.length[:, None]], axis=1)
    start_x, start_y, tx, ty, length = jnp.moveaxis(table[edge], -1, 0)
    dx, dy = pixels.x - start_x, pixels.y - start_y
    along = jnp.clip(dx * tx + dy * ty, 0.0, length)
    # Beside the edge along its normal, on the pixel's side; else away from the edge's start.
    at_start = along <= 0
    beside = sign * jnp.sign(tx * dy - ty * dx)
    away = sign * lax.rsqrt(jnp.maximum(dx * dx + dy * dy, ON_OUTLINE**2))
    ux = jnp.where(at_start, dx * away, -ty * beside)
    uy = jnp.where(at_start, dy * away, tx * beside)
    if exactly:
        normals = zip(of_edge(edges.corner), of_edge(edges.inward), (ux, uy), strict=True)
        ux, uy = (
            jnp.where(on_outline, jnp.where(at_start, corner, inward) * ~pixels.buried, u)
            for corner, inward, u in normals
        )
    share = along / jnp.where(length > 0, length, 1.0)
    weights = jnp.stack([ux * (share - 1), uy * (share - 1), -ux * share, -uy * share], -1)
    return jnp.sum(weights * ends_dot[edge], axis=-1)
