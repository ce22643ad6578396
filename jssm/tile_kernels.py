"""The rasterizer's two loops as kernels for NVIDIA GPUs (Pallas, by way of Triton).

One program has one tile; its pixels stay in registers while it goes through the cells that matter
there. ``jssm.rasterizer`` has the same loops in plain JAX, and calls these.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jssm import tiles as tiling
from jssm.tiles import PIXELS, Pixels, Visits

WARPS = 1  # of 32 threads, for the 64 pixels of a tile

_SIDE, _EDGE = (jax.tree.structure(jax.eval_shape(f, np.zeros((4, 2), np.float32)))
                for f in (tiling.all_sides, tiling.all_edges))  # fmt: skip
_WHOLE = pl.BlockSpec()
_ROW = pl.BlockSpec((None, PIXELS), lambda place: (place, 0))  # of this program's place


def search(
    cells: jax.Array, visits: Visits, shape: tuple[int, ...], *, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """What :func:`tiles.settle` gives of all pixels, (len(order), PIXELS) each, by place.

    cells: (T/2 + 1, 2, fields), the sides of all cells as rows. interpret: to run on any device.
    """

    def kernel(order: Any, low: Any, high: Any, cells: Any, distance: Any, edges: Any) -> None:
        _, pixels, (begin, end) = _place(order, low, high, shape)

        def visit(cell: jax.Array, best: tiling.Nearest) -> tiling.Nearest:
            for side in range(2):
                best = tiling.nearer(best, _fields(_SIDE, cells, cell, side), pixels)
            return best

        nearest = lax.fori_loop(begin, end, visit, tiling.nothing((PIXELS,)))
        distance[...], edges[...] = tiling.settle(nearest)

    size = (len(visits.order), PIXELS)
    return pl.pallas_call(
        kernel,
        grid=size[:1],
        out_specs=[_ROW, _ROW],
        out_shape=[jax.ShapeDtypeStruct(size, kind) for kind in (jnp.float32, jnp.int32)],
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=interpret,
    )(visits.order, visits.low, visits.high, cells)


def pull(
    cells: jax.Array,
    visits: Visits,
    distance: jax.Array,
    distance_bar: jax.Array,
    shape: tuple[int, ...],
    *,
    interpret: bool = False,
) -> jax.Array:
    """The gradient (T, 4) for the start and the end of each edge.

    cells: (T/2 + 1, 2, fields), the edges of all cells as rows. distance and its cotangent: (n,
    PIXELS), by tile. Sums are added up in the order in which the programs end: equal inputs give
    gradients that are equal but for rounding.
    """
    count = 2 * (len(cells) - 1)

    def kernel(
        order: Any, low: Any, high: Any, cells: Any, distance: Any, edges: Any, bar: Any, _: Any,
        sums: Any,
    ) -> None:  # fmt: skip
        tile, pixels, (begin, end) = _place(order, low, high, shape)
        found = tiling.found(pixels, distance[tile, :], edges[...])
        half = 0.5 * bar[tile, :]  # for each of the two nearest edges

        def visit(cell: jax.Array, carry: jax.Array) -> jax.Array:
            inner, outer = (cell + count - 1) % count, count - 1 - cell  # as in tiles.cell_edges
            for side, number in enumerate((inner, outer)):
                hits = jnp.where(found.first == number, half, 0.0)
                hits += jnp.where(found.last == number, half, 0.0)
                if side == 1:  # the cells at the ends have one edge, not two
                    hits *= inner != outer
                start, stop = tiling.slopes(_fields(_EDGE, cells, cell, side), found)
                for i, slope in enumerate((*start, *stop)):
                    triton.atomic_add(sums, (4 * number + i,), jnp.sum(slope * hits))
            return carry

        lax.fori_loop(begin, end, visit, begin)

    zeros = jnp.zeros(4 * count, jnp.float32)
    sums = pl.pallas_call(
        kernel,
        grid=(len(visits.order),),
        in_specs=[*[_WHOLE] * 5, _ROW, _WHOLE, _WHOLE],
        out_specs=_WHOLE,
        out_shape=jax.ShapeDtypeStruct(zeros.shape, zeros.dtype),
        input_output_aliases={7: 0},
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=interpret,
    )(visits.order, visits.low, visits.high, cells, distance, visits.edges, distance_bar, zeros)
    return sums.reshape(count, 4)


def _place(
    order: Any, low: Any, high: Any, shape: tuple[int, ...]
) -> tuple[jax.Array, Pixels, tuple[jax.Array, jax.Array]]:
    """The tile of this program's place in the order, its pixels, and which cells matter there: from
    the first up to before the second. Where the place has no tile, none does."""
    number = order[pl.program_id(0)]
    is_tile = number < int(np.prod(tiling.grid(shape)))
    tile = jnp.where(is_tile, number, 0)
    begin = low[tile]
    end = jnp.where(is_tile, high[tile] + 1, begin)
    offset = tiling.offsets(lax.iota(jnp.int32, PIXELS))
    return tile, Pixels(tiling.centers(tile, shape), offset), (begin, end)


def _fields(tree: Any, cells: Any, cell: jax.Array, side: int) -> Any:
    """A :class:`tiles.Side` or :class:`tiles.Edge` of numbers, from one row of ``cells``."""
    return jax.tree.unflatten(tree, [cells[cell, side, i] for i in range(tree.num_leaves)])
