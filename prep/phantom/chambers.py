"""The heart around the left ventricle: atria, right ventricle, outflow tract, fat.

All outlines are in the heart frame, mm, (F, N, 2); the order of the layers is the painting order.
The heart frame has x to the right and y towards the apex when the apex is up.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from prep.phantom.anatomy import Anatomy
from prep.phantom.motion import Wall
from prep.phantom.polygons import (
    Array,
    bezier,
    ellipse,
    grow,
    left_normals,
    shift,
    signed_area,
    smooth_closed,
    stroke,
    unit,
)
from prep.phantom.tissue import Layer, Tissue
from prep.phantom.valves import leaflets, valve_opening
from prep.phantom.ventricle import left_ventricle

_CHAMBER_MM2 = 800.0  # smaller outlines are vessels


def heart_layers(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """Give every layer of the beating heart, the left ventricle last."""
    around = {"2ch": _two_chamber, "3ch": _three_chamber, "4ch": _four_chamber}[anatomy.view]
    layers = around(rng, anatomy, wall, tissue)
    sac = pericardium(rng, [layer.outline for layer in layers] + [wall.outer], tissue)
    layers = sac + _outer_fat(rng, anatomy, wall, tissue) + layers
    return layers + left_ventricle(rng, anatomy, wall, tissue)


def pericardium(rng: np.random.Generator, outlines: list[Array], tissue: Tissue) -> list[Layer]:
    """The pericardial sac about the chambers: fat and soft tissue fill the grooves, not lung."""
    frames = outlines[-1].shape[0]
    large = [o for o in outlines if np.abs(signed_area(o)).max() > _CHAMBER_MM2]
    points = np.concatenate([np.broadcast_to(o, (frames, *o.shape[-2:])) for o in large], axis=1)
    angle = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
    way = np.stack([np.cos(angle), np.sin(angle)])
    farthest = np.argmax(points @ way, axis=1)
    hull = np.take_along_axis(points, farthest[..., None], axis=1)
    rounded = gaussian_filter1d(hull, 2.5, axis=1, mode="wrap")
    share = rng.beta(0.8, 0.8)
    filling = share * tissue.fat + (1.0 - share) * tissue.myocardium
    return [Layer(grow(rounded, rng.uniform(0.0, 2.0)), filling, rng.uniform(0.3, 1.0))]


def _controls(points: list[Array]) -> Array:
    """Stack controls, each (F, 2) or (2,), to (F, n, 2)."""
    return np.stack(np.broadcast_arrays(*points), axis=-2)


def _outer_fat(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """Fat on the epicardium, thick at apex and valve ring, in a thin dark pericardium."""
    s = np.linspace(-1.0, 1.0, wall.phi.size)
    bumps = rng.normal(0.0, 1.0, 5) @ np.stack([np.cos(np.pi * k * s + k) for k in range(1, 6)])
    depth = np.clip(rng.uniform(-2.5, 1.5) + 1.3 * bumps, 0.0, 7.0)
    depth += rng.uniform(1.0, 6.0) * np.exp(-(((1.0 - np.abs(s)) / 0.12) ** 2))
    depth += rng.uniform(0.0, 4.0) * np.exp(-((s / 0.15) ** 2))
    outward = left_normals(wall.mid)
    rim = wall.outer + depth[:, None] * outward
    fat = np.concatenate([rim[:, ::3], wall.mid[:, ::-8]], axis=1)
    sac = np.concatenate([(rim + 1.6 * outward)[:, ::3], wall.mid[:, ::-8]], axis=1)
    # The valve plane leaves fat of the groove behind as it descends, never lung.
    first, last = wall.outer[:, 0], wall.outer[:, -1]
    corners = [shift(first, 0.0, 4.0), shift(last, 0.0, 4.0)]
    corners += [shift(last[0], -4.0, -13.0), shift(first[0], 4.0, -13.0)]
    groove = smooth_closed(_controls(corners))
    return [
        Layer(groove, 0.75 * tissue.fat),
        Layer(sac, 0.6 * tissue.myocardium),
        Layer(fat, tissue.fat, 0.92),
    ]


def fat_rim(rng: np.random.Generator, outline: Array, wall_mm: float, tissue: Tissue) -> Layer:
    """Fat of uneven depth around a right-sided chamber whose wall is wall_mm thick."""
    s = np.linspace(0.0, 2.0 * np.pi, outline.shape[-2], endpoint=False)
    waves = sum(rng.normal(0.0, 1.3) * np.sin(k * s + rng.uniform(0, 6.3)) for k in (1, 2, 3))
    depth = np.clip(rng.uniform(0.5, 4.5) + waves, 0.0, 9.0)
    return Layer(grow(outline, wall_mm + depth), tissue.fat, rng.uniform(0.7, 0.95))


def _groove_fat(rng: np.random.Generator, end: Array, side: float, tissue: Tissue) -> list[Layer]:
    """Fat of the valve groove beside a basal end (F, 2), with a small vessel in it."""
    centre = shift(end, side * rng.uniform(2.0, 4.5), -rng.uniform(2.0, 5.0))
    along = unit(np.array([side * rng.uniform(0.2, 0.8), -1.0]))
    fat = ellipse(centre, along, rng.uniform(6.0, 10.0), rng.uniform(4.0, 6.5))
    vessel = ellipse(shift(centre, side, -1.0), along, rng.uniform(1.2, 2.6), rng.uniform(1.2, 2))
    return [Layer(fat, tissue.fat, 0.95), Layer(vessel, rng.choice([0.35, 0.8]) * tissue.blood)]


def _atrium(
    rng: np.random.Generator,
    left: Array,
    right: Array,
    *,
    depth: float,
    width: float,
    lean: float,
    follow: float = 0.2,
    offset: float = 0.0,
) -> Array:
    """Give an atrium's outline on a valve from `left` to `right` (F, 2); its roof stays behind."""
    middle = shift(0.5 * (left + right), offset, 0.0)
    still = middle[0] + follow * (middle - middle[0])
    wide = 0.5 * width * rng.uniform(0.92, 1.08, 4)
    return smooth_closed(
        _controls([
            shift(left, 2.5, 4.0),
            shift(right, -2.5, 4.0),
            shift(right, 1.0, -4.0),
            shift(still, 0.4 * lean + wide[0], -0.42 * depth),
            shift(still, 0.9 * lean + 0.78 * wide[1], -0.82 * depth),
            shift(still, lean, -depth),
            shift(still, 0.9 * lean - 0.78 * wide[2], -0.82 * depth),
            shift(still, 0.4 * lean - wide[3], -0.42 * depth),
            shift(left, -1.0, -4.0),
        ])
    )  # fmt: skip


