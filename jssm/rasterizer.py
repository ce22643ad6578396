"""A differentiable rasterizer for strips: T points to a soft mask (Eq. 7 and 8).

The mask is sigmoid(signed distance to the outline / τ). The distance is taken to the T outline
edges, those that belong to one triangle alone; a distance per triangle would show a seam of 0.5
along every edge that two triangles share. The sign is that of the union of the T − 2 triangles, so
a shape that folds over itself has no hole.

One pass over the edges finds, for every pixel, the nearest edge; the distance to that one edge is
then written as a differentiable function of its two end points. Its derivative is the derivative
of the minimum, and nothing of size pixels × edges is ever stored.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def strip_triangles(num_points: int) -> np.ndarray:
    """The faces F (T − 2, 3) of Eq. 7: first {i, i+1, T/2+i}, then {T/2+i, T/2+i+1, i+1}.

    The two families have opposite winding.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check_num_points(num_points)
    half = num_points // 2
    i = np.arange(half - 1)
    inner = np.stack([i, i + 1, half + i], axis=1)
    outer = np.stack([half + i, half + i + 1, i + 1], axis=1)
    return np.concatenate([inner, outer])


def outline(num_points: int) -> np.ndarray:
    """The closed outline as T point indices: along the inner boundary, back along the outer.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check_num_points(num_points)
    half = num_points // 2
    return np.concatenate([np.arange(half), np.arange(num_points - 1, half - 1, -1)])


@partial(jax.jit, static_argnames="shape")
def rasterize(points: jax.Array, shape: tuple[int, ...], *, tau: float = 0.5) -> jax.Array:
    """The soft mask (H, W) in [0, 1] of the strip ``points`` (T, 2) in pixels (Eq. 8).

    ``tau`` (pixels) is the softness: 0.5 on the outline, 0.88 one pixel inside for τ = 0.5.
    ``shape`` is (H, W). Differentiable in ``points`` and ``tau``; batch with ``jax.vmap``.
    """
    return jax.nn.sigmoid(signed_distance(points, shape) / tau)


@partial(jax.jit, static_argnames="shape")
def signed_distance(points: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The distance (H, W), in pixels, from each pixel's centre to the outline; positive inside.

    The gradient is that of the nearest edge. On the outline itself, where the distance has no
    gradient of its own, it is that of the distance along the edge's inward normal.
    """
    points = jnp.asarray(points, jnp.float32)
    loop = outline(points.shape[0])
    x, y = pixel_centers(shape)
    nearest, inside = _nearest_edge(lax.stop_gradient(points), x, y)
    inward = lax.stop_gradient(_inward_normals(points))
    # Coordinates one by one: arrays whose last axis is 2 would waste the vector units.
    edges = jnp.concatenate([points[loop], points[np.roll(loop, -1)], inward], axis=1)
    return _distance_to_edge([edges[:, i][nearest] for i in range(6)], x, y, inside)


