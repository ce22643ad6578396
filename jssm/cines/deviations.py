"""How far the measures of a cine may be off, from how far its points may be.

Linear propagation: the covariance of a measure is D Σ Dᵀ, with D its derivative by the points and Σ
their covariance. As Σ = S Sᵀ with the factor S that a prediction carries (``Prediction.spread``),
every column of S is pushed through the derivative, and the squares are summed.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jssm.cines.measures import Motion
from jssm.cines.motion import measure_motion

FRAMES = ("ed_frame", "es_frame")  # of a Motion, which are no measures


def measure_deviations(
    points: ArrayLike, spread: ArrayLike, *, periodic: bool = True, **options: Any
) -> Motion:
    """The standard deviations of all that :func:`jssm.measure_motion` measures, in its units.

    points: (F, T, 2) px. spread: (F, T, 2, Q) px, as a :class:`jssm.Prediction` has it.
    periodic, options: those of ``measure_motion``; ``ed_frame`` and ``es_frame`` are what it finds.

    To first order, with end-diastole, end-systole and the moments of peaks where they are. The
    errors of different frames count as independent.

    Raises:
      ValueError: as ``measure_motion``, and when the spread is of other points.
    """
    points, spread = jnp.asarray(points, float), jnp.asarray(spread, float)
    if spread.shape[:-1] != points.shape:
        raise ValueError(f"the spread has shape {spread.shape}, expected {(*points.shape, 'Q')}")
    return _deviations(points, spread, options, periodic=periodic)


@partial(jax.jit, static_argnames="periodic")
def _deviations(
    points: jax.Array, spread: jax.Array, options: dict[str, Any], *, periodic: bool
) -> Motion:
    def numbers(points: jax.Array) -> tuple[Motion, Motion]:
        found = measure_motion(points, periodic=periodic, **options)
        return _without_frames(found), found

    _, push, found = jax.linearize(numbers, points, has_aux=True)

    def add(squares: Motion, frame: jax.Array) -> tuple[Motion, None]:
        def pushed(column: jax.Array) -> Motion:
            return push(jnp.zeros_like(points).at[frame].set(column))

        changes = jax.vmap(pushed, in_axes=-1)(spread[frame])
        return jax.tree.map(lambda s, c: s + jnp.sum(c**2, axis=0), squares, changes), None

    nothing = jax.tree.map(jnp.zeros_like, _without_frames(found))
    squares, _ = lax.scan(add, nothing, jnp.arange(len(points)))
    frames = {name: getattr(found, name) for name in FRAMES}
    return replace(jax.tree.map(jnp.sqrt, squares), **frames)


def _without_frames(found: Motion) -> Motion:
    nothing: dict[str, Any] = dict.fromkeys(FRAMES)
    return replace(found, **nothing)
