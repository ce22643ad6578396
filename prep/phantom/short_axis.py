"""Short-axis slices: the left ventricle as a ring, the right one as a crescent beside it.

The heart is that of the long-axis views (:mod:`prep.phantom.motion`), cut across its long axis. A
slice's frame is in mm, x to the right and y up, the axis at (0, 0). Places on the ring have
φ = -π where the right ventricle's front wall is inserted, in the usual display above and to the
left, and run clockwise to φ = π at the same place: the free wall first, the septum last.
"""

from __future__ import annotations

import numpy as np

from prep.phantom.anatomy import Anatomy
from prep.phantom.chambers import blood_with_wall, fat_rim, pericardium
from prep.phantom.motion import SAMPLES, Wall, activation, at, soft_minimum, stations
from prep.phantom.polygons import Array, bezier, ellipse, grow, left_normals, unit
from prep.phantom.tissue import Layer, Tissue
from prep.phantom.ventricle import band_polygon, trabeculae

SEPTUM = np.pi / 3  # φ at its beginning, where the right ventricle's back wall is inserted
INSERTION = np.radians(120.0)  # the direction of φ = -π from the axis, anticlockwise from +x
TWIST = np.radians([-4.0, 12.0])  # at end systole, at base and apex: seen from the apex, as usual
BASE_COS = -0.3  # cos φ of the long-axis midwall at its base


def move(anatomy: Anatomy, frames: int) -> Wall:
    """Give the ring of a slice over one heart cycle; its first place is also its last."""
    phase = np.arange(frames) / frames
    active = activation(phase, anatomy.systole)
    phi = np.linspace(-np.pi, np.pi, SAMPLES)
    level = anatomy.level or 0.0
    height = BASE_COS + level * (1.0 - BASE_COS)
    waves = np.stack([np.sin(2 * phi), np.cos(2 * phi), np.cos(3 * phi), np.sin(3 * phi)])
    radius = anatomy.radius * np.sqrt(1.0 - height**2) + anatomy.ripple @ waves
    scar = np.exp(-((_apart(phi, 2.0 * anatomy.infarct_at) / anatomy.infarct_width) ** 4))
    share = 1.0 - anatomy.infarct * scar
    a = active[:, None]
    along = 1.0 - anatomy.shortening * share * a
    turn = (TWIST[0] + level * (TWIST[1] - TWIST[0])) * anatomy.squeeze / 0.2
    angle = INSERTION - (phi + np.pi) + turn * a
    way = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    mid = (radius * (1.0 - anatomy.squeeze * share * a))[..., None] * way

    outward = left_normals(mid[:, :-1], closed=True)
    outward = np.concatenate([outward, outward[:, :1]], axis=1)
    arc = np.hypot(*np.moveaxis(np.gradient(mid, axis=1), -1, 0))
    thickness = _thickness(anatomy, phi, scar) / (arc / arc[:1] * along) ** anatomy.thickening
    thickness = soft_minimum(thickness, 1.3 * np.linalg.norm(mid, axis=-1))  # a cavity stays
    half = 0.5 * thickness[..., None] * outward
    return Wall(phi, mid, mid - half, mid + half, thickness, active, phase)


def _apart(phi: Array, place: float) -> Array:
    """How far places lie from one, round the ring."""
    return np.abs(np.mod(phi - place + np.pi, 2 * np.pi) - np.pi)


def _thickness(anatomy: Anatomy, phi: Array, scar: Array) -> Array:
    """Give the wall's thickness at end diastole, (K,) mm, never under `Anatomy.least_wall`."""
    waves = np.stack([np.sin(phi), np.cos(phi), np.sin(2 * phi), np.cos(2 * phi)])
    relative = 1.0 + anatomy.course @ waves
    septal = _apart(phi, 0.5 * (SEPTUM + np.pi)) / anatomy.bulge_width
    relative = relative * (1.0 + anatomy.bulge * np.exp(-(septal**2)))
    relative = relative * (1.0 - anatomy.infarct_thinning * min(anatomy.infarct, 1.0) * scar)
    least = anatomy.least_wall
    return least + np.logaddexp(0.0, 2.0 * (anatomy.wall * relative - least)) / 2.0


def material_points(wall: Wall, num_points: int) -> Array:
    """Give T/2 inner, then T/2 outer points (F, T, 2) mm, evenly spaced round in frame 0."""
    half = num_points // 2
    loops = [at(c, stations(c[0], half + 1)[:-1]) for c in (wall.inner, wall.outer)]
    return np.concatenate(loops, axis=1)


def right_ventricle(rng: np.random.Generator, anatomy: Anatomy, wall: Wall) -> Array:
    """Give the right ventricle's blood, a crescent (F, N, 2) up to the middle of the septum."""
    back = int(np.searchsorted(wall.phi, SEPTUM))
    septum, first, last = wall.mid[:, back::6], wall.outer[:, back], wall.outer[:, -1]
    width = rng.uniform(40.0, 56.0) * (1.0 - 0.45 * (anatomy.level or 0.0))
    depth = width * (1.0 - rng.uniform(0.1, 0.25) * wall.activation)
    lean = rng.uniform(-6.0, 6.0)
    away = unit(0.5 * (first + last))
    along = np.stack([-away[:, 1], away[:, 0]], axis=1) * -1.0  # the septum, to the front
    out = 1.3 * depth[:, None] * away
    controls = [last, last + out + (5.0 + lean) * along, first + out - (5.0 - lean) * along, first]
    return np.concatenate([septum, bezier(controls, 32)[:, 1:-1]], axis=1)


def layers_of(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, right: Array, tissue: Tissue
) -> list[Layer]:
    """Give every layer of the beating heart in a slice, the left ventricle last."""
    thick = rng.uniform(1.5, 3.2)
    beside = [fat_rim(rng, right, thick, tissue)]
    beside += blood_with_wall(right, thick, tissue.right_blood, tissue)
    sac = pericardium(rng, [right, wall.outer], tissue)
    rim = grow(wall.outer[:, :-1], np.clip(rng.uniform(-2.0, 2.5), 0.0, None))
    blood = tissue.blood * (1.0 - 0.03 * wall.activation)
    layers = [*sac, Layer(rim[:, ::3], tissue.fat, 0.8), *beside]
    layers += [Layer(wall.inner[:, ::2], blood, mottle=1.0)]
    layers += [Layer(band_polygon(wall), tissue.myocardium), *trabeculae(rng, wall, tissue)]
    return layers + _papillary(rng, wall, tissue)


def _papillary(rng: np.random.Generator, wall: Wall, tissue: Tissue) -> list[Layer]:
    """Give the two papillary muscles, on the free wall to the front and to the back."""
    layers = []
    for place in (-2.3, -0.4):
        index = int(np.searchsorted(wall.phi, place + rng.normal(0.0, 0.15)))
        inner = wall.inner[:, index]
        inward = -unit(inner)
        swell = np.sqrt(wall.thickness[:, index] / wall.thickness[0, index])
        short = np.minimum(rng.uniform(2.6, 4.6) * swell, 0.3 * np.linalg.norm(inner, axis=-1))
        foot = inner + rng.uniform(0.7, 1.6) * short[:, None] * inward
        body = ellipse(foot, inward, rng.uniform(1.0, 1.5) * short, short)
        layers += [Layer(body, tissue.myocardium, rng.uniform(0.6, 1.0))]
    return layers
