"""The left ventricle itself: cavity, wall, papillary muscles, trabeculae, mitral valve.

In the heart frame, as in :mod:`prep.phantom.chambers`.
"""

from __future__ import annotations

import numpy as np

from prep.phantom.anatomy import Anatomy
from prep.phantom.motion import SAMPLES, Wall
from prep.phantom.polygons import Array, bezier, ellipse, left_normals, shift, stroke, unit
from prep.phantom.tissue import Layer, Tissue
from prep.phantom.valves import leaflets, valve_opening


def left_ventricle(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """Cavity, wall, what lines it on either side, papillary muscles, mitral valve; the wall is the
    mask's shape."""
    inflow = valve_opening(wall, anatomy.systole)
    blood = tissue.blood * (1.0 + rng.uniform(0.0, 0.03) * inflow - 0.03 * wall.activation)
    # It bulges a little into the atrium: blood shows no straight edge in the valve plane.
    left, right = wall.inner[:, 0], wall.inner[:, -1]
    bow = bezier([right, shift(0.5 * (left + right), 0.0, -7.0), left], 12)[:, 1:-1]
    cavity = np.concatenate([wall.inner[:, ::2], bow], axis=1)
    layers = [
        Layer(cavity, blood, mottle=1.0),
        Layer(band_polygon(wall), tissue.myocardium),
    ]
    layers += trabeculae(rng, wall, tissue)
    inward = -left_normals(wall.inner)
    places = {"2ch": (-1.0, 0.95), "3ch": (-1.0, 0.9), "4ch": (1.0, -0.85)}[anatomy.view]
    certain = (0.95, 0.95 if anatomy.view == "2ch" else 0.5)
    for place, chance in zip(places, certain, strict=True):
        if rng.random() > chance:
            continue
        index = np.searchsorted(wall.phi, place + rng.normal(0.0, 0.1))
        axis = unit(wall.inner[:, index + 4] - wall.inner[:, index - 4])
        swell = np.sqrt(wall.thickness[:, index] / wall.thickness[0, index])
        long, short = rng.uniform(8, 16), rng.uniform(2.6, 5.2)
        foot = wall.inner[:, index] + rng.uniform(0.6, 1.9) * short * inward[:, index]
        body = ellipse(foot, axis, long / swell, short * swell)
        layers += [Layer(body, tissue.myocardium, rng.uniform(0.6, 1.0))]
        tip = foot + np.sign(place) * 0.9 * long * axis
        valve = 0.5 * (left + right) + (0.0, 6.0)
        cord = stroke(bezier([tip, 0.5 * (tip + valve) + (0.0, 2.0), valve], 6), 0.8)
        layers += [Layer(cord, tissue.leaflet, rng.uniform(0.0, 0.35))]
    if anatomy.view == "3ch":
        right = left + 0.53 * (right - left)
    layers += leaflets(
        left, right, inflow, tissue, share=rng.uniform(0.42, 0.58), width=rng.uniform(0.8, 1.5),
        opacity=rng.uniform(0.15, 0.7),
    )  # fmt: skip
    return _outer_lining(rng, anatomy, wall, tissue) + layers


def trabeculae(rng: np.random.Generator, wall: Wall, tissue: Tissue) -> list[Layer]:
    """Trabeculae on the inside of the wall: they belong to the drawn cavity, blurred and uneven.

    On real images the signal falls from blood to muscle over 3 to 7 mm inside the drawn outline:
    a zone of half muscle, half blood, deeper towards the apex, and a few fine strands beyond it.
    """
    inward = -left_normals(wall.inner)
    s = _along(wall)
    fade = np.clip(4.0 * (1.0 - np.abs(s)), 0.0, 1.0)
    grow_with = np.sqrt(wall.thickness / wall.thickness[:1])  # they crowd as the cavity shrinks
    layers = []
    for most, rough, opacity in (
        (2.6, 0.6, (0.5, 1.0)),
        (4.5, 1.2, (0.25, 0.75)),
        (7.0, 2.2, (0.1, 0.45)),
    ):
        waves = 0.4 * rough * _waves(rng, s)
        depth = most * rng.uniform(0.2, 1.0) * (1.0 - 0.4 * np.abs(s)) + waves
        edge = np.clip(depth, 0.0, 1.6 * most) * fade * grow_with
        inside = wall.inner + edge[..., None] * inward
        lining = np.concatenate([wall.inner, inside[:, ::-1]], axis=1)
        layers += [Layer(lining[:, ::2], tissue.myocardium, rng.uniform(*opacity))]
    for index in rng.integers(60, SAMPLES - 60, rng.integers(0, 9)):  # strands
        away = 0.5 * grow_with[:, index, None] * rng.uniform(2.0, 9.0)
        along = unit(wall.inner[:, index + 8] - wall.inner[:, index - 8])
        along = unit(along + rng.normal(0.0, 0.3) * inward[:, index])
        strand = ellipse(
            wall.inner[:, index] + away * inward[:, index],
            along, rng.uniform(3.0, 12.0), rng.uniform(0.6, 1.8),
        )  # fmt: skip
        layers += [Layer(strand, tissue.myocardium, rng.uniform(0.3, 0.9))]
    return layers


def _outer_lining(
    rng: np.random.Generator, anatomy: Anatomy, wall: Wall, tissue: Tissue
) -> list[Layer]:
    """What looks like wall outside of it and is not drawn: trabeculae of the right ventricle on the
    septum, elsewhere a little epicardium and pericardium.

    On real images the signal is half way to that of the right ventricle's blood 1.5 to 4 mm outside
    the drawn septum, farther as the heart contracts, and leaves that of muscle 0 to 3 mm outside
    the free wall.
    """
    outward = left_normals(wall.outer)
    s = _along(wall)
    side = {"2ch": 0.0, "3ch": 1.0, "4ch": -1.0}[anatomy.view]  # where the right ventricle lies
    septal = np.clip(4.0 * side * s, 0.0, 1.0)
    fade = np.clip(8.0 * (1.0 - np.abs(s)), 0.0, 1.0)
    grow_with = np.where(septal > 0.0, wall.thickness / wall.thickness[:1], 1.0)
    layers = []
    for on_septum, elsewhere, rough, opacity in (
        (5.4, 3.0, 1.2, (0.1, 0.5)),
        (3.2, 2.0, 0.5, (0.7, 1.0)),
    ):
        most = on_septum * rng.uniform(0.1, 1.0) * septal
        most = most + elsewhere * rng.uniform(0.0, 1.0) * (1.0 - septal)
        depth = np.clip(most + 0.4 * rough * _waves(rng, s), 0.0, 1.6 * on_septum)
        outside = wall.outer + (depth * fade * grow_with)[..., None] * outward
        lining = np.concatenate([wall.outer, outside[:, ::-1]], axis=1)
        layers += [Layer(lining[:, ::2], tissue.myocardium, rng.uniform(*opacity))]
    return layers


def _along(wall: Wall) -> Array:
    """Where each sample (K,) lies along the wall: 0 at the apex, -1 and 1 at the basal ends."""
    return wall.phi / np.where(wall.phi < 0.0, -wall.phi[0], wall.phi[-1])


def _waves(rng: np.random.Generator, s: Array) -> Array:
    """Uneven waves (K,) along the wall, slow and fine."""
    return np.sum(
        [
            np.sin(np.pi * k * s + rng.uniform(0.0, 6.3)) * rng.normal()
            for k in (1, 2, 4, 7, 11, 16)
        ],
        axis=0,
    )


def band_polygon(wall: Wall) -> Array:
    """Give the closed outline (F, N, 2) of the wall: along the inside, back along the outside."""
    return np.concatenate([wall.inner, wall.outer[:, ::-1]], axis=1)
