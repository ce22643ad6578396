"""Three landmarks per case: the apex and the middle of each basal end (Appendix A).

They come from the mask's geometry or from a file; a network's output can be brought in as such
a file.
"""

from pathlib import Path

import numpy as np

from jssm.networks.heatmaps import NAMES
from prep import tables
from prep.errors import Refused
from prep.shapes.point_cloud import Boundaries, horseshoe_boundaries, resample_arc, signed_area

COLUMNS = tuple(f"{name}_{axis}" for name in NAMES for axis in "xy")
NEAR_APEX = 0.95  # outer points at least this far from the base, relative to the farthest


def from_mask(mask: np.ndarray, boundaries: Boundaries = horseshoe_boundaries) -> np.ndarray:
    """Apex, first and second basal landmark (3, 2) of a mask (H, W), in pixels (x, y).

    A basal landmark is the middle of the wall's end. The apex is the mean of the outer points
    farthest from the basal middle, steadier than the farthest alone, taken from the middle third
    of the outer boundary, so that a wide, low arch has its apex there too. Basal 1, apex, basal 2
    run clockwise as displayed.

    Raises:
      Unsuitable: when the mask has no such boundaries.
    """
    inner, outer = boundaries(mask)
    basal1, basal2 = (inner[0] + outer[0]) / 2, (inner[-1] + outer[-1]) / 2
    top = resample_arc(outer, 91)[30:61]
    distance = np.linalg.norm(top - (basal1 + basal2) / 2, axis=1)
    apex = top[distance >= NEAR_APEX * distance.max()].mean(axis=0)
    return in_order(np.stack([apex, basal1, basal2]))


def in_order(landmarks: np.ndarray) -> np.ndarray:
    """The landmarks (3, 2) with basal 1, apex, basal 2 clockwise as displayed."""
    return landmarks if signed_area(landmarks[[1, 0, 2]]) > 0 else landmarks[[0, 2, 1]]


def from_file(path: Path) -> dict[str, np.ndarray]:
    """Landmarks (3, 2) by case, in pixels of the original image, from a CSV table.

    Its columns are ``case`` and :data:`COLUMNS`.

    Raises:
      Refused: when the file cannot be read, lacks a column, or a field is no finite number.
    """
    found = {}
    for number, row in tables.read(path, ("case", *COLUMNS)):
        try:
            values = np.array([tables.decimal(row[column]) for column in COLUMNS])
        except ValueError:
            values = np.array([np.nan])
        if not np.isfinite(values).all():
            raise Refused(f"{path.name}: line {number} needs six finite numbers after the case")
        found[row["case"]] = in_order(values.reshape(3, 2))
    return found
