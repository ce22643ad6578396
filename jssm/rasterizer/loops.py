"""The rasterizer's work as loops over chunks of tiles, in plain JAX.

Everything here takes a whole batch, each array with a leading axis of images, so that a chunk may
hold tiles of several. What there is to do is found on two levels: the image is cut into blocks of
tiles; tiles are looked at in the blocks near the outline or covered by the strip, and pixels in
such tiles.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jssm.rasterizer import codes, grid
from jssm.rasterizer import tiles as tiling
from jssm.rasterizer.grid import BLOCK, PIXELS, TILE, TILES, Vector
from jssm.rasterizer.tiles import Edge, Found, Nearest, Pixels, Runs, Side, Slope, Trace

# Few large kernels: what XLA splits among threads should be worth waking them.
TILES_AT_ONCE = 768
BLOCKS_AT_ONCE = 32  # fewer, as a block in the cavity of the horseshoe can have very long runs
TURNS = 3  # sides visited in one turn of a loop
RANKS = 64  # tiles with this many sides or more are in no order
FEW = 16  # tiles of a chunk with ties, which are taken apart from the others

_SIDE = jax.tree.structure(jax.eval_shape(tiling.all_sides, np.zeros((4, 2), np.float32)))
_OFFSETS = grid.offsets(np.arange(PIXELS))

# They are asked for again and again while a program is traced: for its shapes, its derivative, ...
_traced_once = partial(jax.jit, static_argnums=0, inline=True)

Given = tuple[Edge, jax.Array | None, jax.Array, Trace]


@_traced_once
def draw(shape: tuple[int, ...], sides: Side, tau: jax.Array | None) -> tuple[jax.Array, Trace]:
    """The masks of a batch, or without τ the signed distances (images, *windows); and what was
    found: see :func:`jssm.rasterizer.draw._draw`."""
    rows, (images, num_points) = tiling.rows(sides), sides.stop.shape
    reach = jnp.full(images, jnp.inf, jnp.float32) if tau is None else tiling.SATURATION * tau
    runs = _plan(rows, reach, shape)

    def visit(tiles: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        windows, kept = state
        image, pixels = _places(tiles, shape)
        nearest = _nearest(rows, image, _picked(runs, tiles), pixels)
        distance, code = tiling.settle(nearest, num_points)
        value = distance if tau is None else jax.nn.sigmoid(distance / _each(tau, image))
        return _put(windows, tiles, value, shape), _set(kept, tiles, code.astype(kept.dtype))

    nowhere = 0.0 if tau is not None else -jnp.inf
    windows = jnp.full((images, *grid.windows(shape)), nowhere, jnp.float32)
    kept = jnp.zeros((images * grid.count(shape), PIXELS), codes.kind(num_points))
    windows, kept = _by_chunks(visit, runs, (windows, kept), TILES_AT_ONCE)
    return windows, Trace(runs, kept.reshape(images, -1, PIXELS))


@_traced_once
def push(shape: tuple[int, ...], given: Given, moved: jax.Array) -> jax.Array:
    """The change (images, *windows) when the edges' ends move by ``moved`` (images, T, 4). given:
    the edges, τ, and what :func:`draw` gave."""
    _, _, windows, trace = given

    def visit(tiles: jax.Array, change: jax.Array) -> jax.Array:
        here = _change(shape, given, tiles, _flat(moved))
        return _put(change, tiles, here, shape)

    return _by_chunks(visit, trace.runs, jnp.zeros_like(windows), TILES_AT_ONCE)


@_traced_once
def pull(shape: tuple[int, ...], given: Given, windows_bar: jax.Array) -> jax.Array:
    """The transpose of :func:`push`: (images, *windows) to (images, T, 4)."""
    edges, _, _, trace = given
    zeros = jnp.zeros((edges.length.size, 4), jnp.float32)

    def visit(tiles: jax.Array, moved_bar: jax.Array) -> jax.Array:
        bar = _windows(windows_bar, tiles, shape).get(mode="fill", fill_value=0)
        change = jax.linear_transpose(lambda moved: _change(shape, given, tiles, moved), zeros)
        return moved_bar + change(bar.reshape(-1, PIXELS))[0]

    moved_bar = _by_chunks(visit, trace.runs, zeros, TILES_AT_ONCE)
    return moved_bar.reshape(*edges.length.shape, 4)


# Chunks


def _by_chunks(visit: Callable, runs: Runs, state: Any, at_once: int) -> Any:
    """``state``, after ``visit(tiles, state)`` for chunk after chunk of the tiles that have runs,
    those with the longest first, so that a chunk's take as long.

    Tiles (or blocks) are numbered through all images; places of the last chunk that stay empty hold
    the number of all of them, which is no tile's.
    """
    length = jnp.sum(runs.length, axis=-1).reshape(-1)
    total = length.size
    size = min(at_once, -(-total // 4))  # a fourth, as few tiles of an image have any
    order = codes.by_rank((RANKS - jnp.minimum(length, RANKS)).astype(jnp.uint32), RANKS)
    order = jnp.pad(order, (0, -total % size), constant_values=total)

    def step(chunk: jax.Array, state: Any) -> Any:
        return visit(lax.dynamic_slice_in_dim(order, chunk * size, size), state)

    return lax.fori_loop(0, -(-jnp.sum(length > 0) // size), step, state)


def _places(tiles: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, Pixels]:
    """The images of tiles, and the places of their pixels."""
    count = grid.count(shape)
    return tiles // count, Pixels(grid.centers((tiles % count)[:, None], shape), _OFFSETS)


def _picked(runs: Runs, tiles: jax.Array) -> Runs:
    """Those of some tiles, (2, tiles): of either half of the outline."""
    return jax.tree.map(lambda field: field.reshape(-1, 2).at[tiles].get(mode="clip").T, runs)


def _each(numbers: jax.Array, image: jax.Array) -> jax.Array:
    """The number of each tile's image, (tiles, 1)."""
    return numbers.at[image].get(mode="clip")[:, None]


