"""The order of a shape's T points: the inner boundary, then the outer one, T/2 points each.

Both run from the same basal end round the apex to the other, clockwise as displayed. What follows
from the order stands here and nowhere else. Functions of points take NumPy or JAX arrays
(..., T, 2); functions of a number of points give NumPy arrays of indices.
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


def reversed_order(points: Array) -> Array:
    """The same shape (..., T, 2) numbered from its other basal end."""
    inner, outer = boundaries(points)
    return from_boundaries(inner[..., ::-1, :], outer[..., ::-1, :])


def basal_ends(num_points: int) -> np.ndarray:
    """The first and the last place on a boundary, as indices (2, 2): inner ends, outer ends."""
    half = num_points // 2
    return np.array([[0, half - 1], [half, num_points - 1]])


def is_outer(num_points: int) -> np.ndarray:
    """Which points (T,) lie on the outer boundary."""
    return np.arange(num_points) >= num_points // 2


def outline_indices(num_points: int) -> np.ndarray:
    """The closed outline as T indices: along the inner boundary, back along the outer.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check(num_points)
    half = num_points // 2
    return np.concatenate([np.arange(half), np.arange(num_points - 1, half - 1, -1)])


def outline(points: Array) -> Array:
    """The closed outline (..., T, 2) of points (..., T, 2): their :func:`outline_indices`."""
    return points[..., outline_indices(points.shape[-2]), :]


def strip_triangles(num_points: int) -> np.ndarray:
    """The faces F (T − 2, 3) of Eq. 7: first {i, i+1, T/2+i}, then {T/2+i, T/2+i+1, i+1}.

    The two families have opposite winding.

    Raises:
      ValueError: when ``num_points`` is odd or less than 4.
    """
    _check(num_points)
    half = num_points // 2
    i = np.arange(half - 1)
    inner = np.stack([i, i + 1, half + i], axis=1)
    outer = np.stack([half + i, half + i + 1, i + 1], axis=1)
    return np.concatenate([inner, outer])


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


def cavity_strip(num_points: int) -> np.ndarray:
    """The indices (T,) that make, of a strip of T points, the strip that covers its cavity.

    ``points[cavity_strip(T)]`` has the inner boundary from the first basal end to the apex as one
    side and from the last basal end to the apex as the other, so that its outline is the inner
    boundary closed by a straight line between the basal ends. Each inner point occurs twice; the
    edges between the two have no length. Triangles across the cavity cover it exactly as long as
    the segment between opposite inner points stays inside, also where the long axis is bent.
    """
    half = num_points // 2
    first = (np.arange(half) + half % 2) // 2  # an apex point of its own is in both sides
    return np.concatenate([first, half - 1 - first])


def _check(num_points: int) -> None:
    if num_points < 4 or num_points % 2:
        raise ValueError(f"a strip needs an even number of points, at least 4; got {num_points}")
