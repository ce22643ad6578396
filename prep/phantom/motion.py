"""The moving wall: material points (φ, w) and where each is in every frame.

A material point keeps its φ along the midwall and its w through the wall (0 endocardium, 1
epicardium).  Midwall points move by stretches λ along and across the long axis; the thickness
follows from h = h_0 / (λ_l λ_c)^k, with λ_l the stretch of the arc, λ_c that of the circumference
about the long axis and k just below 1: muscle keeps its volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from prep.phantom.anatomy import Anatomy
from prep.phantom.polygons import Array, left_normals

SAMPLES = 481  # along the arc; 0.4 mm apart


@dataclass(frozen=True)
class Wall:
    """The LV wall in the heart frame, mm, for F frames and K samples of φ.

    phi: (K,); mid, inner, outer: (F, K, 2); thickness: (F, K); activation: (F,), 0 at end diastole
    and 1 at end systole; phase: (F,) fraction of the heart cycle.
    """

    phi: Array
    mid: Array
    inner: Array
    outer: Array
    thickness: Array
    activation: Array
    phase: Array


def activation(phase: Array, systole: float) -> Array:
    """Give the contraction (0..1) over the phase of the cycle: fast, then filling in two steps."""
    late = 1.0 - systole
    knots = [0.0, 0.18 * systole, 0.6 * systole, systole]
    knots += [systole + f * late for f in (0.14, 0.32, 0.5, 0.72, 0.9, 1.0)]
    values = [0.0, 0.06, 0.70, 1.0, 0.86, 0.42, 0.24, 0.17, 0.03, 0.0]
    return PchipInterpolator(knots, values)(phase)


def move(anatomy: Anatomy, frames: int) -> Wall:
    """Give the wall over one heart cycle of `frames` frames."""
    phase = np.arange(frames) / frames
    active = activation(phase, anatomy.systole)
    phi = np.linspace(-anatomy.base_left, anatomy.base_right, SAMPLES)
    x0, y0 = _midwall(anatomy, phi)
    scar = np.exp(-(((phi - anatomy.infarct_at) / anatomy.infarct_width) ** 4))
    share = 1.0 - anatomy.infarct * scar
    a = active[:, None]
    along = 1.0 - anatomy.shortening * share * a
    across = 1.0 - anatomy.squeeze * share * a

    # Heights add up from the apex, so that a part which does not shorten keeps its end behind.
    apex = int(np.argmax(y0))
    steps = 0.5 * (along[:, 1:] + along[:, :-1]) * np.diff(y0)
    height = np.concatenate([np.zeros((frames, 1)), np.cumsum(steps, axis=1)], axis=1)
    y = y0[apex] - anatomy.apex_lift * a + height - height[:, apex : apex + 1]
    middle = anatomy.bend * np.sin(np.pi * y0 / y0[apex])  # the bowed long axis
    mid = np.stack([(x0 - middle) * across + middle, y], axis=-1)

    arc = np.hypot(*np.moveaxis(np.gradient(mid, axis=1), -1, 0))
    stretch = arc / arc[:1] * across
    thickness = _thickness(anatomy, phi, scar) / stretch**anatomy.thickening
    # Half the wall must not reach the midwall's centre of curvature, or the cavity folds.
    thickness = soft_minimum(thickness, 1.55 * _curvature_radius(mid))
    outward = left_normals(mid)
    half = 0.5 * thickness[..., None] * outward
    return Wall(phi, mid, mid - half, mid + half, thickness, active, phase)


def _midwall(anatomy: Anatomy, phi: Array) -> tuple[Array, Array]:
    base = np.where(phi < 0.0, anatomy.base_left, anatomy.base_right)
    depth = np.cos(0.5 * (anatomy.base_left + anatomy.base_right))
    scale = anatomy.length / (1.0 - depth)
    x = anatomy.radius * np.sin(phi) * (1.0 + anatomy.blunt * np.cos(phi) ** 2)
    x = x * (1.0 + anatomy.skew * np.sin(phi))
    x = x * (1.0 - anatomy.narrowing * np.exp(-(((1.0 - np.abs(phi / base)) / 0.13) ** 2)))
    y = scale * (np.cos(phi) - depth)
    s = phi / base
    waves = np.stack([np.sin(np.pi * s), np.cos(np.pi * s), np.sin(2 * np.pi * s), np.cos(3 * s)])
    x = x + anatomy.ripple @ waves
    x = x + anatomy.bend * np.sin(np.pi * np.clip(y / y.max(), -0.2, 1.0))
    return x, y


def _thickness(anatomy: Anatomy, phi: Array, scar: Array) -> Array:
    """Give the wall's thickness at end diastole, (K,) mm, never under `Anatomy.least_wall`."""
    base = np.where(phi < 0.0, anatomy.base_left, anatomy.base_right)
    s = phi / base
    waves = np.stack([np.sin(np.pi * s / 2), np.cos(2 * np.pi * s), np.sin(np.pi * s)])
    relative = 1.0 + anatomy.course[:3] @ waves + anatomy.course[3] * np.sin(3 * np.pi * s)
    relative = relative * (1.0 - anatomy.apex_thinning * np.exp(-((phi / 0.45) ** 2)))
    relative = relative * (1.0 - 0.22 * np.exp(-(((1.0 - np.abs(s)) / 0.07) ** 2)))  # valve ring
    far = (phi - anatomy.bulge_at) / anatomy.bulge_width
    relative = relative * (1.0 + anatomy.bulge * np.exp(-(far**2)))
    relative = relative * (1.0 - anatomy.infarct_thinning * min(anatomy.infarct, 1.0) * scar)
    least = anatomy.least_wall
    return least + np.logaddexp(0.0, 2.0 * (anatomy.wall * relative - least)) / 2.0


