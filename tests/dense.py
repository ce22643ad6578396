"""The rasterizer's image in a few lines: each pixel looks at every edge and every triangle.

It takes the place of the tiles and loops in tests of what uses them, since it is traced and
compiled in a sixth of their time. Those of the rasterizer itself have the fixture
``real_rasterizer``.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from jssm.methods import model
from jssm.rasterizer import codes, draw
from jssm.shape import order

REAL = draw._image


@contextlib.contextmanager
def absent():
    """What is traced meanwhile, by new functions, has the real rasterizer."""
    before = draw._image
    _use(REAL)
    try:
        yield
    finally:
        _use(before)


def _use(image):
    """Of all that was traced only what has the other one is forgotten: the rest is needed again."""
    draw._image = image
    drawn = draw.rasterize, draw.rasterize_whole, draw.signed_distance
    for function in (*drawn, model.predict):
        function.clear_cache()


def image(
    points: jax.Array, tau: jax.Array | None, shape: tuple[int, ...], closed: bool
) -> jax.Array:
    """The mask (H, W), or without τ the signed distance: as ``jssm.rasterizer.draw._image``."""
    codes.check(len(points))
    points = jnp.asarray(points, jnp.float32)
    points = jnp.where(jnp.isfinite(points).all(), points, -1e4)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    pixels = np.stack([x, y], axis=-1)[:, :, None]
    loop = order.outline_indices(len(points))
    start, stop = points[loop], points[order.following(loop, closed=closed)]
    nearest = jnp.argmin(_square(pixels, start, stop), axis=-1)
    square = _square(pixels[:, :, 0], start[nearest], stop[nearest])
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    inside = _inside(pixels, jax.lax.stop_gradient(points), closed)
    signed = jnp.where(inside, distance, -distance)
    return signed if tau is None else jax.nn.sigmoid(signed / tau)


def _square(pixels: jax.Array, start: jax.Array, stop: jax.Array) -> jax.Array:
    """Of the distances from pixels to the segments from start to stop."""
    along, to = stop - start, pixels - start
    length = jnp.sum(along**2, axis=-1)
    share = jnp.clip(jnp.sum(to * along, axis=-1) / jnp.where(length > 0, length, 1.0), 0, 1)
    return jnp.sum((to - share[..., None] * along) ** 2, axis=-1)


def _inside(pixels: jax.Array, points: jax.Array, closed: bool) -> jax.Array:
    """Whether any triangle that has an area covers a pixel."""
    triangles = order.strip_triangles(len(points), closed=closed)
    corners = jnp.moveaxis(points[triangles], 1, 0)
    area = _turn(corners[0], corners[1], corners[2])
    sides = [_turn(corners[i], corners[(i + 1) % 3], pixels) * area >= 0 for i in range(3)]
    return jnp.any(sides[0] & sides[1] & sides[2] & (area != 0), axis=-1)


def _turn(a: jax.Array, b: jax.Array, p: jax.Array) -> jax.Array:
    """Twice the area of a triangle, negative if its corners go round the other way."""
    (bx, by), (px, py) = (jnp.moveaxis(q - a, -1, 0) for q in (b, p))
    return bx * py - by * px
