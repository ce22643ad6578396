"""What a case's label covers, and how a strip of points is compared with it.

A label covers the whole wall ("myocardium"), only the cavity that the wall encloses ("cavity"),
or nothing ("none"). Points that a label does not give are NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np

COVERS = ("none", "cavity", "myocardium")  # a code is a name's place in here
NONE, CAVITY, MYOCARDIUM = range(len(COVERS))


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


def covered_strip(points: jax.Array, covers: jax.Array) -> jax.Array:
    """The strip (T, 2), of ``points`` (T, 2), whose mask a label with the code ``covers`` draws.

    That is the cavity for a cavity label, and the wall for any other.
    """
    return jnp.where(covers == CAVITY, points[cavity_strip(points.shape[0])], points)
