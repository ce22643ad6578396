"""The population: what differs from one phantom patient to the next.

The heart frame is in mm: x across the long axis, y along it towards the apex, the middle of the
valve plane near (0, 0).  Seen with the apex up, the first basal end lies on the left (x < 0): the
septum in 4ch, the inferior wall in 2ch, the inferolateral wall in 3ch.  The midwall is the curve

    x = R sin φ (1 + blunt cos² φ)(1 + skew sin φ),   y = L (cos φ - cos φ_base),

φ from -φ_base through the apex (0) to +φ_base; φ_base above 90° narrows the base opening, and so
does `narrowing`, the bend of both ends towards the mitral ring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

VIEWS = ("2ch", "3ch", "4ch")
SLICES = {"sax_basal": 0.25, "sax_mid": 0.5, "sax_apical": 0.75}  # how far from base to apex
KINDS = ("normal", "dilated", "hypertrophic", "infarcted")
KIND_WEIGHTS = (0.47, 0.2, 0.13, 0.2)

FIELD_OF_VIEW_MM = (200.0, 350.0)
WALL_PIXELS = 1.5  # of the coarsest image, COARSEST pixels wide: keeps the mask 4-connected
COARSEST = 96

# Uniform ranges by kind: midwall length mm, diameter over length, wall mm, fraction of longitudinal
# and of circumferential midwall shortening at end systole.
#
# Wall at end diastole.  Kawel et al. 2012 (MESA, cine MRI, 300 healthy): at mid level 5.3 ± 0.9 mm
# in women and 6.3 ± 1.1 mm in men on short axes, and on long axes 10 % more there, 6 % more at the
# base and 20 % less at the apex.  That is 5.8 ± 1.0 and 6.9 ± 1.2 mm; both sexes 4.6 to 8.2 mm,
# with a thinner apex.  Hypertrophy begins at 13 mm at the thickest place (Elliott et al. 2014).
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "normal": {
        "length": (78, 98), "ratio": (0.58, 0.73), "wall": (4.7, 8.3),
        "shortening": (0.125, 0.175), "squeeze": (0.18, 0.24),
    },
    "dilated": {
        "length": (92, 112), "ratio": (0.66, 0.82), "wall": (4.7, 8.0),
        "shortening": (0.045, 0.095), "squeeze": (0.05, 0.11),
    },
    "hypertrophic": {
        "length": (78, 95), "ratio": (0.60, 0.74), "wall": (8.5, 12.5),
        "shortening": (0.085, 0.135), "squeeze": (0.17, 0.23),
    },
    "infarcted": {
        "length": (82, 104), "ratio": (0.60, 0.76), "wall": (5.0, 8.5),
        "shortening": (0.11, 0.155), "squeeze": (0.14, 0.20),
    },
}  # fmt: skip

# Clockwise turn of the apex from "up" in the unmirrored image, degrees: mean and spread.
_TILT = {
    "2ch": (-105.0, 22.0), "3ch": (-115.0, 24.0), "3ch axial": (-60.0, 16.0), "4ch": (47.0, 16.0),
}  # fmt: skip
_AXIAL_3CH = 0.4  # share of the 3ch slices that are close to axial
# Where the heart lies in that image, right and down, in fields of view: mean; the spread is alike.
_CENTRE = {"2ch": (-0.03, 0.0), "3ch": (-0.03, 0.0), "4ch": (0.07, 0.03)}
_CENTRE_SPREAD = 0.065
# Scanners turn pictures by quarters, as they number the rows: shares of 0, 1, 2, 3 clockwise.
_QUARTERS = (0.45, 0.07, 0.08, 0.40)


@dataclass(frozen=True)
class Anatomy:
    """One patient's heart, its contraction and its place in the scanner; mm, radians, fractions."""

    view: str
    kind: str
    mirrored: bool
    # Shape of the midwall.
    length: float
    radius: float
    base_left: float  # φ_base of the first and of the last basal end
    base_right: float
    narrowing: float  # of the half width at the basal ends, a fraction
    blunt: float
    skew: float
    bend: float  # sideways bow of the long axis, mm
    ripple: NDArray[np.float64]  # (4,) mm, slow waves of the outline
    # Wall.
    wall: float
    apex_thinning: float
    course: NDArray[np.float64]  # (4,) relative, slow waves of thickness along the arc
    bulge: float  # extra relative thickness of asymmetric hypertrophy
    bulge_at: float
    bulge_width: float
    # Infarct: weight 1 at its centre.
    infarct: float  # 0 none, 1 akinetic, above 1 dyskinetic
    infarct_at: float
    infarct_width: float
    infarct_thinning: float
    # Contraction.
    shortening: float
    squeeze: float
    thickening: float  # exponent of 1 / (λ_l λ_c): 1 keeps the wall's volume
    apex_lift: float  # mm by which the apex follows the contraction
    systole: float  # phase of end systole
    rock: NDArray[np.float64]  # (2,) radians with the contraction and out of step with it
    sway: NDArray[np.float64]  # (2,) mm
    heart_rate: float
    # Place.
    axial: bool  # the slice is close to an axial one, else to a sagittal one
    tilt: float
    centre: NDArray[np.float64]  # (2,) wish for the heart's middle, mm from the image centre
    field_of_view: float  # mm
    quarters: int  # clockwise quarter turns of the whole picture

    @property
    def level(self) -> float | None:
        """Of a short-axis slice, how far it lies from base (0) to apex (1)."""
        return SLICES.get(self.view)

    @property
    def least_wall(self) -> float:
        """The least wall thickness, mm: WALL_PIXELS pixels of the coarsest image."""
        return WALL_PIXELS * self.field_of_view / COARSEST


