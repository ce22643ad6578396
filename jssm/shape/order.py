"""The order of a shape's T points: the inner boundary, then the outer one, T/2 points each.

Both run from the same basal end round the apex to the other, clockwise as displayed. Of a
``closed`` shape, a ring, both go round: the last point is followed by the first, and one landmark
has the first of both. What follows from the order stands here and nowhere else. Functions of points
take NumPy or JAX arrays (..., T, 2); functions of a number of points give NumPy arrays of indices.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")


def boundaries(points: Array) -> tuple[Array, Array]:
    """The inner and the outer boundary (..., T/2, 2) of points (..., T, 2)."""
    half = points.shape[-2] // 2
    return points[..., :half, :], points[..., half:, :]


def from_boundaries(inner: Array, outer: Array) -> Array:
    """The points (..., T, 2) of two boundaries (..., T/2, 2)."""
    if isinstance(inner, np.ndarray) and isinstance(outer, np.ndarray):
        return np.concatenate([inner, outer], axis=-2)
    import jax.numpy as jnp

    return jnp.concatenate([inner, outer], axis=-2)


def reversed_order(points: Array, *, closed: bool = False) -> Array:
    """The same shape (..., T, 2) numbered the other way: from its other basal end, or, of a ring,
    from the same points on."""
    inner, outer = boundaries(points)
    inner, outer = inner[..., ::-1, :], outer[..., ::-1, :]
    if closed:
        inner, outer = (_turned(line, 1, -2) for line in (inner, outer))
    return from_boundaries(inner, outer)


def basal_ends(num_points: int) -> np.ndarray:
    """The first and the last place on a boundary, as indices (2, 2): inner ends, outer ends."""
    half = num_points // 2
    return np.array([[0, half - 1], [half, num_points - 1]])


def is_outer(num_points: int) -> np.ndarray:
    """Which points (T,) lie on the outer boundary."""
    return np.arange(num_points) >= num_points // 2


def outline_indices(num_points: int) -> np.ndarray:
    """The outline as T indices: along the inner boundary, back along the outer. It is one closed
    loop or, of a ring, two, one after the other.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check(num_points)
    half = num_points // 2
    return np.concatenate([np.arange(half), np.arange(num_points - 1, half - 1, -1)])


def outline(points: Array) -> Array:
    """The outline (..., T, 2) of points (..., T, 2): their :func:`outline_indices`."""
    return points[..., outline_indices(points.shape[-2]), :]


def following(values: Array, steps: int = 1, *, closed: bool = False, axis: int = 0) -> Array:
    """What belongs to the outline's T corners or edges, each replaced by what follows it so many
    ``steps`` on, round its loop."""
    if not closed:
        return _turned(values, -steps, axis)
    half = values.shape[axis] // 2
    loops = np.arange(2 * half).reshape(2, half)
    return values.take(np.roll(loops, -steps, axis=1).ravel(), axis=axis)


def line(boundary: Array, *, closed: bool = False) -> Array:
    """A boundary (..., N, 2) as a polyline: of a ring with its first point again at the end."""
    if not closed:
        return boundary
    count = boundary.shape[-2]
    return boundary[..., np.arange(count + 1) % count, :]


def strip_triangles(num_points: int, *, closed: bool = False) -> np.ndarray:
    """The faces F of Eq. 7: first {i, i+1, T/2+i}, then {T/2+i, T/2+i+1, i+1}; (T − 2, 3) or, of a
    ring, whose last points are followed by the first, (T, 3).

    The two families have opposite winding.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check(num_points)
    half = num_points // 2
    i = np.arange(half if closed else half - 1)
    after = (i + 1) % half
    inner = np.stack([i, after, half + i], axis=1)
    outer = np.stack([half + i, half + after, after], axis=1)
    return np.concatenate([inner, outer])


def facing_corners(num_points: int, *, closed: bool = False) -> np.ndarray:
    """For each outline edge: the third corner of its triangle, and the fourth of its quad (2, T).

    The fourth tells the inner side where the triangle has no area.
    """
    half = num_points // 2
    if closed:
        i = np.arange(half)
        inner = np.stack([half + i, half + np.roll(i, -1)])
        outer = np.stack([i, np.roll(i, 1)])[:, ::-1]
        return np.concatenate([inner, outer], axis=1)
    i = np.arange(half - 1)
    inner = np.stack([half + i, half + i + 1])
    last = np.array([[num_points - 2], [half - 2]])
    outer = np.stack([i + 1, i])[:, ::-1]
    first = np.array([[1], [half + 1]])
    return np.concatenate([inner, last, outer, first], axis=1)


def cavity_strip(num_points: int, *, closed: bool = False) -> np.ndarray:
    """The indices (T,) that make, of a strip of T points, the strip that covers its cavity.

    ``points[cavity_strip(T)]`` has the inner boundary from the first basal end to the apex as one
    side and from the last basal end to the apex as the other, so that its outline is the inner
    boundary closed by a straight line between the basal ends. Each inner point occurs twice; the
    edges between the two have no length. Triangles across the cavity cover it exactly as long as
    the segment between opposite inner points stays inside, also where the long axis is bent.
    Of a ring both sides are the whole inner boundary, one of them backwards, so that its quads
    cover the cavity twice.
    """
    half = num_points // 2
    if closed:
        i = np.arange(half)
        return np.concatenate([i, -i % half])
    first = (np.arange(half) + half % 2) // 2  # an apex point of its own is in both sides
    return np.concatenate([first, half - 1 - first])


def _turned(values: Array, steps: int, axis: int) -> Array:
    """``np.roll`` of a NumPy or a JAX array."""
    if isinstance(values, np.ndarray):
        return np.roll(values, steps, axis=axis)
    import jax.numpy as jnp

    return jnp.roll(values, steps, axis=axis)


def _check(num_points: int) -> None:
    if num_points < 4 or num_points % 2:
        raise ValueError(f"a strip needs an even number of points, at least 4; got {num_points}")
