"""A prediction corrected by hand: some points are put where they belong, the shape follows.

The most probable pose under what was seen in the image and what a reader says. With p_t the points
of θ and β, and θ⁰, β⁰, p⁰ those predicted, it is where this is least, β within ±3√λ::

    Σ_t w_t |p_t − y_t|²  +  Σ_t v_t |p_t − p⁰_t|²  +  Σ_k (β_k − β⁰_k)² / λ_k

y_t is where the reader puts point t, w_t = 1/σ² for the standard deviation σ px of a hand (0 of a
point that was not touched), v_t = 1/s_t² for how far the prediction may be off. The last term is
the shape model's prior β ~ N(0, Λ). It is about β⁰, not 0, since a predicted pose is where the pull
of the prior and that of the image balance; so nothing moves where nothing is dragged.

Found by Gauss–Newton steps. Their unknowns are, as in ``networks.feature_search.fit``, a change of
the affine map in the canonical frame, and the mode weights in the unit of their bound 3√λ, in which
the prior's standard deviation is 1/3. A weight that a step would take beyond the bound stays on it,
and the next step leaves it there while it is pulled outwards. The report's ``fit.js`` does the same
in a browser.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jssm.shape import affine
from jssm.shape.shape_model import ShapeModel

STEPS = 20
PRECISION = 9.0  # of a mode weight over its bound, whose standard deviation is 1/3


@jax.jit
def correct(
    shape: ShapeModel,
    theta: jax.Array,
    beta: jax.Array,
    target: jax.Array,
    weights: jax.Array,
    near: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The predicted ``theta`` (2, 3) and ``beta`` (K,) of one frame, corrected.

    target: (T, 2) px, where points are to lie. weights: (T,) px⁻², 1/σ² of those that were put
    there, 0 of the others. near: (T,) px⁻², positive, 1/s² of the prediction.
    """
    start = affine.apply(theta, shape.deform(beta))
    share = beta / shape.limits
    prior = jnp.pad(jnp.full(shape.num_modes, PRECISION), (6, 0))
    product = partial(jnp.einsum, precision=lax.Precision.HIGHEST)

    def step(_: int, present: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, bend = present
        canonical = shape.deform(bend * shape.limits)
        points = affine.apply(place, canonical)
        effects = _effects(shape, place, canonical)
        wish = weights[:, None] * (target - points) + near[:, None] * (start - points)
        pull = product("tdi,td->i", effects, wish) - prior * jnp.pad(bend - share, (6, 0))
        information = product("tdi,t,tdj->ij", effects, weights + near, effects) + jnp.diag(prior)
        is_free = jnp.pad(~((jnp.abs(bend) >= 1) & (bend * pull[6:] > 0)), (6, 0), mode="constant",
                          constant_values=True)  # fmt: skip
        both = is_free[:, None] & is_free
        found = jax.scipy.linalg.solve(
            jnp.where(both, information, jnp.eye(len(prior))),
            jnp.where(is_free, pull, 0.0),
            assume_a="pos",
        )
        moved = affine.compose(place, jnp.eye(2, 3) + found[:6].reshape(2, 3))
        return moved, jnp.clip(bend + found[6:], -1.0, 1.0)

    theta, share = lax.fori_loop(0, STEPS, step, (theta, share))
    return theta, share * shape.limits


def _effects(shape: ShapeModel, theta: jax.Array, canonical: jax.Array) -> jax.Array:
    """The derivative (T, 2, 6 + K) of the points by the affine map's change, by rows, and by the
    mode weights over their bounds."""
    linear = theta[:, :2]
    homogeneous = jnp.concatenate([canonical, jnp.ones((len(canonical), 1))], axis=1)
    place = jnp.einsum("di,tj->tdij", linear, homogeneous).reshape(*canonical.shape, 6)
    bend = jnp.einsum("de,kte->tdk", linear, shape.modes) * shape.limits
    return jnp.concatenate([place, bend], axis=-1)