def blood_with_wall(
    outline: Array, thickness: float, value: Array | float, tissue: Tissue, mottle: float = 1.0
) -> list[Layer]:
    """A chamber's muscle, ``thickness`` mm, and the blood in it."""
    return [
        Layer(grow(outline, thickness), tissue.myocardium),
        Layer(outline, value, mottle=mottle),
    ]


def _vein(
    rng: np.random.Generator, start: Array, direction: Array, value: Array | float, tissue: Tissue
) -> list[Layer]:
    """A pulmonary vein that leaves an atrium at `start` (2,) towards `direction` (2,)."""
    way = unit(direction)
    side = np.array([-way[1], way[0]]) * rng.normal(0.0, 6.0)
    length = rng.uniform(18.0, 34.0)
    # It leaves the slice bit by bit: a round end, narrower than the mouth.
    width = rng.uniform(9.0, 13.0) * np.sqrt(1.0 - np.linspace(0.0, 1.0, 24) ** 3)
    tube = stroke(bezier([start, start + 0.5 * length * way, start + length * way + side]), width)
    return [Layer(grow(tube, 1.2), tissue.myocardium, 0.8), Layer(tube, value)]


def _left_atrium(
    rng: np.random.Generator, wall: Wall, tissue: Tissue, left: Array, right: Array, **shape: float
) -> tuple[list[Layer], Array]:
    outline = _atrium(rng, left, right, **shape)
    blood = tissue.blood * rng.uniform(0.95, 1.01) * (1.0 + 0.02 * np.sin(6.0 * wall.phase))
    layers = blood_with_wall(outline, rng.uniform(0.7, 1.8), blood, tissue)
    return layers, blood