def _curvature_radius(curve: Array) -> Array:
    first = np.gradient(curve, axis=-2)
    second = np.gradient(first, axis=-2)
    turn = np.abs(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])
    radius = (first**2).sum(-1) ** 1.5 / np.maximum(turn, 1e-9)
    radius[..., :3], radius[..., -3:] = radius[..., 3:4], radius[..., -4:-3]  # one-sided there
    return radius


def soft_minimum(a: Array, b: Array, power: float = 8.0) -> Array:
    """Give the lesser of two positive numbers, rounded off where they are alike."""
    return (a**-power + b**-power) ** (-1.0 / power)


def lengths(curve: Array) -> Array:
    """Give the lengths (...,) of open curves (..., N, 2)."""
    return np.hypot(*np.moveaxis(np.diff(curve, axis=-2), -1, 0)).sum(-1)


def strain_percent(values: Array) -> Array:
    """Give the change (F,) in percent of values (F,) against frame 0."""
    return 100.0 * (values / values[0] - 1.0)


def stations(curve: Array, count: int) -> Array:
    """Give the positions (count,), in samples, that part a curve (K, 2) into equal arc lengths."""
    step = np.hypot(*np.diff(curve, axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(step)])
    return np.interp(np.linspace(0.0, arc[-1], count), arc, np.arange(len(curve)))


def at(values: Array, where: Array) -> Array:
    """Read values (F, K, ...) at fractional samples where (n,): (F, n, ...), linear between."""
    low = np.minimum(where.astype(np.intp), values.shape[1] - 2)
    part = (where - low).reshape(1, -1, *[1] * (values.ndim - 2))
    return (1.0 - part) * values[:, low] + part * values[:, low + 1]


def material_points(wall: Wall, num_points: int) -> Array:
    """Give the material points (F, T, 2) mm: T/2 inner then T/2 outer, evenly spaced in frame 0."""
    half = num_points // 2
    inner = at(wall.inner, stations(wall.inner[0], half))
    outer = at(wall.outer, stations(wall.outer[0], half))
    return np.concatenate([inner, outer], axis=1)
