"""Which places lie in a polygon: a plain test, for where no gradient is needed."""

import jax
import jax.numpy as jnp

from jssm.shape import order


def encloses(polygon: jax.Array, places: jax.Array, *, closed: bool = False) -> jax.Array:
    """Whether the closed ``polygon`` (n, 2) encloses each of ``places`` (..., 2), by the even-odd
    rule: a ray to the right crosses its edges an odd number of times.

    closed: the polygon is the outline of a ring, two loops of n / 2 corners.
    """
    x, y = places[..., 0, None], places[..., 1, None]
    (x0, y0), (x1, y1) = polygon.T, order.following(polygon, closed=closed).T
    is_crossed = (y0 > y) != (y1 > y)
    rise = jnp.where(y1 == y0, 1.0, y1 - y0)
    crossings = jnp.sum(is_crossed & (x < x0 + (y - y0) / rise * (x1 - x0)), axis=-1)
    return crossings % 2 == 1
