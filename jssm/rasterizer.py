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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from jssm import tiles as tiling
from jssm.linear_map import linear_map
from jssm.on_gpu import on_gpu
from jssm.strip import outline_indices, strip_triangles, thicken
from jssm.tiles import ON_OUTLINE, PIXELS, TILE, Edge, Found, Nearest, Pixels, Side, Visits

__all__ = [
    "outline_indices",
    "rasterize",
    "rasterize_whole",
    "sharpness",
    "signed_distance",
    "strip_triangles",
]

REACH = 12.0  # in τ: farther from the outline the sigmoid is within 1e-5 of 0 or 1
CHUNK = 48  # tiles visited together
FEW = 4  # tiles of a chunk whose gradients need a closer look, taken apart from the others
THINNEST = 1.1  # px: a band of 1 px has a pixel's centre in every row or column that it crosses
SLACK = 1e-3  # px added to the tests of what is near

_HALF_DIAGONAL = (TILE - 1) / np.sqrt(2)  # from a tile's centre to its farthest pixel
_OFFSETS = tiling.offsets(np.arange(PIXELS, dtype=np.float32))


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
    rows, columns = tiling.grid(shape)
    image = tiles.reshape(rows, columns, TILE, TILE).swapaxes(1, 2)
    return image.reshape(rows * TILE, columns * TILE)[: shape[0], : shape[1]]


# The search


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _search(points: jax.Array, reach: float, shape: tuple[int, ...]) -> tuple[jax.Array, Visits]:
    """The signed distance (n, PIXELS) by tile, and the visits that found it.

    In the tiles farther than ``reach`` (px) from the outline the distance is −2·reach.
    """
    sides = tiling.all_sides(points)
    visits = _plan(sides, reach, shape)
    far = jnp.full((visits.low.size, PIXELS), -2.0 * reach, jnp.float32)
    kernel, otherwise = partial(_search_at_once, shape), partial(_search_by_chunks, shape)
    distance, edges = on_gpu(kernel, otherwise, sides, visits, far)
    return distance, visits._replace(edges=edges)


