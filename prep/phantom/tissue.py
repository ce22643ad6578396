"""How bright each tissue is, and the painted layers that a picture is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from prep.phantom.polygons import Array

LOOKS = ("real", "random")
RANDOM_SHARE = 0.5  # of the patients of random looks: the rest looks real
_RANDOM_SIGNAL = (25.0 / 255.0, 225.0 / 255.0)
_RANDOM_TEXTURE = (5.0 / 255.0, 25.0 / 255.0)
# Blood is brighter than muscle in every cine. A network that also learns from dark blood takes a
# thick septum between two bright ventricles for a cavity.
_LEAST_CONTRAST = 0.1


@dataclass(frozen=True)
class Tissue:
    """Signal of each tissue in bSSFP, blood of the left ventricle at about 0.8.

    texture: the least and greatest standard deviation of the grain within a layer, as signal.
    """

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
    texture: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Layer:
    """One painted shape: outline (F, N, 2) or (N, 2) for a still one, its signal and opacity.

    value: (F,) or a number; mottle: how strongly the moving flow pattern shows in it;
    texture: standard deviation of its grain, as signal.
    """

    outline: Array
    value: Array | float
    opacity: float = 1.0
    mottle: float = 0.0
    texture: float = 0.0


def draw_tissue(rng: np.random.Generator, looks: str = "real") -> Tissue:
    """Draw the signals of one patient: of a scanner or, for half the patients of random looks, any.

    Random ones are drawn tissue by tissue, as SynthSeg does (Billot et al. 2023): a model that
    learns from them trusts shapes and edges rather than one contrast.
    """
    real = _draw_real(rng)
    return _draw_random(rng, real) if looks == "random" and rng.random() < RANDOM_SHARE else real


def with_texture(rng: np.random.Generator, layers: list[Layer], tissue: Tissue) -> list[Layer]:
    """Give the layers a grain each, of the strength the tissues have."""
    if tissue.texture[1] == 0.0:
        return layers
    return [replace(layer, texture=rng.uniform(*tissue.texture)) for layer in layers]


def _draw_random(rng: np.random.Generator, real: Tissue) -> Tissue:
    names = [field.name for field in fields(Tissue) if field.name != "texture"]
    signals = {name: rng.uniform(*_RANDOM_SIGNAL) for name in names}
    while signals["blood"] - signals["myocardium"] < _LEAST_CONTRAST:
        signals |= {name: rng.uniform(*_RANDOM_SIGNAL) for name in ("blood", "myocardium")}
    return replace(real, **signals, texture=_RANDOM_TEXTURE)


def _draw_real(rng: np.random.Generator) -> Tissue:
    """Scanners, flip angles and shims differ."""
    blood = rng.uniform(0.72, 0.92)
    myocardium = rng.uniform(0.14, 0.37)
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
