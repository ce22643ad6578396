"""A learned search along the wall: how far has each point to move, seen from close by?

As in active shape models (Cootes et al., "Active shape models: their training and application",
1995) the image is sampled across the wall at every pair of points, and the pose follows from the
moves by least squares, so that the shape stays one of the model's. Here a small network, the same
all along the wall, says how far to move; everything is differentiable, so it learns from the point
loss and the mask loss.

Lengths are in the canonical frame, whose unit is the RMS radius of the mean shape.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jssm.networks.layers import BatchNorm, along
from jssm.shape import affine, order
from jssm.shape.shape_model import ShapeModel
from jssm.shape.strip import unit

HALF_PROFILE = 0.6  # how far the profiles reach from the middle of the wall, to either side
SAMPLES = 24  # of a profile
PLACE_RIDGE = 0.01  # keeps the least squares solvable when all points coincide


class Search(nn.Module):
    """Profiles (N, T/2, SAMPLES) to moves (N, T, 2), across the wall and along it.

    Convolutions over neighbouring profiles and samples, then along the wall alone, farther and
    farther apart.
    """

    width: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, profiles: jax.Array, *, train: bool, closed: bool = False) -> jax.Array:
        """The moves, near 0 before training. closed: the last profile is the first one's
        neighbour."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = partial(BatchNorm, train, self.dtype, self.axis_name)
        x = profiles[..., None].astype(self.dtype)
        for features, stride in ((1, 1), (1, 2), (2, 2)):
            across_too = conv(features * self.width, (3, 3), (1, stride))
            x = nn.relu(norm()(along(across_too, x, 1, closed=closed)))
        x = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        x = nn.relu(norm()(conv(4 * self.width, (1,))(x)))
        for apart in (1, 2, 4, 8):
            joining = conv(4 * self.width, (3,), kernel_dilation=apart)
            x = x + nn.relu(norm()(along(joining, x, apart, closed=closed)))
        moves = nn.Dense(4, kernel_init=nn.initializers.normal(0.01))(x.astype(jnp.float32))
        return order.from_boundaries(*jnp.split(moves, 2, axis=-1))


def across(canonical: jax.Array) -> jax.Array:
    """The directions (T/2, 2) from each inner point of (T, 2) to its outer one; 0 if they meet."""
    inner, outer = order.boundaries(canonical)
    return unit(outer - inner)[0]


def profiles(image: jax.Array, theta: jax.Array, canonical: jax.Array) -> jax.Array:
    """What the ``image`` (H, W) shows across the wall of ``canonical`` (T, 2): (T/2, SAMPLES).

    Each profile runs from the inside outwards, through the middle between an inner and its outer
    point; theta (2, 3) places the canonical frame. Outside the image the value is 0.
    """
    inner, outer = order.boundaries(canonical)
    steps = jnp.linspace(-HALF_PROFILE, HALF_PROFILE, SAMPLES)[:, None]
    places = ((inner + outer) / 2)[:, None] + steps * across(canonical)[:, None]
    x, y = jnp.moveaxis(affine.apply(theta, places), -1, 0)
    return jax.scipy.ndimage.map_coordinates(image, [y, x], order=1)


def to_canonical(moves: jax.Array, canonical: jax.Array) -> jax.Array:
    """Moves (T, 2) across and along the wall of ``canonical`` (T, 2), in the canonical axes."""
    normal = jnp.tile(across(canonical), (2, 1))
    tangent = jnp.stack([-normal[:, 1], normal[:, 0]], axis=-1)
    return moves[:, :1] * normal + moves[:, 1:] * tangent


def fit(
    shape: ShapeModel, canonical: jax.Array, moves: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What moves canonical points (T, 2) most nearly by ``moves`` (T, 2), as the shapes allow.

    Gives the change of the affine map (2, 3), and that of β (K,) in units of its bounds 3√λ. They
    are least squares, in which the moves have the standard deviation ``noise`` and the mode
    weights that of the shape model, 1/3 of their bounds.
    """
    homogeneous = jnp.concatenate([canonical, jnp.ones((len(canonical), 1))], axis=1)
    nothing = jnp.zeros_like(homogeneous)
    of_x = jnp.concatenate([homogeneous, nothing], axis=1)
    of_y = jnp.concatenate([nothing, homogeneous], axis=1)
    place = jnp.stack([of_x, of_y], axis=1)
    bend = jnp.moveaxis(shape.modes * shape.limits[:, None, None], 0, -1)
    effects = jnp.concatenate([place, bend], axis=-1).reshape(-1, 6 + shape.num_modes)
    ridge = jnp.concatenate([jnp.full(6, PLACE_RIDGE), jnp.full(shape.num_modes, 9.0) * noise**2])
    found = jax.scipy.linalg.solve(
        effects.T @ effects + jnp.diag(ridge), effects.T @ moves.ravel(), assume_a="pos"
    )
    return found[:6].reshape(2, 3), found[6:]
