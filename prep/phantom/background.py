"""What lies still around the heart: chest wall, lung, liver or stomach, spine, great vessels.

Outlines are in the unmirrored scanner frame, mm from the image centre, x right and y down.  4ch is
close to an axial slice (chest wall above, spine below), 2ch to a sagittal one (chest wall at the
left, spine at the right), 3ch to either.
"""

from __future__ import annotations

import numpy as np

from prep.phantom.anatomy import Anatomy
from prep.phantom.polygons import Array, ellipse, grow, shift, smooth_closed
from prep.phantom.tissue import Layer, Tissue

_UP = np.array([0.0, -1.0])


def body_layers(
    rng: np.random.Generator, anatomy: Anatomy, heart: Array, valve: Array, tissue: Tissue
) -> list[Layer]:
    """Give the still layers around a heart with outline points heart (N, 2), mitral valve (2,)."""
    build = _axial if anatomy.axial else _sagittal
    return build(rng, heart.min(axis=0), heart.max(axis=0), valve, tissue)


def _blob(rng: np.random.Generator, centre: Array, semi: Array, rough: float) -> Array:
    """Give a rounded outline (N, 2) with semi-axes `semi` (2,), uneven by the fraction `rough`."""
    angle = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    square = 1.0 + 0.08 * np.sin(2.0 * angle) ** 2
    radius = square * (1.0 + rough * rng.normal(0.0, 1.0, angle.size))
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] * semi
    return smooth_closed(points + centre)


def _chest(
    rng: np.random.Generator,
    centre: Array,
    semi: Array,
    tissue: Tissue,
    *,
    fat: float,
    muscle: float,
) -> list[Layer]:
    """Skin and fat, muscle, then the lung with its vessels."""
    skin = _blob(rng, centre, semi, 0.012)
    inside = grow(skin, -fat) + rng.normal(0.0, 2.5, 2)  # fat is thicker on one side
    lung = grow(inside, -muscle)
    layers = [
        Layer(skin, tissue.fat),
        Layer(inside, tissue.muscle),
        Layer(lung, tissue.lung),
    ]
    for _ in range(rng.integers(25, 50)):
        direction = rng.uniform(0.0, 2.0 * np.pi)
        out = np.sqrt(rng.uniform(0.05, 0.7))
        place = centre + out * semi * 0.85 * (np.cos(direction), np.sin(direction))
        turned = direction + rng.normal(0.0, 0.5)
        axis = np.array([np.cos(turned), np.sin(turned)])
        vessel = ellipse(place, axis, rng.uniform(1.5, 14.0), rng.uniform(0.7, 2.2))
        layers.append(Layer(vessel, tissue.vessel, rng.uniform(0.15, 0.7)))
    for angle in rng.uniform(0.0, 2.0 * np.pi, rng.integers(5, 10)):  # ribs
        edge = lung[int(angle / (2.0 * np.pi) * len(lung))]
        way = np.array([-np.sin(angle), np.cos(angle)])
        place = edge + 0.04 * (edge - centre)
        layers.append(Layer(ellipse(place, way, rng.uniform(7, 16), 3.2), tissue.marrow, 0.8))
    return layers


def _organ(
    rng: np.random.Generator, centre: Array, semi: Array, value: float, tissue: Tissue
) -> list[Layer]:
    """The liver (or a full stomach): a rounded body, a rim of fat in places, vessels inside."""
    outline = _blob(rng, centre, semi, 0.03)
    layers = [Layer(grow(outline, rng.uniform(0.5, 3.5)), tissue.fat, rng.uniform(0.1, 0.9))]
    layers.append(Layer(outline, value))
    for _ in range(rng.integers(4, 12)):
        place = centre + rng.uniform(-0.7, 0.7, 2) * semi
        axis = rng.normal(0.0, 1.0, 2)
        axis = axis / np.hypot(*axis)
        vessel = ellipse(place, axis, rng.uniform(3, 18), rng.uniform(1.2, 3.0))
        layers.append(Layer(vessel, tissue.vessel, rng.uniform(0.3, 0.8)))
    return layers


def _tube(rng: np.random.Generator, centre: Array, radius: float, tissue: Tissue) -> list[Layer]:
    circle = ellipse(centre, _UP, radius * rng.uniform(1.0, 1.1), radius)
    return [Layer(grow(circle, 1.6), tissue.muscle), Layer(circle, tissue.vessel, mottle=0.3)]


