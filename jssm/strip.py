"""The strip of triangles that T points span, and its outline (Eq. 7)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Outline(NamedTuple):
    """The T edges of the outline, one after another round it.

    start: (T, 2). tangent: (T, 2), of unit length; 0 for an edge without length. length: (T,).
    inward: (T, 2), the unit normal toward the edge's triangle, or its quad where that triangle has
    no area; 0 where both have none. corner: (T, 2), what stands for the inward normal at the start
    itself.
    """

    start: jax.Array
    tangent: jax.Array
    length: jax.Array
    inward: jax.Array
    corner: jax.Array


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


def outline_indices(num_points: int) -> np.ndarray:
    """The closed outline as T point indices: along the inner boundary, back along the outer.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check_num_points(num_points)
    half = num_points // 2
    return np.concatenate([np.arange(half), np.arange(num_points - 1, half - 1, -1)])


def facing_corners(num_points: int) -> np.ndarray:
    """For each outline edge: the third corner of its triangle, and the fourth of its quad (2, T).

    The fourth tells the inner side where the triangle has no area.
    """
    half = num_points // 2
    i = np.arange(half - 1)
    inner = np.stack([half + i, half + i + 1])
    last = np.array([[num_points - 2], [half - 2]])
    outer = np.stack([i + 1, i])[:, ::-1]
    first = np.array([[1], [half + 1]])
    return np.concatenate([inner, last, outer, first], axis=1)


def outline(points: jax.Array) -> Outline:
    """The outline of the strip ``points`` (T, 2), differentiable and finite for any points."""
    num_points = points.shape[0]
    loop = outline_indices(num_points)
    start = points[loop]
    tangent, length = unit(jnp.roll(start, -1, axis=0) - start)
    third, fourth = points[facing_corners(num_points)] - start
    inward = _normal_toward(tangent, third)
    is_flat = jnp.all(inward == 0, axis=-1, keepdims=True)
    inward = jnp.where(is_flat, _normal_toward(tangent, fourth), inward)
    return Outline(start, tangent, length, inward, _corner_directions(tangent, inward))


def thicken(points: jax.Array, least_px: float) -> jax.Array:
    """The strip (T, 2) with the places where its wall is thinner than ``least_px`` widened to that.

    Thickness is measured across the line in the middle between both boundaries, and both move
    apart from it alike. A place that is folded deeper than that stays as it is.
    """
    inner, outer = jnp.split(points, 2)
    middle = (inner + outer) / 2
    beyond = jnp.pad(middle, ((1, 1), (0, 0)), mode="edge")
    tangent = unit(beyond[2:] - beyond[:-2])[0]
    normal = jnp.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
    half = dot(outer - middle, normal)
    outward = jnp.where(jnp.sum(half) < 0, -1.0, 1.0)
    shift = jnp.where(jnp.abs(half) < least_px / 2, outward * least_px / 2 - half, 0.0)
    return jnp.concatenate([inner - shift[:, None] * normal, outer + shift[:, None] * normal])


def unit(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors (..., 2) at unit length, 0 where they are 0, and their lengths (...)."""
    square = dot(v, v)
    is_zero = square == 0
    length = jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))
    return v / jnp.where(is_zero, 1.0, length)[..., None], length


def _normal_toward(tangent: jax.Array, aim: jax.Array) -> jax.Array:
    """The normal of ``tangent`` (..., 2) on the side of the vector ``aim``; 0 where that is 0."""
    side = jnp.sign(cross(tangent, aim))
    return jnp.stack([-tangent[..., 1], tangent[..., 0]], axis=-1) * side[..., None]


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The scalar product (...) of vectors (..., 2)."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]


def cross(a: jax.Array, b: jax.Array) -> jax.Array:
    """The cross product (...) of vectors (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _corner_directions(tangent: jax.Array, inward: jax.Array) -> jax.Array:
    """The gradient (T, 2) of the signed distance at each corner: its central differences there.

    At a corner the distance has a kink. Along x and along y, half the difference between its
    slopes on the two sides is what a small step both ways would measure.
    """
    before, after = jnp.roll(tangent, 1, axis=0), tangent
    inward_before = jnp.roll(inward, 1, axis=0)
    convex = dot(inward_before, after) > 0

    def distance(axis: int, sign: float) -> jax.Array:
        """The signed distance to the corner's two edges, one pixel from it along an axis."""
        to_rays = [
            jnp.where(sign * ray[:, axis] > 0, jnp.abs(ray[:, 1 - axis]), 1.0)
            for ray in (-before, after)
        ]
        sides = [sign * normal[:, axis] >= 0 for normal in (inward_before, inward)]
        inside = jnp.where(convex, sides[0] & sides[1], sides[0] | sides[1])
        return jnp.where(inside, 1.0, -1.0) * jnp.minimum(*to_rays)

    slopes = [(distance(axis, 1.0) - distance(axis, -1.0)) / 2 for axis in range(2)]
    return jnp.stack(slopes, axis=-1)


def _check_num_points(num_points: int) -> None:
    if num_points < 4 or num_points % 2:
        raise ValueError(f"a strip needs an even number of points, at least 4; got {num_points}")
