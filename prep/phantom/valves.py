"""Valves: how far they are open over the cycle, and their leaflets.

In the heart frame, as in :mod:`prep.phantom.chambers`.
"""

from __future__ import annotations

import numpy as np

from prep.phantom.motion import Wall
from prep.phantom.polygons import Array, bezier, shift, stroke
from prep.phantom.tissue import Layer, Tissue


def valve_opening(wall: Wall, systole: float) -> Array:
    """Give the opening (F,) 0..1 of the mitral valve: early and late filling, shut in systole."""
    rest = (wall.phase - systole) / (1.0 - systole)  # 0..1 through diastole
    early = np.exp(-(((rest - 0.28) / 0.13) ** 2))
    late = 0.7 * np.exp(-(((rest - 0.85) / 0.09) ** 2))
    drift = 0.35 * np.exp(-(((rest - 0.55) / 0.2) ** 2))
    return np.where(rest > 0.0, np.clip(early + late + drift, 0.0, 1.0), 0.0)


def leaflets(
    left: Array,
    right: Array,
    opening: Array,
    tissue: Tissue,
    *,
    share: float,
    width: float,
    opacity: float = 0.5,
) -> list[Layer]:
    """Two leaflets of a valve from `left` to `right` (F, 2), shut at `share` of the way."""
    span = right - left
    size = np.hypot(*np.moveaxis(span, -1, 0))
    meet = shift(left + share * span, 0.0, 0.12 * size)
    layers = []
    for hinge, part, side in ((left, share, 1.0), (right, 1.0 - share, -1.0)):
        reach = (part + 0.12) * size
        open_tip = shift(hinge, side * 0.22 * size, reach)
        tip = meet + opening[:, None] * (open_tip - meet)
        belly = shift(0.5 * (hinge + tip), -side * 0.05 * size * opening, 0.06 * size)
        layers.append(Layer(stroke(bezier([hinge, belly, tip], 9), width), tissue.leaflet, opacity))
    return layers
