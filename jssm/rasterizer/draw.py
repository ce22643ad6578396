"""A differentiable rasterizer for strips: T points to a soft mask (Eq. 7 and 8).

The mask is sigmoid(signed distance to the outline / τ). The distance is taken to the T outline
edges, those that belong to one triangle alone; a distance per triangle would show a seam of 0.5
along every edge that two triangles share. The sign is that of the union of the T − 2 triangles, so
a shape that folds over itself has no hole. Of a ring (``closed``) the outline is its two loops, and
the sides where the last points are followed by the first are sides of two triangles like others.

Where the sigmoid is flat no distance is needed. The image is cut into tiles; only those near the
outline, or covered by the strip, are visited, each with the few edges and triangles that can
matter there.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jssm.rasterizer import codes, grid, loops, tiles
from jssm.rasterizer.linear_map import linear_map
from jssm.rasterizer.on_gpu import on_gpu
from jssm.rasterizer.pooled import pooled
from jssm.rasterizer.tiles import Trace
from jssm.shape.strip import thicken

THINNEST = 1.1  # px: a band of 1 px has a pixel's centre in every row or column that it crosses


@partial(jax.jit, static_argnames=("shape", "closed"))
def rasterize(
    points: jax.Array, shape: tuple[int, ...], *, tau: float = 0.5, closed: bool = False
) -> jax.Array:
    """The soft mask (H, W) in [0, 1] of the strip ``points`` (T, 2) in pixels (Eq. 8).

    ``tau`` (pixels) is the softness: 0.5 on the outline, 0.88 one pixel inside for τ = 0.5.
    ``shape`` is (H, W). ``closed``: the strip is a ring, its last points followed by its first.
    Differentiable in ``points`` and ``tau``; batch with ``jax.vmap``.
    Farther than 12τ from the outline the mask is 0 or 1, and its gradient 0, to within 1e-5.
    Second derivatives: see :func:`signed_distance`.

    Raises:
      ValueError: when T is odd, less than 4, or more than 32768.
    """
    return _image(points, jnp.asarray(tau, jnp.float32), shape, closed)


@partial(jax.jit, static_argnames=("shape", "closed"))
def rasterize_whole(
    points: jax.Array, shape: tuple[int, ...], *, tau: float = 0.5, closed: bool = False
) -> jax.Array:
    """As :func:`rasterize`, of a wall that is at least :data:`THINNEST` px thick everywhere.

    A thinner one can slip between the centres of the pixels, and the mask, cut at 0.5, tears.
    """
    return rasterize(thicken(points, THINNEST, closed=closed), shape, tau=tau, closed=closed)


def sharpness(progress: jax.Array, *, widest: float = 16.0, tau: float = 0.5) -> jax.Array:
    """A schedule for τ (px): ``widest`` at ``progress`` 0, falling geometrically to ``tau`` at 1.

    A mask has no gradient farther than 12τ from the outline, so that at τ = 0.5 a mask loss alone
    cannot move a shape that lies beside its target. Begin as wide as the shape may be off.
    """
    return widest * (tau / widest) ** jnp.clip(progress, 0.0, 1.0)


@partial(jax.jit, static_argnames=("shape", "closed"))
def signed_distance(
    points: jax.Array, shape: tuple[int, ...], *, closed: bool = False
) -> jax.Array:
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
    return _image(points, None, shape, closed)


def _image(
    points: jax.Array, tau: jax.Array | None, shape: tuple[int, ...], closed: bool
) -> jax.Array:
    codes.check(points.shape[0])
    windows, _ = _draw(jnp.asarray(points, jnp.float32), tau, shape, closed)
    return grid.image_of(windows, shape)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _draw(
    points: jax.Array, tau: jax.Array | None, shape: tuple[int, ...], closed: bool
) -> tuple[jax.Array, Trace]:
    """The mask, or without τ the signed distance, as windows (see ``grid``), and how it was
    drawn."""
    kernel, otherwise = jax.vmap(partial(_draw_at_once, shape)), partial(loops.draw, shape)
    like = _windows_like(shape), tiles.trace_like(points.shape[0], shape)
    sides = tiles.all_sides(points, closed=closed)
    return pooled(partial(on_gpu, kernel, otherwise), like)(sides, tau)


def _draw_at_once(*args: Any) -> tuple[jax.Array, Trace]:
    from jssm.rasterizer import kernels

    return kernels.draw(*args)


@_draw.defjvp
def _draw_jvp(shape: tuple[int, ...], closed: bool, primals: tuple, tangents: tuple) -> tuple:
    (points, tau), (points_dot, tau_dot) = primals, tangents
    # Through itself, so that the derivative can be differentiated in its turn.
    windows, trace = _draw(points, tau, shape, closed)
    given = (points, tau, windows, trace)
    push, pull = (partial(way, shape, closed) for way in (_push, _pull))
    change = linear_map(push, pull, given, points_dot, windows)
    if tau is not None:
        change -= _slope_in_tau(windows, tau) * tau_dot
    no_change = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), trace)
    return (windows, trace), (change, no_change)


def _push(shape: tuple[int, ...], closed: bool, given: tuple, points_dot: jax.Array) -> jax.Array:
    """The change of the windows when the points move by ``points_dot`` (T, 2)."""
    points, *others = given
    edges = (tiles.all_edges(points, closed=closed), *others)
    move = pooled(partial(loops.push, shape), _windows_like(shape))
    return move(edges, tiles.ends(points_dot, closed=closed))


def _pull(shape: tuple[int, ...], closed: bool, given: tuple, windows_bar: jax.Array) -> jax.Array:
    """The transpose of :func:`_push`."""
    points, *others = given
    edges = (tiles.all_edges(points, closed=closed), *others)
    ends = partial(tiles.ends, closed=closed)
    kernel, otherwise = jax.vmap(partial(_pull_at_once, shape)), partial(loops.pull, shape)
    like = jax.eval_shape(ends, points)
    moved_bar = pooled(partial(on_gpu, kernel, otherwise), like)(edges, windows_bar)
    return jax.linear_transpose(ends, points)(moved_bar)[0]


def _pull_at_once(*args: Any) -> jax.Array:
    from jssm.rasterizer import kernels

    return kernels.pull(*args)


def _windows_like(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(grid.windows(shape), jnp.float32)


def _slope_in_tau(mask: jax.Array, tau: jax.Array) -> jax.Array:
    """How fast the mask falls as τ grows: m (1 − m) d / τ², d = τ log(m / (1 − m)) the distance; 0
    where the mask is 0 or 1."""
    mask = jnp.where((mask > 0) & (mask < 1), mask, 0.5)
    return mask * (1 - mask) * jnp.log(mask / (1 - mask)) / tau
