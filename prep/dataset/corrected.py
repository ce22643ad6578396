"""Cases from reports in which a reader corrected points: the frames that were corrected.

Their walls are whole, and drawn from the corrected points, so points and mask agree.
"""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jssm.report import record
from jssm.shape import affine
from jssm.shape.shape_model import ShapeModel
from prep.dataset import images
from prep.dataset.cases import Case, check_names
from prep.dataset.settings import Settings
from prep.errors import BadInput
from prep.shapes import point_cloud, procrustes, registration


def find(paths: Sequence[Path]) -> tuple[list[Case], dict[Path, dict[str, Any]], list[str]]:
    """A case for each corrected frame of files that reports saved, these files' contents, and a
    sentence for each file that gives no case.

    Raises:
      Refused: when two cases have one name.
    """
    cases: list[Case] = []
    contents, bad = {}, []
    for path in paths:
        try:
            content = record.read(path)
            found = _cases(path, content)
        except (OSError, ValueError) as error:
            bad.append(str(error))
            continue
        except (KeyError, TypeError):  # fields of other types
            bad.append(f"{path}: not what a report saved")
            continue
        if not found:
            bad.append(f"{path}: no point was corrected in it")
        contents[path] = content
        cases += found
    check_names(cases)
    return cases, contents, bad


def _cases(path: Path, content: dict[str, Any]) -> list[Case]:
    """A case for each corrected frame of one file."""
    frames = sorted({operator.index(correction["frame"]) for correction in content["corrections"]})
    count = len(content["frames"])
    return [
        Case(images.frame_name(content["id"], frame, count), content["patient"], frame, path, path)
        for frame in frames
    ]


def read_frame(
    case: Case, content: dict[str, Any], settings: Settings, shape: ShapeModel
) -> dict[str, Any]:
    """The arrays of one case: image and mask (S, S), points and canonical_points (T, 2), thetas
    (2, 3), spacing_mm (2,), time_s and dice.

    θ is the affine map that takes the data set's mean shape nearest to the points.

    Raises:
      BadInput: when it has another number of points, or its wall is not one piece.
    """
    square = (settings.size, settings.size)
    pixels = record.from_jpegs(content["frames"][case.frame : case.frame + 1])[0]
    aspect = content["aspect"]
    to_square = np.asarray(affine.letterbox(pixels.shape, square, aspect=aspect), np.float64)
    points = registration.apply(to_square, _points(content, case.frame))
    if points.shape != (settings.num_points, 2):
        raise BadInput(
            f"{case.name}: has {len(points)} points, the data set {settings.num_points} per shape"
        )
    wall = walled(points, square, shape)
    images.check_mask(wall["mask"], case.name)
    spacing, time_s = (np.array(content[key], float) for key in ("spacing_mm", "time_s"))
    return {
        "image": images.fit_image(pixels, settings.size, aspect=aspect),
        "spacing_mm": spacing / to_square[[1, 0], [1, 0]],
        "time_s": time_s[case.frame],
        **wall,
    }


def walled(points: np.ndarray, square: tuple[int, int], shape: ShapeModel) -> dict[str, Any]:
    """What a data set knows of a wall by its points (T, 2) alone, which its mask is drawn from."""
    theta = procrustes.fit_affine(np.asarray(shape.mean, np.float64), points)
    return {
        "mask": point_cloud.polygon_mask(points, square).astype(np.uint8),
        "points": points,
        "canonical_points": registration.apply(registration.invert(theta), points),
        "thetas": theta,
        "dice": 1.0,
    }


def _points(content: dict[str, Any], frame: int) -> np.ndarray:
    """The points (T, 2) of a frame, px of its image."""
    shape = {name: np.array(value, float) for name, value in content["shape"].items()}
    bent = shape["mean"] + np.tensordot(content["beta"][frame], shape["modes"], axes=1)
    return registration.apply(np.array(content["theta"][frame], float), bent)
