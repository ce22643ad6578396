"""Strips of twelve points that tests of the rasterizer share, and so their programs."""

import jax
import jax.numpy as jnp
import numpy as np

from jssm.rasterizer import draw
from tests import reference

SHAPE = (24, 28)


def small_horseshoe(**options):
    defaults = {"num_points": 12, "center": (14, 12), "inner": 5, "outer": 8, "aspect": 1.1}
    return reference.horseshoe(**(defaults | options))


def twelve(*corners):
    """Six points as twelve of the same outline, so that most tests share their programs."""
    inner, outer = np.array(corners, float).reshape(2, 3, 2)
    steps = np.linspace(0, 2, 6)
    between = [[np.interp(steps, range(3), side[:, i]) for i in (0, 1)] for side in (inner, outer)]
    return np.concatenate([np.transpose(side) for side in between])


SHAPES = {
    "horseshoe": small_horseshoe(),
    "mirrored": small_horseshoe() * [-1, 1] + [27, 0],
    "reversed": small_horseshoe()[::-1],
    "folded": twelve([4, 4], [20, 6], [6, 16], [8, 8], [22, 18], [12, 20]),
    "partly outside": small_horseshoe(center=(2, 3)),
    "wholly outside": small_horseshoe(center=(-40, 3)),
    "repeated points": np.repeat(small_horseshoe(num_points=6), 2, axis=0),
    "on the pixels": np.round(small_horseshoe()),
    "without area": np.linspace([2, 2], [20, 20], 12),
}


def masks_and_gradients(batch):
    """By new functions, since what was traced before is kept."""

    def value(points):
        mask = draw.rasterize.__wrapped__(points, SHAPE)
        return jnp.sum(mask * jnp.sin(jnp.arange(mask.size).reshape(SHAPE))), mask

    (_, masks), gradients = jax.jit(jax.vmap(jax.value_and_grad(value, has_aux=True)))(batch)
    return masks, gradients
