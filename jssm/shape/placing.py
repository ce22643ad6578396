"""Where the shape belongs, from three landmarks."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jssm.shape import order

SHEAR = 0.5  # variance of a landmark's place over that of the shape's shear, both in pixels
LEAST_WEIGHT = 0.01  # of a landmark that is not there


def middles(points: jax.Array, *, closed: bool = False) -> jax.Array:
    """Apex, first and last basal end (3, 2) of a wall (T, 2), midway between its boundaries.

    Where an even number of pairs has none at the apex, that is midway between two. Of a ring they
    are its first place and, before that, one third and, after it, two thirds of the way round.
    """
    inner, outer = order.boundaries(points)
    middle = (inner + outer) / 2
    half = len(middle)
    if closed:
        return middle[np.array([half // 3, 0, 2 * half // 3])]
    apex = (middle[(half - 1) // 2] + middle[half // 2]) / 2
    return jnp.stack([apex, middle[0], middle[-1]])


def from_landmarks(canonical: jax.Array, points: jax.Array, weights: jax.Array) -> jax.Array:
    """The affine map (2, 3) that takes ``canonical`` (L, 2) most nearly to ``points`` (L, 2).

    Least squares, in which each landmark counts by its weight (L,) in [0, 1] and the map's
    departure from a similarity by :data:`SHEAR`, so that two landmarks are enough for one and a
    doubtful third bends it little.
    """
    weights = jnp.maximum(weights, LEAST_WEIGHT)
    homogeneous = jnp.concatenate([canonical, jnp.ones((len(canonical), 1))], axis=1)
    nothing = jnp.zeros_like(homogeneous)
    of_x = jnp.concatenate([homogeneous, nothing], axis=1)
    of_y = jnp.concatenate([nothing, homogeneous], axis=1)
    effects = jnp.stack([of_x, of_y], axis=1).reshape(-1, 6)
    root = jnp.repeat(jnp.sqrt(weights), 2)
    # Of the map [[a, b, .], [c, d, .]] these are 0 for a similarity: a - d and b + c.
    shear = jnp.array([[1.0, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0]]) * jnp.sqrt(SHEAR)
    rows = jnp.concatenate([effects * root[:, None], shear])
    wanted = jnp.concatenate([points.ravel() * root, jnp.zeros(2)])
    product = lax.Precision.HIGHEST  # a GPU's quicker one is too coarse to solve with
    normal = jnp.matmul(rows.T, rows, precision=product)
    found = jax.scipy.linalg.solve(
        normal, jnp.matmul(rows.T, wanted, precision=product), assume_a="pos"
    )
    return found.reshape(2, 3)