def draw_anatomy(rng: np.random.Generator, view: str) -> Anatomy:
    """Draw one patient.  The heart itself depends on rng alone, so that views of one rng agree.

    Short-axis slices are shown as usual, with the septum on the left.
    """
    if view in SLICES:
        heart = draw_anatomy(rng, "4ch")
        tilt = np.clip(heart.tilt - np.radians(_TILT["4ch"][0]), -0.6, 0.6)
        heart = replace(heart, mirrored=False, axial=False, quarters=0)
        return replace(heart, view=view, tilt=float(tilt))
    kind = str(rng.choice(KINDS, p=KIND_WEIGHTS))
    ranges = _RANGES[kind]
    draw = {name: float(rng.uniform(*limits)) for name, limits in ranges.items()}
    length = draw["length"]
    thick_kind = kind == "hypertrophic"
    axial = {"2ch": 0.0, "3ch": _AXIAL_3CH, "4ch": 1.0}[view] > rng.random()
    mean_tilt, spread = _TILT["3ch axial" if view == "3ch" and axial else view]
    tilt = rng.normal(mean_tilt, spread)
    if rng.random() < 0.06:  # some scanners and some hearts lie quite otherwise
        tilt = rng.uniform(-180.0, 180.0)

    # Asymmetric hypertrophy prefers the septum, or, in one patient of six, the apex.
    septum = {"2ch": 1.0, "3ch": 1.0, "4ch": -1.0}[view]
    bulge_at = septum * rng.uniform(0.8, 1.4) if rng.random() < 0.83 else rng.uniform(-0.3, 0.3)
    infarct_at = rng.uniform(-1.5, 1.5)
    angle = {"2ch": (1.90, 1.86), "3ch": (1.90, 1.78), "4ch": (1.84, 1.90)}[view]
    field_of_view = float(rng.uniform(*FIELD_OF_VIEW_MM))
    return Anatomy(
        view=view,
        kind=kind,
        mirrored=bool(rng.random() < 0.25),
        length=length,
        radius=0.5 * length * draw["ratio"],
        base_left=float(np.clip(rng.normal(angle[0], 0.07), 1.6, 2.1)),
        base_right=float(np.clip(rng.normal(angle[1], 0.07), 1.6, 2.1)),
        narrowing=float(rng.uniform(0.05, 0.3)),
        blunt=float(rng.uniform(0.15, 0.40) if thick_kind else rng.uniform(-0.08, 0.16)),
        skew=float(rng.normal(0.0, 0.06)),
        bend=float(rng.normal(0.0, 2.5)),
        ripple=rng.normal(0.0, 1.0, 4) * (0.7, 0.7, 0.5, 0.35),
        wall=draw["wall"],
        apex_thinning=float(rng.uniform(0.25, 0.55)),
        course=rng.normal(0.0, 1.0, 4) * (0.07, 0.05, 0.04, 0.03),
        bulge=float(rng.uniform(0.15, 0.65)) if thick_kind and rng.random() < 0.75 else 0.0,
        bulge_at=float(bulge_at),
        bulge_width=float(rng.uniform(0.4, 0.7)),
        infarct=float(rng.uniform(0.75, 1.12)) if kind == "infarcted" else 0.0,
        infarct_at=float(infarct_at),
        infarct_width=float(rng.uniform(0.4, 0.75)),
        infarct_thinning=float(rng.uniform(0.1, 0.35)),
        shortening=draw["shortening"],
        squeeze=draw["squeeze"],
        thickening=float(rng.uniform(0.94, 1.0)),
        apex_lift=float(rng.uniform(0.0, 2.5)),
        systole=float(rng.uniform(0.32, 0.40)),
        rock=np.radians(rng.normal(0.0, 1.0, 2) * (2.5, 1.2)),
        sway=rng.normal(0.0, 1.2, 2),
        heart_rate=float(rng.uniform(52.0, 98.0)),
        axial=axial,
        tilt=float(np.radians(tilt)),
        centre=field_of_view * rng.normal(_CENTRE[view], _CENTRE_SPREAD),
        field_of_view=field_of_view,
        quarters=int(rng.choice(4, p=_QUARTERS)),
    )
