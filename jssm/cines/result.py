"""One cine with what a model sees in it: what is written, and without JAX."""

from dataclasses import dataclass

import numpy as np

from jssm import files
from jssm.cines.measures import (
    WALLS,
    Motion,
    RingMotion,
    Segmented,
    ring_segment_names,
    segment_names,
)
from jssm.shape import order

# What can be written of a cine, beside its summary; ``outputs.OUTPUTS`` says what each is.
NAMES = ("mask", "seg", "sr", "points", "vtk", "movie", "curves", "report")
# Where the wall that comes first in the points lies from the other one, in patient coordinates
# (LPS): the septum to the right, the inferior wall below, the inferolateral wall behind.
FIRST_WALL = {"4ch": (-1.0, 0.0, 0.0), "2ch": (0.0, 0.0, -1.0), "3ch": (0.0, 1.0, 0.0)}


@dataclass(frozen=True)
class Result:
    """One cine and what a model sees in it.

    found: what its files say of it. cine: its F frames. segmented: what the model sees in them.
    warnings: sentences. supposed_mirrored: whether to take the display for mirrored where the file
    does not tell.
    """

    found: files.Found
    cine: files.Cine
    segmented: Segmented
    warnings: tuple[str, ...] = ()
    supposed_mirrored: bool = False

    @property
    def points(self) -> np.ndarray:
        """(F, T, 2) px."""
        return self.segmented.points

    @property
    def motion(self) -> Motion | RingMotion | None:
        """As NumPy arrays; None for a single picture."""
        return self.segmented.motion

    @property
    def mirrored(self) -> bool | None:
        """Whether the display is a mirror image of the one that ``jssm.segment_names`` takes for
        usual; None where the file does not tell. Cines of MRI mostly are."""
        if self.cine.to_patient_mm is None or self.found.view not in FIRST_WALL:
            return None
        ends = self.points[:, order.basal_ends(self.points.shape[1])[0]].mean(axis=0)
        first, last = files.patient_mm(self.cine, ends)
        return bool((first - last) @ np.array(FIRST_WALL[self.found.view]) < 0)

    @property
    def segments(self) -> tuple[str, ...]:
        """The names of the six segments, numbers where the view is none of the three; those of a
        ring suppose the usual display."""
        if self.segmented.poses.closed:
            return ring_segment_names()
        if self.found.view not in WALLS:
            return tuple(f"segment {k + 1}" for k in range(6))
        mirrored = self.supposed_mirrored if self.mirrored is None else self.mirrored
        return segment_names(self.found.view, mirrored=mirrored)


def is_read() -> files.Cine:
    """The ``load`` of what is found, once it is read: its own reader cannot go to other processes.

    Raises:
      AssertionError: always.
    """
    raise AssertionError("the cine is read already")