def _two_chamber(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """The left atrium with its appendage on the anterior side; a pulmonary artery above."""
    left, right = wall.inner[:, 0], wall.inner[:, -1]
    depth, width = rng.uniform(42, 56), rng.uniform(44, 54)
    lean = rng.uniform(-6.0, 5.0)
    atrium, blood = _left_atrium(
        rng, wall, tissue, left, right, depth=depth, width=width, lean=lean
    )
    middle = 0.5 * (left[0] + right[0])
    appendage = ellipse(
        shift(wall.outer[:, -1], rng.uniform(1, 6), -rng.uniform(12, 17)),
        unit(np.array([0.6, rng.uniform(0.2, 0.9)])),
        rng.uniform(10, 15),
        rng.uniform(5.5, 8.0),
    )
    artery = ellipse(
        wall.outer[0, -1] + (rng.uniform(14, 24), -rng.uniform(30, 44)),
        np.array([0.0, 1.0]),
        rng.uniform(10, 13),
        rng.uniform(10, 13),
    )
    sinus = ellipse(
        shift(wall.outer[:, 0], -rng.uniform(1, 4), -rng.uniform(6, 9)),
        np.array([0.0, 1.0]),
        rng.uniform(3, 5.5),
        rng.uniform(3, 4.5),
    )
    layers = _vein(
        rng, shift(middle, lean - 8.0, -0.8 * depth), np.array([-0.5, -1.0]), blood, tissue
    )
    if rng.random() < 0.8:
        layers += blood_with_wall(artery, 1.6, tissue.right_blood, tissue)
    layers += _groove_fat(rng, wall.outer[:, 0], -1.0, tissue)
    layers += _groove_fat(rng, wall.outer[:, -1], 1.0, tissue)
    layers += blood_with_wall(appendage, 1.2, 0.95 * blood, tissue)
    layers += [Layer(sinus, 0.9 * tissue.right_blood)]
    return layers + atrium


def _three_chamber(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """Left atrium and aortic root side by side; the right outflow tract along the septum."""
    left, right = wall.inner[:, 0], wall.inner[:, -1]
    share = rng.uniform(0.48, 0.56)
    hinge = left + share * (right - left)
    depth = rng.uniform(38, 52)
    atrium, blood = _left_atrium(
        rng, wall, tissue, left, hinge, depth=depth, width=rng.uniform(38, 46),
        lean=rng.uniform(-9, -3),
    )  # fmt: skip
    start = left[0] + (rng.uniform(-8, 0), -0.75 * depth)
    layers = _vein(rng, start, np.array([-0.8, -1.0]), blood, tissue)

    # The right outflow tract: from mid septum past the valve plane, in front of the aorta.
    squeeze = 1.0 - 0.2 * wall.activation
    deep = rng.uniform(22, 32) * squeeze
    base = wall.outer[:, -1]
    low = wall.outer[:, np.searchsorted(wall.phi, rng.uniform(0.45, 0.75))]
    half = wall.outer[:, np.searchsorted(wall.phi, 1.15)]
    still = base[0] + 0.3 * (base - base[0])
    high = rng.uniform(26, 44)
    tract = smooth_closed(
        _controls([
            shift(low, -2.0, 0.0),
            shift(half, -3.0, 0.0),
            shift(base, -2.0, -2.0),
            shift(still, 5.0, -0.5 * high),
            shift(still, 10.0, -high),
            shift(still, 14.0 + 0.5 * deep, -high - 3.0),
            shift(still, 9.0 + deep, -0.4 * high),
            shift(half, 0.95 * deep, 0.0),
            shift(low, 0.4 * deep, 2.0),
        ])
    )  # fmt: skip
    thick = rng.uniform(1.5, 3.2)
    layers += [fat_rim(rng, tract, thick, tissue)]
    layers += blood_with_wall(tract, thick, tissue.right_blood, tissue)
    layers += _groove_fat(rng, wall.outer[:, 0], -1.0, tissue)
    layers += atrium

    # The aortic root: ring, sinuses, junction, ascending part.
    root = 0.5 * (hinge + right)
    lean = rng.uniform(0.02, 0.32)
    way = np.array([np.sin(lean), -np.cos(lean)])
    across = np.array([np.cos(lean), np.sin(lean)])
    along = np.array([-7.0, -2.0, 4.0, 11.0, 18.0, 25.0, 38.0, 54.0, 63.0, 69.0, 72.0])
    radius = np.array([11.5, 11.5, 13.0, 15.3, 14.5, 12.4, 13.2, 13.6, 12.0, 8.0, 2.0])
    radius = radius * rng.uniform(0.9, 1.1)
    keep = np.clip(1.0 - along / 60.0, 0.0, 1.0)[:, None]  # its far end does not follow the ring
    centre = root[:1, None] + (root - root[0])[:, None] * keep + along[:, None] * way
    fine = np.linspace(0.0, len(along) - 1.0, 45)
    first = np.clip(fine.astype(int), 0, len(along) - 2)
    part = (fine - first)[:, None]
    edges = [centre + sign * radius[:, None] * across for sign in (-1.0, 1.0)]
    edges = [(1 - part) * e[:, first] + part * e[:, first + 1] for e in edges]
    aorta = np.concatenate([edges[0], edges[1][:, ::-1]], axis=1)
    flow = tissue.blood * (1.0 - rng.uniform(0.0, 0.12) * np.sin(np.pi * wall.activation) ** 2)
    layers += blood_with_wall(aorta, rng.uniform(0.8, 1.8), flow, tissue)

    # Its cusps: shut they meet in the sinus, open they lie along the wall.
    out = np.where(wall.phase < anatomy.systole, np.clip(wall.phase / 0.06, 0.0, 1.0), 0.0)
    ring = radius[1]
    for sign in (-1.0, 1.0):
        foot = root + sign * ring * across + 1.0 * way
        shut = root + sign * 0.5 * across + 6.0 * way
        free = root + sign * 0.85 * ring * across + 13.0 * way
        tip = shut + out[:, None] * (free - shut)
        belly = 0.5 * (foot + tip) - 2.0 * way * (1.0 - out[:, None])
        layers += [Layer(stroke(bezier([foot, belly, tip], 9), 1.0), tissue.leaflet, 0.7)]
    return layers


def _four_chamber(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """The right ventricle on the septum and both atria under the valves."""
    left, right = wall.inner[:, 0], wall.inner[:, -1]
    width = rng.uniform(42, 52)
    depth = rng.uniform(42, 58)
    lean = rng.uniform(0.0, 6.0)
    atrium, blood = _left_atrium(
        rng, wall, tissue, left, right, depth=depth, width=width, lean=lean
    )
    middle = 0.5 * (left[0] + right[0])
    layers = _vein(
        rng, shift(middle, lean + 12.0, -0.8 * depth), np.array([0.7, -1.0]), blood, tissue
    )

    septal = shift(wall.outer[:, 0], 1.0, 3.0)  # the tricuspid ring sits nearer to the apex
    active = wall.activation
    spread = rng.uniform(34, 44) * (1.0 - 0.14 * active)
    descent = rng.uniform(10.0, 18.0) * min(1.0, anatomy.shortening / 0.12)
    lateral = shift(septal[:1], -spread, rng.uniform(-1.0, 8.0) + descent * active)
    tip = np.searchsorted(wall.phi, -rng.uniform(0.28, 0.6))
    apex = wall.outer[:, tip]
    reach = (apex - lateral)[:, 1]
    bow = rng.uniform(0.05, 0.25) * spread
    free = bezier([
        lateral,
        shift(lateral, -bow, 0.42 * reach),
        shift(apex, -rng.uniform(0.45, 0.7) * spread, -0.12 * reach),
        shift(apex, -1.0, 2.0),
    ], 32)  # fmt: skip
    septum = wall.outer[:, tip::-8] + (3.0, 0.0)  # under the LV wall, which is painted later
    right_ventricle = np.concatenate([septum, free], axis=1)
    right_width = rng.uniform(42, 54)
    partition = middle[0] + 0.4 * lean - 0.5 * width - 3.2  # leaves an atrial septum of 3 mm
    offset = partition - 0.5 * right_width - 0.5 * (lateral[0, 0] + septal[0, 0])
    right_atrium = _atrium(
        rng, lateral, septal, depth=rng.uniform(40, 54), width=right_width,
        lean=rng.uniform(-5.0, 0.0), follow=0.3, offset=offset,
    )  # fmt: skip
    thick = rng.uniform(1.5, 3.2)
    right_blood = tissue.right_blood * (1.0 + 0.04 * np.cos(6.0 * wall.phase))
    layers += [fat_rim(rng, right_ventricle, thick, tissue)]
    layers += [Layer(grow(right_ventricle, thick), tissue.myocardium)]
    layers += _groove_fat(rng, lateral, -1.0, tissue)
    layers += _groove_fat(rng, wall.outer[:, -1], 1.0, tissue)
    layers += [Layer(grow(right_atrium, rng.uniform(0.8, 1.8)), tissue.myocardium)]
    layers += atrium
    layers += [Layer(right_atrium, 0.97 * right_blood, mottle=1.0)]
    layers += [Layer(right_ventricle, right_blood, mottle=1.0)]

    # The moderator band and some trabeculae of the right ventricle.
    for at, opacity in ((0.62, 0.8), (0.74, 0.5), (0.84, 0.6)):
        outer = free[:, int(at * 31)]
        index = int(np.argmin(np.abs(wall.outer[0, : tip + 1, 1] - outer[0, 1] - 6.0)))
        inner = wall.outer[:, index]
        band = bezier([outer, shift(0.5 * (outer + inner), 0.0, 4.0), inner], 8)
        layers += [Layer(stroke(band, rng.uniform(1.5, 4.0)), tissue.myocardium, opacity)]
    opening = valve_opening(wall, anatomy.systole)
    return layers + leaflets(lateral, septal, opening, tissue, share=0.58, width=1.0)
