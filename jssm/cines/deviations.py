"""How far the measures of a cine may be off, from how far its points may be.

Linear propagation: the covariance of a measure is D Σ Dᵀ, with D its derivative by the points and Σ
their covariance. As Σ = S Sᵀ with the factor S that a prediction carries (``Prediction.spread``),
every column of S is pushed through the derivative, and the squares are summed.

A wall that is drawn too far out in one frame is so in the next. So of each point's variance a share
is common to all frames, pushed through for all of them together, and the rest is each frame's own.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jssm.cines.measures import Motion
from jssm.cines.motion import measure_motion

FRAMES = ("ed_frame", "es_frame")  # of a Motion, which are no measures
DRAWS = 64  # so that a deviation of what is measured in them is known to 9 %
COMMON = 0.7  # found on phantoms: what they are told to be, errors of strain then are


def measure_deviations(
    points: ArrayLike,
    spread: ArrayLike,
    *,
    common: ArrayLike = COMMON,
    periodic: bool = True,
    **options: Any,
) -> Motion:
    """The standard deviations of all that :func:`jssm.measure_motion` measures, in its units.

    points: (F, T, 2) px. spread: (F, T, 2, Q) px, as a :class:`jssm.Prediction` has it.
    common: the share of the variance that all frames have together (docs/TRUST.md). periodic,
    options: those of ``measure_motion``; ``ed_frame`` and ``es_frame`` are what it finds.

    To first order, with end-diastole, end-systole and the moments of peaks where they are.

    Raises:
      ValueError: as ``measure_motion``, and when the spread is of other points.
    """
    points, spread = jnp.asarray(points, float), jnp.asarray(spread, float)
    if spread.shape[:-1] != points.shape:
        raise ValueError(f"the spread has shape {spread.shape}, expected {(*points.shape, 'Q')}")
    return _deviations(points, spread, common, options, periodic=periodic)


def drawn(
    points: np.ndarray, spread: np.ndarray, *, common: float = COMMON, count: int = DRAWS
) -> np.ndarray:
    """As many cines (count, F, T, 2), the same each time, as points (F, T, 2) with this ``spread``
    (F, T, 2, Q) could be."""
    rng = np.random.default_rng(0)
    frames, columns = len(spread), spread.shape[-1]
    together = rng.normal(0, common**0.5, (count, 1, columns))
    apart = rng.normal(0, (1 - common) ** 0.5, (count, frames, columns))
    return points + np.einsum("ftiq,nfq->nfti", spread, together + apart, optimize=True)


@partial(jax.jit, static_argnames="periodic")
def _deviations(
    points: jax.Array,
    spread: jax.Array,
    common: ArrayLike,
    options: dict[str, Any],
    *,
    periodic: bool,
) -> Motion:
    def numbers(points: jax.Array) -> tuple[Motion, Motion]:
        found = measure_motion(points, periodic=periodic, **options)
        return _without_frames(found), found

    _, push, found = jax.linearize(numbers, points, has_aux=True)

    def variances(spread: jax.Array, weight: jax.Array) -> Motion:
        changes = jax.vmap(push, in_axes=-1)(spread)
        return jax.tree.map(lambda change: weight * jnp.sum(change**2, axis=0), changes)

    def add(total: Motion, frame: jax.Array) -> tuple[Motion, None]:
        own = jnp.zeros_like(spread).at[frame].set(spread[frame])
        return jax.tree.map(jnp.add, total, variances(own, 1 - share)), None

    share = jnp.asarray(common, float)
    squares, _ = lax.scan(add, variances(spread, share), jnp.arange(len(points)))
    frames = {name: getattr(found, name) for name in FRAMES}
    return replace(jax.tree.map(jnp.sqrt, squares), **frames)


def _without_frames(found: Motion) -> Motion:
    nothing: dict[str, Any] = dict.fromkeys(FRAMES)
    return replace(found, **nothing)