def _windows(windows: jax.Array, tiles: jax.Array, shape: tuple[int, ...]) -> Any:
    """The windows (tiles, TILE, TILE) of these tiles, to get or to set."""
    count = grid.count(shape)
    row, column = grid.place(tiles % count, shape)
    return windows.at[tiles // count, row, :, column, :]


def _put(
    windows: jax.Array, tiles: jax.Array, values: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    values = values.reshape(-1, TILE, TILE)
    return _windows(windows, tiles, shape).set(values, mode="drop", unique_indices=True)


def _set(array: jax.Array, tiles: jax.Array, values: jax.Array) -> jax.Array:
    return array.at[tiles].set(values, mode="drop", unique_indices=True)


def _flat(array: jax.Array) -> jax.Array:
    """The first two axes as one."""
    return array.reshape(-1, *array.shape[2:])


def _sides(rows: jax.Array) -> Side:
    """Rows (..., fields) as sides, each field (..., 1)."""
    return jax.tree.unflatten(_SIDE, [rows[..., i, None] for i in range(rows.shape[-1])])


# The plan


def _plan(rows: jax.Array, reach: jax.Array, shape: tuple[int, ...]) -> Runs:
    """Which sides matter in which tiles of all images; reach: (images,) px."""
    images, num_points = rows.shape[:2]
    blocks, half = grid.count(shape) // TILES, num_points // 2
    every = Runs(
        jnp.broadcast_to(np.array([[0], [half]], np.int32), (2, images)),
        jnp.full((2, images), half, jnp.int32),
    )
    corner = grid.centers(np.arange(blocks) * TILES, shape)
    middle = tuple(x + TILE * (BLOCK - 1) / 2 for x in corner)
    of_blocks = _narrowed(rows, np.arange(images), every, middle, TILE * BLOCK, reach)

    def visit(numbers: jax.Array, state: Runs) -> Runs:
        tiles = (numbers % blocks)[:, None] * TILES + np.arange(TILES)
        image, centers = numbers // blocks, grid.centers(tiles, shape)
        runs = _narrowed(rows, image, _picked(of_blocks, numbers), centers, TILE, reach)
        return jax.tree.map(lambda all_of_them, new: _set(all_of_them, numbers, new), state, runs)

    none = jnp.zeros((images * blocks, TILES, 2), jnp.int32)
    runs = _by_chunks(visit, of_blocks, Runs(none, none), BLOCKS_AT_ONCE)
    return jax.tree.map(lambda field: field.reshape(images, -1, 2), runs)


def _narrowed(
    rows: jax.Array,
    image: jax.Array | np.ndarray,
    runs: Runs,
    centers: Vector,
    size: int,
    reach: jax.Array,
) -> Runs:
    """Which of the sides that matter to P parents matter to their C children: (P, C, 2).

    image: (P,), that of each parent. runs: theirs, (2, P). centers, size: of the children, which
    are squares of ``size`` px; (P or 1, C).
    """
    first, length = runs
    rounds = -(-jnp.max(length) // TURNS)

    def sides_of(turn: jax.Array) -> list[tuple[jax.Array, Side]]:
        """The next sides of each parent, (2, P, 1), and their numbers; the last one again when
        there are no more."""
        places = turn * TURNS + np.arange(TURNS, dtype=np.int32)[:, None, None]
        numbers = first + jnp.clip(places, 0, jnp.maximum(length - 1, 0))
        found = rows.at[image, numbers].get(mode="clip")
        return [(n[..., None], _sides(row)) for n, row in zip(numbers, found, strict=True)]

    def closest(turn: jax.Array, square: jax.Array) -> jax.Array:
        for _, side in sides_of(turn):
            square = jnp.minimum(square, tiling.to_edge(side, centers))
        return square

    children = (2, len(image), np.shape(centers[0])[-1])
    is_run = (length > 0)[..., None]
    square = lax.fori_loop(0, rounds, closest, jnp.full(children, jnp.inf, jnp.float32))
    distance = jnp.sqrt(jnp.min(jnp.where(is_run, square, jnp.inf), axis=0))
    limits = tiling.limits(distance, _each(reach, jnp.asarray(image)), size)

    def widened(turn: jax.Array, ends: jax.Array) -> jax.Array:
        for number, side in sides_of(turn):
            matters = is_run & tiling.matters(side, centers, limits)
            low = jnp.where(ends < 0, number, codes.parts(ends)[0])
            ends = jnp.where(matters, codes.pair(low, number), ends)
        return ends

    # The first and the last one in one number, since each array that a loop carries costs a kernel.
    ends = lax.fori_loop(0, rounds, widened, jnp.full(children, -1, jnp.int32))
    low, high = codes.parts(ends)
    found = Runs(jnp.where(ends < 0, 0, low), jnp.where(ends < 0, 0, high - low + 1))
    return jax.tree.map(lambda field: jnp.moveaxis(field, 0, -1), found)


# The search


def _nearest(rows: jax.Array, image: jax.Array, runs: Runs, pixels: Pixels) -> Nearest:
    """What each pixel (PIXELS) of tiles finds among the sides that matter there."""
    rounds = -(-jnp.max(runs.length[0] + runs.length[1]) // TURNS)

    def visit(turn: jax.Array, best: Nearest) -> Nearest:
        turns = turn * TURNS + np.arange(TURNS, dtype=np.int32)[:, None]
        numbers = tiling.number_of(turns, *runs)
        for row in rows.at[image, numbers].get(mode="clip"):
            best = tiling.nearer(best, _sides(row), pixels)
        return best

    start = tiling.nothing((len(image), PIXELS))
    return lax.fori_loop(0, rounds, visit, start)


# The derivative


def _change(shape: tuple[int, ...], given: Given, tiles: jax.Array, moved: jax.Array) -> jax.Array:
    """The change (tiles, PIXELS) in these tiles; linear in ``moved`` (images · T, 4)."""
    edges, tau, windows, trace = given
    kept = _flat(trace.codes)
    image, pixels = _places(jnp.minimum(tiles, len(kept) - 1), shape)
    kept = kept.at[tiles].get(mode="fill", fill_value=0)
    found = tiling.found(pixels, kept, edges.length.shape[1])
    is_tie = jnp.any(found.first != found.last, axis=1)

    def change_through(slope: Slope, image: jax.Array, edge: jax.Array) -> jax.Array:
        there = moved.at[_place(edges, image, edge)].get(mode="promise_in_bounds")
        return jnp.sum(jnp.stack(tiling.of_ends(slope), axis=-1) * there, axis=-1)

    def slope_of_first(edges: Edge) -> Slope:
        weight = jnp.where(found.first == found.last, 1.0, 0.5)
        return _weighted(weight, _slope(edges, image, found, found.first))

    def from_the_last(image: jax.Array, found: Found) -> jax.Array:
        weight = jnp.where(found.first == found.last, 0.0, 0.5)
        slope = _weighted(weight, _slope(edges, image, found, found.last))
        return change_through(slope, image, found.last)

    def in_few_tiles() -> jax.Array:
        few = jnp.nonzero(is_tie, size=FEW, fill_value=len(tiles))[0]
        some = jax.tree.map(lambda x: x.at[few].get(mode="clip"), (image, found))
        return jnp.zeros(kept.shape, jnp.float32).at[few].add(from_the_last(*some), mode="drop")

    # Pixels on the outline and ties are rare, and their way is long. (That slopes are computed in a
    # branch also keeps XLA from computing them anew for each of the numbers stacked above.)
    off_outline = edges._replace(inward=None, corner=None)
    slope = lax.cond(
        jnp.any(found.on_outline),
        lambda: slope_of_first(edges),
        lambda: slope_of_first(off_outline),
    )
    from_last = lax.cond(jnp.sum(is_tie) <= FEW, in_few_tiles, lambda: from_the_last(image, found))
    change = change_through(slope, image, found.first) + from_last
    if tau is None:
        return change
    value = _windows(windows, tiles, shape).get(mode="clip").reshape(-1, PIXELS)
    return change * value * (1 - value) / _each(tau, image)


def _slope(edges: Edge, image: jax.Array, found: Found, number: jax.Array) -> Slope:
    """By way of one edge for each pixel, given by its number."""
    row = _flat(tiling.rows(edges)).at[_place(edges, image, number)].get(mode="promise_in_bounds")
    fields = (row[..., i] for i in range(row.shape[-1]))  # one gather brings all of them
    return tiling.slope(jax.tree.unflatten(jax.tree.structure(edges), fields), found)


def _weighted(weight: jax.Array, slope: Slope) -> Slope:
    ux, uy = slope.direction
    return Slope((weight * ux, weight * uy), slope.share)


def _place(edges: Edge, image: jax.Array, number: jax.Array) -> jax.Array:
    """The numbers of edges among those of all images."""
    return image[:, None] * edges.length.shape[1] + number
