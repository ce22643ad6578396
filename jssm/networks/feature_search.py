"""A search across the wall in learned features, and the fit of the shape model to what it finds.

As in active shape models (Cootes et al., 1995), a profile is sampled at every pair of points, here
of a network's features. A small network, the same all along the wall, says how far each point is
to move across and along the wall and, as each point lies in an image of its own quality, how sure
it is of either (Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for
computer vision?", 2017). The pose is the most probable one under these moves and the shape model,
found by one Gauss-Newton step.

Lengths are in the canonical frame, whose unit is the RMS radius of the mean shape.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jssm.networks.layers import BatchNorm, along
from jssm.networks.search import across
from jssm.shape import order
from jssm.shape.shape_model import ShapeModel

SAMPLES = 24  # of a profile
APART = (1, 2, 4, 8)  # pairs of points, between those that one convolution along the wall joins
LOG_STD = -2.3  # of a move, before training: to 0.1
LEAST_STD = 0.02  # no move is surer than this, about a pixel in an image of 224
PLACE_RIDGE = 0.01  # keeps the least squares solvable when all points coincide


class Moves(NamedTuple):
    """Moves (T, 2) across (outwards) and along the wall, and their ``variances`` (T, 2)."""

    means: jax.Array
    variances: jax.Array


class Step(NamedTuple):
    """A change of the pose: of the affine map, (2, 3) in the canonical frame, and of the latent
    mode weights (K,); and ``factor`` (6 + K, 6 + K), the lower Cholesky factor of the information
    about all of these, the inverse of their posterior covariance, the six in the order of the rows
    of ``place``."""

    place: jax.Array
    latent: jax.Array
    factor: jax.Array


class FeatureSearch(nn.Module):
    """Profiles (N, T/2, SAMPLES, F) to :class:`Moves`, each with a leading axis N.

    width: channels next to the profiles, twice as many along the wall.
    """

    width: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, profiles: jax.Array, *, train: bool, closed: bool = False) -> Moves:
        """The moves, near 0 before training. closed: the last profile is the first one's
        neighbour."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = partial(BatchNorm, train, self.dtype, self.axis_name)
        x = profiles.astype(self.dtype)
        for _ in range(2):
            x = nn.relu(norm()(along(conv(self.width, (3, 3), (1, 2)), x, 1, closed=closed)))
        x = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
        x = nn.relu(norm()(conv(2 * self.width, (1,))(x)))
        for apart in APART:
            joining = conv(2 * self.width, (3,), kernel_dilation=apart)
            x = x + nn.relu(norm()(along(joining, x, apart, closed=closed)))
        x = x.astype(jnp.float32)
        means = nn.Dense(4, kernel_init=nn.initializers.normal(0.01), name="means")(x)
        spread = nn.Dense(4, kernel_init=nn.initializers.normal(0.01), name="spread")(x)
        return Moves(_both_boundaries(means), _both_boundaries(variances_of(LOG_STD + spread)))


def variances_of(log_std: jax.Array) -> jax.Array:
    """The variances of moves by what a network says of the logarithms of their deviations.

    Beyond a deviation of 1, which is to know nothing, they grow slowly: the fit divides by their
    squares, which no value may take out of the range of float32.
    """
    beyond = jnp.log1p(jnp.maximum(log_std, 0.0))
    return LEAST_STD**2 + jnp.exp(2 * jnp.where(log_std > 0, beyond, log_std))


def _both_boundaries(x: jax.Array) -> jax.Array:
    """(N, T/2, 4), two numbers for each point of a pair, as (N, T, 2)."""
    return order.from_boundaries(*jnp.split(x, 2, axis=-1))


def profile_places(canonical: jax.Array, reach: float) -> jax.Array:
    """Where the wall of ``canonical`` (T, 2) is looked at: (T/2, SAMPLES, 2), from the inside
    outwards, up to ``reach`` to either side of the middle between an inner and its outer point."""
    inner, outer = order.boundaries(canonical)
    steps = jnp.linspace(-reach, reach, SAMPLES)[:, None]
    return ((inner + outer) / 2)[:, None] + steps * across(canonical)[:, None]


def sample(features: jax.Array, places: jax.Array) -> jax.Array:
    """The features (..., F) at ``places`` (..., 2) of a map (H, W, F), bilinear; 0 outside."""
    padded = jnp.pad(features, ((1, 1), (1, 1), (0, 0)))
    height, width, channels = padded.shape
    rows = padded.reshape(-1, channels)
    x, y = (jnp.clip(places[..., i] + 1, 0, n - 1) for i, n in ((0, width), (1, height)))
    left, top = jnp.minimum(jnp.floor(x), width - 2), jnp.minimum(jnp.floor(y), height - 2)
    corner = (top * width + left).astype(jnp.int32)
    right, down = (x - left)[..., None], (y - top)[..., None]
    upper = rows[corner] * (1 - right) + rows[corner + 1] * right
    lower = rows[corner + width] * (1 - right) + rows[corner + width + 1] * right
    return upper * (1 - down) + lower * down


def frames(canonical: jax.Array) -> jax.Array:
    """The unit vectors (T, 2, 2) across (outwards) and along the wall at each point (T, 2)."""
    normal = jnp.tile(across(canonical), (2, 1))
    tangent = jnp.stack([-normal[:, 1], normal[:, 0]], axis=-1)
    return jnp.stack([normal, tangent], axis=1)


def fit(shape: ShapeModel, latent: jax.Array, moves: Moves, trust: jax.Array) -> Step:
    """The most probable change of a pose, whose latent mode weights (K,) are given, under moves.

    Gauss-Newton about the pose: each move is Gaussian with its own variances, the mode weights are
    N(0, Λ). ``trust`` () weighs the moves, whose errors are not independent, against the prior.
    """
    slope = shape.limits * (1 - jnp.tanh(latent) ** 2)
    canonical = shape.deform(shape.limits * jnp.tanh(latent))
    axes = frames(canonical)
    homogeneous = jnp.concatenate([canonical, jnp.ones((len(canonical), 1))], axis=1)
    place = jnp.einsum("tad,ti->tadi", axes, homogeneous).reshape(*axes.shape[:2], 6)
    bend = jnp.einsum("tad,ktd->tak", axes, shape.modes) * slope
    effects = jnp.concatenate([place, bend], axis=-1).reshape(-1, 6 + shape.num_modes)
    weights = jnp.sqrt(trust / moves.variances).ravel()
    weighted = effects * weights[:, None]
    # The latent weights have the standard deviation 1/3: their unit is the bound, 3√λ.
    prior = jnp.concatenate([jnp.full(6, PLACE_RIDGE), jnp.full(shape.num_modes, 9.0)])
    # A GPU's quicker products of float32 are too coarse to solve with.
    product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    information = product(weighted.T, weighted) + jnp.diag(prior)
    pull = product(weighted.T, weights * moves.means.ravel()) - prior * jnp.pad(latent, (6, 0))
    factor = jnp.linalg.cholesky(information)
    found = jax.scipy.linalg.cho_solve((factor, True), pull)
    return Step(found[:6].reshape(2, 3), found[6:], factor)
