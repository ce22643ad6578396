"""Points from a method that has none: the boundaries of its first mask, carried by its flow."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jssm.image_path import from_uint8
from jssm.methods.baselines.tracking import carry
from jssm.methods.method import Method
from jssm.shape.masks import binarize
from prep.errors import Unsuitable
from prep.shapes.point_cloud import horseshoe_boundaries, sample_points


def points_of_mask(mask: np.ndarray, num_points: int) -> np.ndarray:
    """T ordered points (T, 2) px on the boundaries of a predicted mask (H, W) in [0, 1].

    Of its largest 8-connected piece: T/2 evenly on the inner, then T/2 on the outer boundary. NaN
    where the mask is empty or is no wall with two ends.
    """
    pieces, count = ndimage.label(binarize(mask), np.ones((3, 3)))
    if count:
        largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
        try:
            return sample_points(pieces == largest, num_points, horseshoe_boundaries)
        except Unsuitable:
            pass
    return np.full((num_points, 2), np.nan)


def follow(how: Method, variables: Any, cine: np.ndarray, *, num_points: int = 88) -> np.ndarray:
    """The points (F, T, 2) px of a cine (F, S, S) uint8: of its first mask, moved by the flow.

    All are NaN where the first mask gives none.

    Raises:
      ValueError: when the method has no flow.
    """
    if how.flow is None:
        raise ValueError("the method has no flow, so it cannot follow points through a cine")
    images = jnp.asarray(from_uint8(cine))
    first = np.asarray(how.predict(variables, images[:1]).mask[0])
    points = jnp.asarray(points_of_mask(first, num_points))
    return np.asarray(carry(points, jax.jit(how.flow)(variables, images)))
