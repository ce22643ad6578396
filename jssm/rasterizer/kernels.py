"""The rasterizer's work as kernels for NVIDIA GPUs (Pallas, by way of Triton), for one image.

One program has one tile; its pixels stay in registers while it goes through the sides that matter
there. ``jssm.rasterizer.loops`` has the same in plain JAX, for a batch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jssm.rasterizer import codes, grid
from jssm.rasterizer import tiles as tiling
from jssm.rasterizer.grid import PIXELS, TILE
from jssm.rasterizer.tiles import Edge, Pixels, Runs, Side, Trace

WARPS = 1  # of 32 threads, for the 64 pixels of a tile

_SIDE, _EDGE = (jax.tree.structure(jax.eval_shape(f, np.zeros((4, 2), np.float32)))
                for f in (tiling.all_sides, tiling.all_edges))  # fmt: skip
_WHOLE = pl.BlockSpec()
_TILE = pl.BlockSpec((None, PIXELS), lambda tile: (tile, 0))  # of this program
_PARAMETERS = triton.CompilerParams(num_warps=WARPS, num_stages=1)


def draw(
    shape: tuple[int, ...], sides: Side, tau: jax.Array | None, *, interpret: bool = False
) -> tuple[jax.Array, Trace]:
    """As :func:`loops.draw`, of one image. interpret: to run on any device."""
    num_points = sides.stop.size
    runs = _plan(sides, jnp.inf if tau is None else tiling.SATURATION * tau, shape)

    def kernel(first: Any, length: Any, rows: Any, distance: Any, kept: Any) -> None:
        tile = pl.program_id(0)
        pixels, turns, number_of = _work(tile, first, length, shape)

        def visit(turn: jax.Array, best: tiling.Nearest) -> tiling.Nearest:
            return tiling.nearer(best, _fields(_SIDE, rows, number_of(turn)), pixels)

        nearest = lax.fori_loop(0, turns, visit, tiling.nothing((PIXELS,)))
        distance[...], kept[...] = tiling.settle(nearest, num_points)

    size = (grid.count(shape), PIXELS)
    distance, kept = pl.pallas_call(
        kernel,
        grid=size[:1],
        out_specs=[_TILE, _TILE],
        out_shape=[jax.ShapeDtypeStruct(size, kind) for kind in (jnp.float32, jnp.int32)],
        compiler_params=_PARAMETERS,
        interpret=interpret,
    )(*runs, tiling.rows(sides))
    value = distance if tau is None else jax.nn.sigmoid(distance / tau)
    kept = kept.astype(codes.kind(num_points))
    return grid.windows_of(value, shape), Trace(runs, kept)


def pull(
    shape: tuple[int, ...],
    given: tuple[Edge, jax.Array | None, jax.Array, Trace],
    windows_bar: jax.Array,
    *,
    interpret: bool = False,
) -> jax.Array:
    """As :func:`loops.pull`, of one image: (T, 4).

    Sums are added up in the order in which the programs end: equal inputs give gradients that are
    equal but for rounding.
    """
    edges, tau, windows, trace = given
    num_points = edges.length.size
    factor = 1.0 if tau is None else windows * (1 - windows) / tau

    def kernel(first: Any, length: Any, rows: Any, kept: Any, bar: Any, _: Any, sums: Any) -> None:
        tile = pl.program_id(0)
        pixels, turns, number_of = _work(tile, first, length, shape)
        found = tiling.found(pixels, kept[...], num_points)
        half = 0.5 * bar[...]  # for each of the two nearest edges

        def visit(turn: jax.Array, carry: int) -> int:
            number = number_of(turn)
            hits = jnp.where(found.first == number, half, 0.0)
            hits += jnp.where(found.last == number, half, 0.0)
            slope = tiling.slope(_fields(_EDGE, rows, number), found)
            for i, change in enumerate(tiling.of_ends(slope)):
                triton.atomic_add(sums, (4 * number + i,), jnp.sum(change * hits))
            return carry

        lax.fori_loop(0, turns, visit, 0)  # what is carried are the sums, by reference

    zeros = jnp.zeros(4 * num_points, jnp.float32)
    sums = pl.pallas_call(
        kernel,
        grid=(grid.count(shape),),
        in_specs=[*[_WHOLE] * 3, _TILE, _TILE, _WHOLE],
        out_specs=_WHOLE,
        out_shape=jax.ShapeDtypeStruct(zeros.shape, zeros.dtype),
        input_output_aliases={5: 0},
        compiler_params=_PARAMETERS,
        interpret=interpret,
    )(
        *trace.runs,
        tiling.rows(edges),
        trace.codes.astype(jnp.int32),
        grid.by_tile(factor * windows_bar, shape),
        zeros,
    )
    return sums.reshape(num_points, 4)


def _plan(sides: Side, reach: Any, shape: tuple[int, ...]) -> Runs:
    """Which sides matter in which tiles: all of them against all, which a GPU does at once."""
    center = grid.centers(np.arange(grid.count(shape)), shape)
    column = jax.tree.map(lambda field: field[:, None], sides)
    distance = jnp.sqrt(jnp.min(tiling.to_edge(column, center), axis=0))
    matters = tiling.matters(column, center, tiling.limits(distance, reach, TILE))
    half = sides.stop.size // 2
    matters = matters.reshape(2, half, -1)
    numbers = np.arange(2 * half, dtype=np.int32).reshape(2, half, 1)
    low = jnp.min(jnp.where(matters, numbers, 2 * half), axis=1)
    high = jnp.max(jnp.where(matters, numbers, -1), axis=1)
    return Runs(jnp.where(high < 0, 0, low).T, jnp.maximum(high - low + 1, 0).T)


def _work(tile: Any, first: Any, length: Any, shape: tuple[int, ...]) -> tuple[Pixels, Any, Any]:
    """A tile's pixels, how many sides matter there, and which one is visited in which turn."""
    starts, lengths = ((ref[tile, 0], ref[tile, 1]) for ref in (first, length))
    pixels = Pixels(grid.centers(tile, shape), grid.offsets(lax.iota(jnp.int32, PIXELS)))
    return pixels, lengths[0] + lengths[1], lambda turn: tiling.number_of(turn, starts, lengths)


def _fields(tree: Any, rows: Any, number: Any) -> Any:
    """A :class:`tiles.Side` or :class:`tiles.Edge` of numbers, from one of the rows."""
    return jax.tree.unflatten(tree, [rows[number, i] for i in range(tree.num_leaves)])