def _search_at_once(
    shape: tuple[int, ...], sides: Side, visits: Visits, far: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The distances (n, PIXELS) by tile; the nearest edges (len(order), PIXELS) by place."""
    from jssm import tile_kernels  # here, as it loads Pallas

    distance, edges = tile_kernels.search(_cells(sides), visits, shape)
    return _scatter(far, visits.order, distance), edges


def _search_by_chunks(
    shape: tuple[int, ...], sides: Side, visits: Visits, far: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """As :func:`_search_at_once`."""

    def visit(chunk: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        distance, edges = state
        tiles = _chunk_of(visits.order, chunk)
        here, numbers = tiling.settle(_nearest(sides, tiles, visits, shape))
        edges = lax.dynamic_update_slice_in_dim(edges, numbers, chunk * CHUNK, axis=0)
        return _scatter(distance, tiles, here), edges

    return lax.fori_loop(0, _shared_max(visits.chunks), visit, (far, visits.edges))


def _plan(sides: Side, reach: float, shape: tuple[int, ...]) -> Visits:
    """The tiles to visit, from the distances between their centres and the cells."""
    n = int(np.prod(tiling.grid(shape)))
    padded = -(-n // CHUNK) * CHUNK
    x, y = tiling.centers(np.arange(n), shape)
    pair = [_of_cells(sides, side) for side in range(2)]
    square = jnp.minimum(*(_to_edge(side, x, y) for side in pair))
    distance = jnp.sqrt(jnp.min(square, axis=0))
    # A circle round each cell.
    ends = jnp.array([end for side in pair for end in (side.start, side.end)])
    center = jnp.mean(ends, axis=0)
    radius = jnp.sqrt(jnp.max(jnp.sum((ends - center) ** 2, axis=1), axis=0))
    off_center = (x - center[0]) ** 2 + (y - center[1]) ** 2
    # What is nearest to some pixel is not much farther from the centre than what is nearest there.
    matters = (square <= (distance + 2 * _HALF_DIAGONAL + SLACK) ** 2) | (
        off_center <= (radius + _HALF_DIAGONAL + SLACK) ** 2
    )
    near = (distance <= reach + _HALF_DIAGONAL) | jnp.any(off_center <= radius**2, axis=0)
    count = len(radius)
    index = np.arange(count)[:, None]
    low = jnp.min(jnp.where(matters, index, count), axis=0)
    high = jnp.max(jnp.where(matters, index, -1), axis=0)
    # Near tiles first, and among them those with most cells, so that a chunk's tiles take as long.
    rank = jnp.where(near, count - 1 - (high - low), count)
    order = jnp.sort(rank * n + np.arange(n))
    order = jnp.where(order < count * n, order % n, n)
    return Visits(
        order=jnp.concatenate([order, jnp.full(padded - n, n)]),
        chunks=-(-jnp.sum(near) // CHUNK),
        low=low,
        high=high,
        edges=jnp.zeros((padded, PIXELS), jnp.int32),
    )


def _of_cells(sides: Side, side: int) -> Side:
    """The inner (0) or the outer (1) side of each cell, each field (T/2 + 1, 1)."""
    number = tiling.cell_edges(sides.stop.size)[:, side]
    return jax.tree.map(lambda field: field[number, None], sides)


def _to_edge(side: Side, x: jax.Array, y: jax.Array) -> jax.Array:
    """The squared distances from (x, y) to edges."""
    (sx, sy), (tx, ty) = side.start, side.tangent
    length = jnp.where(side.line == 0, jnp.maximum(side.stop, 0), 0.0)
    along = jnp.clip((x - sx) * tx + (y - sy) * ty, 0, length)
    return (x - sx - along * tx) ** 2 + (y - sy - along * ty) ** 2


def _nearest(sides: Side, tiles: jax.Array, visits: Visits, shape: tuple[int, ...]) -> Nearest:
    """What each pixel (PIXELS) of a chunk's ``tiles`` finds among the cells that matter there."""
    low, high = (
        cell.at[tiles].get(mode="fill", fill_value=0) for cell in (visits.low, visits.high)
    )
    pixels = Pixels(tiling.centers(tiles[:, None], shape), _OFFSETS)
    rounds = _shared_max(jnp.max(high - low) + 1)
    cells = _cells(sides)
    leaves, tree = jax.tree.flatten(sides)

    def visit(turn: jax.Array, best: Nearest) -> Nearest:
        cell = cells[jnp.minimum(low + turn, high)][..., None]
        for side in range(2):
            fields = [cell[:, side, i] for i in range(len(leaves))]
            best = tiling.nearer(best, jax.tree.unflatten(tree, fields), pixels)
        return best

    return lax.fori_loop(0, rounds, visit, tiling.nothing((CHUNK, PIXELS)))


def _cells(fields: NamedTuple) -> jax.Array:
    """What belongs to the edges, each leaf (T,), as one row for each side of a cell: (T/2 + 1, 2,
    leaves). So one gather brings all of it."""
    rows = jnp.stack(jax.tree.leaves(fields), axis=-1)
    return rows[tiling.cell_edges(len(rows))]


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
    """The tiles (CHUNK, PIXELS), ``beyond`` where there is none of that number."""
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
    """The change (n, PIXELS) of the distances when the points move by ``points_dot`` (T, 2)."""
    points, distance, visits = given

    def visit(chunk: jax.Array, distance_dot: jax.Array) -> jax.Array:
        change = _change(tiling.all_edges(points), distance, visits, chunk, shape, points_dot)
        return _scatter(distance_dot, _chunk_of(visits.order, chunk), change)

    return lax.fori_loop(0, _shared_max(visits.chunks), visit, jnp.zeros_like(distance))


def _pull(shape: tuple[int, ...], given: tuple, distance_bar: jax.Array) -> jax.Array:
    """The transpose of :func:`_push`: (n, PIXELS) to (T, 2)."""
    kernel, otherwise = partial(_pull_at_once, shape), partial(_pull_by_chunks, shape)
    return on_gpu(kernel, otherwise, given, distance_bar)


def _pull_at_once(shape: tuple[int, ...], given: tuple, distance_bar: jax.Array) -> jax.Array:
    """All of :func:`_pull`."""
    from jssm import tile_kernels  # here, as it loads Pallas

    points, distance, visits = given
    edges = tiling.all_edges(points)
    bars = tile_kernels.pull(_cells(edges), visits, distance, distance_bar, shape)
    loop = outline_indices(len(points))
    return jnp.zeros_like(points).at[loop].set(bars[:, :2] + jnp.roll(bars[:, 2:], 1, axis=0))


def _pull_by_chunks(shape: tuple[int, ...], given: tuple, distance_bar: jax.Array) -> jax.Array:
    """As :func:`_pull_at_once`."""
    points, distance, visits = given

    def visit(chunk: jax.Array, points_bar: jax.Array) -> jax.Array:
        change = partial(_change, tiling.all_edges(points), distance, visits, chunk, shape)
        bar = _gather(distance_bar, _chunk_of(visits.order, chunk))
        return points_bar + jax.linear_transpose(change, points)(bar)[0]

    return lax.fori_loop(0, _shared_max(visits.chunks), visit, jnp.zeros_like(points))


def _change(
    edges: Edge,
    distance: jax.Array,
    visits: Visits,
    chunk: jax.Array,
    shape: tuple[int, ...],
    points_dot: jax.Array,
) -> jax.Array:
    """The change (CHUNK, PIXELS) of a chunk's distances; linear in ``points_dot`` (T, 2)."""
    tiles = _chunk_of(visits.order, chunk)
    pixels = Pixels(tiling.centers(tiles[:, None], shape), _OFFSETS)
    nearest = _chunk_of(visits.edges, chunk)
    found = tiling.found(pixels, _gather(distance, tiles, beyond=1.0), nearest)
    special = jnp.any((found.first != found.last) | (abs(found.distance) <= ON_OUTLINE), axis=1)
    plain = edges._replace(inward=None, corner=None)

    def exactly(found: Found) -> jax.Array:
        """The mean of both nearest edges."""
        first, last = (_through(edges, points_dot, found, e) for e in (found.first, found.last))
        return (first + last) / 2

    def plainly(found: Found) -> jax.Array:
        return _through(plain, points_dot, found, found.first)

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


def _through(edges: Edge, points_dot: jax.Array, found: Found, number: jax.Array) -> jax.Array:
    """The change of each pixel's distance by way of one edge for each, given by its number."""
    start_dot = points_dot[outline_indices(points_dot.shape[0])]
    ends_dot = jnp.concatenate([start_dot, jnp.roll(start_dot, -1, axis=0)], axis=1)
    fields, tree = jax.tree.flatten(edges)
    row = jnp.stack(fields, axis=-1)[number]  # one gather brings all of an edge
    start, end = tiling.slopes(jax.tree.unflatten(tree, jnp.moveaxis(row, -1, 0)), found)
    return jnp.sum(jnp.stack([*start, *end], axis=-1) * ends_dot[number], axis=-1)
