"""Rings of points, and what they cover, by the even-odd rule and plain distances in float64."""

import numpy as np


def ring(half=12, *, centre=(20.3, 18.7), inner=6.0, outer=10.0, start=0.3, noise=0.0, seed=0):
    """A ring (T, 2), clockwise as displayed, of ``half`` points on each circle."""
    angle = start + np.linspace(0, 2 * np.pi, half, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([inner * circle, outer * circle]) + centre
    return points + noise * np.random.default_rng(seed).normal(size=points.shape)


def signed_distance(loops, shape):
    """The signed distance (H, W) to closed polygons, positive where an odd number of them, each of
    which does not cross itself, encloses a pixel's centre."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    distance, inside = np.full(shape, np.inf), np.zeros(shape, bool)
    for loop in loops:
        for (ax, ay), (bx, by) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            dx, dy = bx - ax, by - ay
            share = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy or 1.0), 0, 1)
            distance = np.minimum(distance, np.hypot(x - ax - share * dx, y - ay - share * dy))
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) / dy * dx)
    return np.where(inside, distance, -distance)


def soft_mask(points, shape, tau=0.5):
    """The mask (H, W) of a ring (T, 2)."""
    return 1 / (1 + np.exp(-signed_distance(np.split(np.float64(points), 2), shape) / tau))