def _axial(
    rng: np.random.Generator, low: Array, high: Array, valve: Array, tissue: Tissue
) -> list[Layer]:
    middle = 0.5 * (low + high)
    fat, muscle = rng.uniform(7.0, 22.0), rng.uniform(5.0, 11.0)
    top = low[1] - fat - muscle - rng.uniform(0.0, 8.0)
    room = np.clip((high[1] + 14.0 - top) / 1.62, 0.0, 130.0)  # the spine stays behind the heart
    semi = np.array([rng.uniform(155, 195), max(rng.uniform(98, 122), room)])
    centre = np.array([middle[0] - rng.uniform(5, 40), top + semi[1]])
    layers = _chest(rng, centre, semi, tissue, fat=fat, muscle=muscle)
    back = shift(centre, rng.normal(0.0, 5.0), 0.62 * semi[1])

    if rng.random() < 0.4:
        size = np.array([rng.uniform(50, 75), rng.uniform(50, 70)])
        place = np.array([centre[0] - 0.55 * semi[0], centre[1] + rng.uniform(-15, 25)])
        layers += _organ(rng, place, size, tissue.liver, tissue)
    if rng.random() < 0.2:
        place = np.array([centre[0] + 0.62 * semi[0], centre[1] + rng.uniform(10, 45)])
        layers += _organ(rng, place, np.array([38.0, 34.0]), 0.9 * tissue.liver, tissue)

    # Mediastinum and its fat, from behind the sternum to the spine.
    base = 0.5 * (back + valve)
    soft = 0.6 * tissue.muscle + 0.4 * tissue.fat
    layers.append(Layer(_blob(rng, base, rng.uniform(24.0, 40.0, 2), 0.08), soft, 0.8))
    sternum = np.array([0.5 * (centre[0] + middle[0]), top + fat + muscle + 4.0])
    layers.append(Layer(_blob(rng, sternum, np.array([42.0, 16.0]), 0.1), tissue.fat, 0.9))
    muscles = _blob(rng, shift(back, 0.0, 12.0), np.array([58.0, 24.0]), 0.05)
    canal = shift(back, 0.0, 23.0)
    layers += [
        Layer(muscles, tissue.muscle),
        Layer(_blob(rng, back, np.array([20.0, 16.0]), 0.04), tissue.marrow),
        Layer(ellipse(canal, _UP, 7.0, 9.0), 0.95 * tissue.fat),
        Layer(ellipse(canal, _UP, 4.0, 5.0), tissue.muscle),
    ]
    aorta = shift(back, rng.uniform(16.0, 26.0), -16.0)
    return layers + _tube(rng, aorta, rng.uniform(9.0, 13.0), tissue)


def _sagittal(
    rng: np.random.Generator, low: Array, high: Array, valve: Array, tissue: Tissue
) -> list[Layer]:
    middle = 0.5 * (low + high)
    fat, muscle = rng.uniform(7.0, 20.0), rng.uniform(5.0, 11.0)
    left = low[0] - fat - muscle - rng.uniform(0.0, 14.0)
    room = np.clip((high[0] + 14.0 - left) / 1.62, 0.0, 140.0)  # the spine stays behind the heart
    semi = np.array([max(rng.uniform(105, 130), room), rng.uniform(210, 270)])
    centre = np.array([left + semi[0], middle[1] + rng.uniform(-40, 40)])
    layers = _chest(rng, centre, semi, tissue, fat=fat, muscle=muscle)

    # Under the diaphragm: the liver's left lobe, and often the stomach behind it.
    dome = high[1] + rng.uniform(-5.0, 9.0)
    size = np.array([rng.uniform(75, 110), rng.uniform(70, 110)])
    place = np.array([middle[0] + rng.uniform(-25, 30), dome + size[1]])
    layers += _organ(rng, place, size, tissue.liver, tissue)
    if rng.random() < 0.5:
        stomach = np.array([place[0] + rng.uniform(15, 50), dome + rng.uniform(35, 60)])
        value = float(rng.choice([0.05, 0.7, 0.35]))
        layers += _organ(rng, stomach, np.array([32.0, 26.0]), value, tissue)

    # Mediastinum above and behind the heart.
    above = valve + np.array([rng.uniform(0.0, 25.0), -rng.uniform(35.0, 60.0)])
    layers.append(Layer(_blob(rng, above, rng.uniform(30.0, 55.0, 2), 0.08), tissue.muscle, 0.85))
    front = np.array([left + fat + muscle + 4.0, middle[1] - rng.uniform(0, 40)])
    layers.append(Layer(_blob(rng, front, np.array([11.0, 40.0]), 0.2), tissue.fat, 0.8))

    # Spine and back: vertebrae between discs, with the descending aorta in front.
    spine = centre[0] + 0.62 * semi[0]
    strip = _blob(rng, np.array([spine + 22.0, centre[1]]), np.array([36.0, 0.95 * semi[1]]), 0.02)
    layers.append(Layer(strip, tissue.muscle))
    canal = ellipse(np.array([spine + 23.0, centre[1]]), _UP, 0.9 * semi[1], 5.0)
    layers.append(Layer(canal, 0.9 * tissue.fat))
    pitch = rng.uniform(25.0, 31.0)
    for step in np.arange(-0.9 * semi[1], 0.9 * semi[1], pitch):
        lean = 9.0 * (step / semi[1]) ** 2
        block = np.array([[-13, -9.5], [0, -9], [13, -9.5], [13, 9.5], [0, 9], [-13, 9.5]]) * (
            1.0,
            pitch / 24.0,
        )
        bone = smooth_closed(shift(block, spine - lean, centre[1] + step), 4)
        layers.append(Layer(bone, tissue.marrow))
    if rng.random() < 0.7:
        aorta = ellipse(
            np.array([spine - rng.uniform(26, 34), middle[1] - 10.0]),
            _UP,
            rng.uniform(60, 160),
            10.0,
        )
        layers += [Layer(grow(aorta, 1.5), tissue.muscle), Layer(aorta, tissue.vessel, 0.95)]
    return layers
