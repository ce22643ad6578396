"""Where the heart lies in the image: from the heart frame in mm to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.phantom.anatomy import Anatomy
from prep.phantom.motion import Wall
from prep.phantom.polygons import Array

_MARGIN = 0.03  # the wall stays this far from the image's border, in fields of view


@dataclass(frozen=True)
class Pose:
    """The place of one patient's heart in every frame.

    origin: (2,) point of the heart frame about which it turns; angle: (F,) clockwise, radians;
    centre: (F, 2) where the origin lies, mm from the image centre before turning and mirroring;
    quarters: clockwise quarter turns of the picture; size: px; spacing_mm: the width of a (square)
    pixel.
    """

    origin: Array
    angle: Array
    centre: Array
    quarters: int
    mirrored: bool
    size: int
    spacing_mm: float

    def to_scanner(self, points: Array) -> Array:
        """Map heart points (F, N, 2) or (N, 2) to the scanner frame, unturned mm, (F, N, 2)."""
        x = points[..., 0] - self.origin[0]
        y = self.origin[1] - points[..., 1]  # the apex is up, y is down
        cos, sin = np.cos(self.angle)[:, None], np.sin(self.angle)[:, None]
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
        return turned + self.centre[:, None]

    def to_pixels(self, scanner_points: Array) -> Array:
        """Map scanner points (..., 2) mm to px of the image, turned and mirrored as it is."""
        flip = np.array([-1.0 if self.mirrored else 1.0, 1.0])
        x, y = np.moveaxis(scanner_points, -1, 0)
        turned = np.stack([(x, y), (-y, x), (-x, -y), (y, -x)][self.quarters], axis=-1)
        return turned * flip / self.spacing_mm + 0.5 * (self.size - 1)


def place(anatomy: Anatomy, wall: Wall, size: int) -> Pose:
    """Give the pose over the cycle: rocking and swaying at a place that keeps the wall in view."""
    swing = np.sin(2.0 * np.pi * wall.phase)
    angle = anatomy.tilt + anatomy.rock[0] * wall.activation + anatomy.rock[1] * swing
    sway = anatomy.sway * wall.activation[:, None]
    origin = np.array([0.0, 0.28 * anatomy.length if anatomy.level is None else 0.0])
    spacing = anatomy.field_of_view / size
    picture = (anatomy.quarters, anatomy.mirrored, size, spacing)
    centred = Pose(origin, angle, sway, *picture)
    points = centred.to_scanner(wall.outer)
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    room = (0.5 - _MARGIN) * anatomy.field_of_view
    centre = np.clip(anatomy.centre, -room - low, room - high)
    return Pose(origin, angle, sway + centre, *picture)
