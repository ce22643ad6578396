"""How bright each tissue is, and the painted layers that a picture is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.phantom.polygons import Array


@dataclass(frozen=True)
class Tissue:
    """Signal of each tissue in bSSFP, blood of the left ventricle at about 0.8."""

    blood: float
    right_blood: float
    myocardium: float
    fat: float
    lung: float
    liver: float
    muscle: float
    marrow: float
    vessel: float
    leaflet: float


@dataclass(frozen=True)
class Layer:
    """One painted shape: outline (F, N, 2) or (N, 2) for a still one, its signal and opacity.

    value: (F,) or a number; mottle: how strongly the moving flow pattern shows in it.
    """

    outline: Array
    value: Array | float
    opacity: float = 1.0
    mottle: float = 0.0


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """Draw the signals of one patient: scanners, flip angles and shims differ."""
    blood = rng.uniform(0.72, 0.92)
    myocardium = rng.uniform(0.17, 0.40)
    return Tissue(
        blood=blood,
        right_blood=blood * rng.uniform(0.88, 1.04),
        myocardium=myocardium,
        fat=rng.uniform(0.8, 1.5),
        lung=rng.uniform(0.04, 0.16),
        liver=rng.uniform(0.25, 0.52),
        muscle=rng.uniform(0.22, 0.34),
        marrow=rng.uniform(0.35, 0.55),
        vessel=blood * rng.uniform(0.85, 1.05),
        leaflet=myocardium * rng.uniform(0.7, 1.1),
    )
