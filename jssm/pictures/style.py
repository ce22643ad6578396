"""What all pictures have in common: colours, the range of greys and the part that is shown.

The colours are Okabe and Ito's and viridis, which colour-blind eyes can tell apart. No matplotlib
here: it takes a second to import, and movies and curves do without.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

TRUTH_COLOUR = "#56B4E9"  # sky blue
PREDICTION_COLOUR = "#E69F00"  # orange
TRAIN_COLOUR, VAL_COLOUR = "#0072B2", "#D55E00"  # blue, vermilion
CURVE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
# Viridis without its darkest part, which cannot be seen on the black of an image.
WALL_STOPS = (
    *("#355f8d", "#2d718e", "#26828e", "#20928c", "#20a386", "#2fb47c"),
    *("#4ec36b", "#75d054", "#a2da37", "#d2e21b", "#fde725"),
)


def wall_colours(count: int) -> NDArray[np.float64]:
    """RGB (count, 3) in 0..255 along the wall, from the first basal end (dark) to the last."""
    stops = np.array([ImageColor.getrgb(stop) for stop in WALL_STOPS])
    places, known = np.linspace(0, 1, count), np.linspace(0, 1, len(stops))
    return np.stack([np.interp(places, known, channel) for channel in stops.T], axis=1)


def crop_window(
    image_shape: Sequence[int], heart: NDArray[np.bool_] | None, points: NDArray | None
) -> tuple[float, float, float]:
    """The square (left, top, side), in px, round the mask and the points, with a margin.

    Points outside the image do not widen it beyond the image; an empty case shows the whole image.
    """
    height, width = image_shape
    places = np.zeros((0, 2)) if heart is None else np.argwhere(heart)[:, ::-1].astype(float)
    if points is not None:
        places = np.concatenate([places, points[np.isfinite(points).all(axis=1)]])
    if len(places) == 0:
        return -0.5, -0.5, float(max(height, width))
    limit = np.array([width - 1.0, height - 1.0])
    low, high = np.clip(places.min(0), 0, limit), np.clip(places.max(0), 0, limit)
    side = min(1.5 * max(8.0, *(high - low)), float(max(height, width)))
    left, top = np.maximum(np.minimum((low + high - side) / 2, limit + 0.5 - side), -0.5)
    return float(left), float(top), side


def grey_range(images: NDArray) -> tuple[float, float]:
    """The values to show as black and white: the 0.5 and 99.5 percentiles."""
    low, high = np.percentile(images, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))
