"""Whole walls for cases of which the cavity alone is drawn: a trained model sees the rest."""

from typing import Any

import numpy as np
from scipy import ndimage

import jssm
from jssm import image_path
from jssm.methods import completing
from jssm.shape import affine, integrity, order
from prep.dataset.settings import Settings
from prep.errors import Refused, Unsuitable
from prep.shapes import point_cloud, registration


def model_for(source: str, num_points: int) -> jssm.Model:
    """The model that completes walls of so many points.

    Raises:
      Refused: when there is none, or it cannot.
    """
    try:
        model = jssm.load(source)
        completing.check(model)
    except (OSError, ValueError) as error:
        raise Refused(f"--walls {source}: {error}") from error
    if model.shape.num_points != num_points:
        raise Refused(
            f"--walls {source}: has {model.shape.num_points} points, the data set {num_points} "
            "per shape"
        )
    return model


def points_of(found: dict[str, Any], model: jssm.Model, settings: Settings) -> np.ndarray:
    """The points (T, 2) of a case's whole wall.

    found: the case as its cavity tells it: image and mask (S, S), and points (T, 2), of which the
    inner are known.

    Raises:
      Unsuitable: when the wall folds, is too thin, or does not enclose what was drawn.
    """
    square = found["mask"].shape
    to_model = np.asarray(affine.letterbox(square, (model.size, model.size)), np.float64)
    inner = registration.apply(to_model, order.boundaries(found["points"])[0])
    image = image_path.fit(image_path.from_uint8(found["image"]), model.size)
    seen = completing.completed(model, image[None], inner[None].astype(np.float32))[0]
    if not integrity.integrity(seen).ok:
        raise Unsuitable("the wall that the model puts around the cavity folds")
    points = registration.apply(registration.invert(to_model), np.asarray(seen, np.float64))
    if ndimage.label(point_cloud.polygon_mask(points, square), np.ones((3, 3)))[1] != 1:
        raise Unsuitable("the wall that the model puts around the cavity is thinner than a pixel")
    strip = points[order.cavity_strip(len(points))]
    dice = point_cloud.dice(point_cloud.polygon_mask(strip, square), found["mask"])
    if dice < settings.min_dice:
        raise Unsuitable(
            "what the model's wall encloses and the drawn cavity have a Dice of "
            f"{dice:.3f}, under {settings.min_dice:g}"
        )
    return points
