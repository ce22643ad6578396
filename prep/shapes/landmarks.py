"""Three landmarks per case: the apex and the middle of each basal end (Appendix A).

They come from the mask's geometry or from a file; a network's output can be brought in as such
a file.
"""

from pathlib import Path

import numpy as np

from jssm.networks.heatmaps import NAMES
from prep import tables
from prep.errors import Refused
from prep.shapes.kinds import HORSESHOE, Kind
from prep.shapes.point_cloud import signed_area

COLUMNS = tuple(f"{name}_{axis}" for name in NAMES for axis in "xy")


def from_mask(mask: np.ndarray, kind: Kind = HORSESHOE) -> np.ndarray:
    """Apex, first and second basal landmark (3, 2) of a mask (H, W), in pixels (x, y).

    Of another kind of shape, its top and its ends. Basal 1, apex, basal 2 run clockwise as
    displayed.

    Raises:
      Unsuitable: when the mask has no such boundaries.
    """
    return in_order(kind.landmarks(*kind.boundaries(mask)))


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
