"""A wall that moves by affine maps, for tests of motion."""

from itertools import pairwise

import numpy as np

from tests import reference

T, F = 44, 4  # few shapes, as each is compiled anew
SHAPE = reference.horseshoe(T, center=(0.0, 0.0), inner=22.0, outer=32.0)
CENTER = np.array([70.0, 64.0])


def cine(*maps):
    """SHAPE under each affine map (2, 2) or scalar, moved to the image's middle: (F, T, 2)."""
    return np.stack([SHAPE @ (m * np.eye(2)).T + CENTER for m in maps]).astype(np.float32)


def turn(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def reference_length(curve):
    return sum(np.linalg.norm(b - a) for a, b in pairwise(curve))
