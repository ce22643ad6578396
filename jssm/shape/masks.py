"""The one rule that makes a boolean mask of a soft one."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")

THRESHOLD = 0.5


def binarize(mask: Array) -> Array:
    """The boolean mask of a soft one: True strictly above 0.5 (NaN is False); any shape."""
    return mask > THRESHOLD
