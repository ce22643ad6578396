"""Slow, obviously right references in float64: loops over pixels, edges and triangles."""

import math

import numpy as np


def horseshoe(num_points=88, center=(60.0, 60.0), inner=25.0, outer=33.0, aspect=1.3, gap=0.7):
    """A strip (T, 2) open at the bottom, clockwise on the screen: left end, apex, right end."""
    angle = np.linspace(-1.5 * np.pi + gap, 0.5 * np.pi - gap, num_points // 2)
    arc = np.stack([np.cos(angle), aspect * np.sin(angle)], axis=-1)
    return np.concatenate([inner * arc, outer * arc]) + np.asarray(center)


def affine_apply(theta, points):
    """Eq. 5, point by point."""
    return np.array(
        [[row[0] * x + row[1] * y + row[2] for row in np.float64(theta)] for x, y in points]
    )


def deform(mean, modes, beta):
    """Eq. 3, coordinate by coordinate."""
    points = np.array(mean, np.float64)
    for weight, mode in zip(beta, modes, strict=True):
        for t in range(len(points)):
            points[t] += float(weight) * np.float64(mode[t])
    return points


def strip_triangles(num_points):
    """Eq. 7, written out."""
    half = num_points // 2
    first = [(i, i + 1, half + i) for i in range(half - 1)]
    second = [(half + i, half + i + 1, i + 1) for i in range(half - 1)]
    return first + second


def outline_edges(num_points):
    """The edges that belong to exactly one triangle."""
    count = {}
    for triangle in strip_triangles(num_points):
        for i in range(3):
            edge = tuple(sorted((triangle[i], triangle[i - 1])))
            count[edge] = count.get(edge, 0) + 1
    return [edge for edge, times in count.items() if times == 1]


def segment_distance(p, a, b):
    """The distance from p to the segment a–b."""
    d = b - a
    length = d @ d
    t = 0.0 if length == 0 else min(max(float((p - a) @ d) / length, 0.0), 1.0)
    return math.dist(p, a + t * d)


def in_triangle(p, a, b, c):
    """Whether p lies in a triangle that has an area."""
    area = _turn(a, b, c)
    if area == 0:
        return False
    sides = [_turn(a, b, p) / area, _turn(b, c, p) / area, _turn(c, a, p) / area]
    return min(sides) >= 0


def signed_distance(points, shape):
    """The signed distance (H, W) of every pixel's centre to the outline, positive inside."""
    points = np.float64(points)
    edges, triangles = outline_edges(len(points)), strip_triangles(len(points))
    result = np.zeros(shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            p = np.array([column, row], np.float64)
            distance = min(segment_distance(p, points[i], points[j]) for i, j in edges)
            inside = any(in_triangle(p, *points[list(t)]) for t in triangles)
            result[row, column] = distance if inside else -distance
    return result


def rasterize(points, shape, tau):
    """Eq. 8: the sigmoid of the signed distance over τ."""
    return 1 / (1 + np.exp(-signed_distance(points, shape) / tau))


def soft_mask(points, shape, tau):
    """:func:`rasterize` with all pixels at once, for tests with many shapes."""
    points = np.float64(points)
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([x, y], axis=-1).astype(np.float64)
    distance = np.full(shape, np.inf)
    for i, j in outline_edges(len(points)):
        d = points[j] - points[i]
        t = np.clip((pixels - points[i]) @ d / ((d @ d) or 1.0), 0, 1)
        foot = points[i] + t[..., None] * d
        distance = np.minimum(distance, np.linalg.norm(pixels - foot, axis=-1))
    inside = np.zeros(shape, bool)
    for triangle in strip_triangles(len(points)):
        a, b, c = points[list(triangle)]
        area = _turn(a, b, c)
        if area != 0:
            corners = [(a, b), (b, c), (c, a)]
            sides = [_turn(p, q, pixels.transpose(2, 0, 1)) / area for p, q in corners]
            inside |= np.min(sides, axis=0) >= 0
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-np.where(inside, distance, -distance) / tau))


def point_rmse(predicted, true):
    """Eq. 6."""
    squares = [
        (x - u) ** 2 + (y - v) ** 2
        for (x, y), (u, v) in zip(np.float64(predicted), np.float64(true), strict=True)
    ]
    return math.sqrt(sum(squares) / len(squares))


def dice(predicted, true):
    """The Dice coefficient of two (soft) masks."""
    predicted, true = np.float64(predicted).ravel(), np.float64(true).ravel()
    return 2 * sum(predicted * true) / (sum(predicted) + sum(true))


def central_difference(function, x, step=1e-5):
    """The gradient of a scalar function of an array, by central differences."""
    x = np.float64(x)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def _turn(a, b, p):
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
