"""What a case's label covers, and how a strip of points is compared with it.

A label covers the whole wall ("myocardium"), only the cavity that the wall encloses ("cavity"),
or nothing ("none"). Points that a label does not give are NaN.
"""

import jax
import jax.numpy as jnp

from jssm.shape import order

COVERS = ("none", "cavity", "myocardium")  # a code is a name's place in here
NONE, CAVITY, MYOCARDIUM = range(len(COVERS))


def covered_strip(points: jax.Array, covers: jax.Array, *, closed: bool = False) -> jax.Array:
    """The strip (T, 2), of ``points`` (T, 2), whose mask a label with the code ``covers`` draws.

    That is the cavity for a cavity label, and the wall for any other.
    """
    cavity = points[order.cavity_strip(points.shape[0], closed=closed)]
    return jnp.where(covers == CAVITY, cavity, points)