def pixel_centers(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """The x and the y of every pixel's centre, each (H, W), float32."""
    y, x = jnp.mgrid[: shape[0], : shape[1]].astype(jnp.float32)
    return x, y


def _check_num_points(num_points: int) -> None:
    if num_points < 4 or num_points % 2:
        raise ValueError(f"a strip needs an even number of points, at least 4; got {num_points}")


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _nearest_edge(points: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For each pixel (H, W): its nearest outline edge (H, W) int32, and whether it is inside."""
    loop = outline(points.shape[0])
    start, end = points[loop], points[np.roll(loop, -1)]
    corners = points[strip_triangles(points.shape[0])]

    def visit_edge(carry, edge):
        best, nearest = carry
        index, a, d, inverse = edge
        px, py = x - a[0], y - a[1]
        t = jnp.clip((px * d[0] + py * d[1]) * inverse, 0, 1)
        square = (px - t * d[0]) ** 2 + (py - t * d[1]) ** 2
        closer = square < best
        return (jnp.where(closer, square, best), jnp.where(closer, index, nearest)), None

    def visit_triangle(covered, triangle):
        a, d, area = triangle
        sides = [d[i, 0] * (y - a[i, 1]) - d[i, 1] * (x - a[i, 0]) for i in range(3)]
        lowest = jnp.minimum(jnp.minimum(sides[0], sides[1]), sides[2])
        highest = jnp.maximum(jnp.maximum(sides[0], sides[1]), sides[2])
        # A triangle without area covers nothing, though all its sides are 0 along its line.
        return covered | ((area != 0) & ((lowest >= 0) | (highest <= 0))), None

    d = end - start
    square_length = jnp.sum(d**2, axis=-1)
    inverse = jnp.where(square_length > 0, 1 / jnp.where(square_length > 0, square_length, 1), 0)
    indices = jnp.arange(len(loop), dtype=jnp.int32)
    far = (jnp.full(x.shape, jnp.inf), jnp.zeros(x.shape, jnp.int32))
    (_, nearest), _ = lax.scan(visit_edge, far, (indices, start, d, inverse), unroll=4)

    sides = jnp.roll(corners, -1, axis=1) - corners
    area = _cross(sides[:, 0], sides[:, 1])
    inside, _ = lax.scan(visit_triangle, jnp.zeros(x.shape, bool), (corners, sides, area), unroll=4)
    return nearest, inside


def _inward_normals(points: jax.Array) -> jax.Array:
    """Unit normals (T, 2) of the outline's edges, toward the triangle that each belongs to."""
    num_points = points.shape[0]
    loop = outline(num_points)
    opposite = _opposite_corner(num_points)
    start, end = points[loop], points[np.roll(loop, -1)]
    d = end - start
    normal = jnp.stack([-d[:, 1], d[:, 0]], axis=-1)
    side = jnp.sign(_cross(d, points[opposite] - start))
    return normal * (side / _safe_norm(d, where_zero=1.0))[:, None]


def _opposite_corner(num_points: int) -> np.ndarray:
    """For each outline edge, the third corner (T,) of the one triangle that has it."""
    corner_of = {}
    for triangle in strip_triangles(num_points):
        for i in range(3):
            edge = frozenset((int(triangle[i]), int(triangle[i - 1])))
            corner_of[edge] = int(triangle[i - 2])
    loop = outline(num_points)
    edges = zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)
    return np.array([corner_of[frozenset(edge)] for edge in edges])


def _safe_norm(v: jax.Array, *, where_zero: float) -> jax.Array:
    """|v| along the last axis with a finite gradient everywhere; ``where_zero`` where v is 0."""
    return _safe_sqrt(jnp.sum(v**2, axis=-1), where_zero)


def _safe_sqrt(square: jax.Array, where_zero: float) -> jax.Array:
    is_zero = square == 0
    return jnp.where(is_zero, where_zero, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def _distance_to_edge(
    edges: list[jax.Array], x: jax.Array, y: jax.Array, inside: jax.Array
) -> jax.Array:
    """The signed distance from pixels (x, y) to an edge a–b each, differentiable in a and b.

    ``edges`` holds the six coordinates of a, b and the inward normal, each (H, W).

    Beside the edge's interior it is the normal component of the pixel, which passes smoothly
    through 0; beyond an end it is the distance to that end.
    """
    ax, ay, bx, by, inward_x, inward_y = edges
    dx, dy, px, py = bx - ax, by - ay, x - ax, y - ay
    square_length = dx * dx + dy * dy
    t = (px * dx + py * dy) / jnp.where(square_length > 0, square_length, 1)
    at_b = t > 0.5
    to_corner = _safe_sqrt(
        (px - jnp.where(at_b, dx, 0)) ** 2 + (py - jnp.where(at_b, dy, 0)) ** 2, 0.0
    )
    across = (dx * py - dy * px) / _safe_sqrt(square_length, 1.0)
    sign = jnp.where(inside, 1.0, -1.0)
    outline_side = jnp.sign(dx * inward_y - dy * inward_x)
    side = lax.stop_gradient(jnp.where(across == 0, outline_side, sign * jnp.sign(across)))

    beside = ((t > 0) & (t < 1)) | (to_corner == 0)
    return jnp.where(beside & (square_length > 0), side * across, sign * to_corner)
