"""Images that show no heart to segment, made of noise, of figures and of images that show one.

A model draws a heart into each of them, so they teach what no heart looks like in its maps. Every
function is pure: ``f(rng, image (S, S), mask (S, S)) -> (S, S)``, grey values in [0, 1], where the
image shows a heart at the mask.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
TILES = (3, 12)  # along each side of a shuffled image


def flat(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """One grey value."""
    return np.full_like(image, rng.uniform())


def noise(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """Noise, white or smooth."""
    sigma_px = rng.choice([0.0, 1.0, 3.0, 8.0, 16.0])
    return _stretched(ndimage.gaussian_filter(rng.normal(size=image.shape), sigma_px))


def gradient(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """Grey values that rise in one direction, or from one place."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] / len(image)
    angle, (row, column) = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2)
    straight = np.cos(angle) * rows + np.sin(angle) * columns
    return _stretched(straight if rng.random() < 0.5 else np.hypot(rows - row, columns - column))


def stripes(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """Waves in one direction or two."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] / len(image)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 24)
    along = np.cos(angle) * rows + np.sin(angle) * columns
    across = np.cos(angle) * columns - np.sin(angle) * rows
    second = np.sin(2 * np.pi * waves * across) if rng.random() < 0.5 else 0.0
    return _stretched(np.sin(2 * np.pi * waves * along) + second)


def figures(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """Ellipses, rings and boxes on noise, as of vessels, of a ventricle cut across, of devices."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] / len(image)
    canvas = noise(rng, image, mask) * rng.uniform(0.1, 0.6)
    for _ in range(rng.integers(1, 9)):
        (row, column), sides = rng.uniform(0.1, 0.9, 2), rng.uniform(0.04, 0.3, 2)
        angle = rng.uniform(0, np.pi)
        along = np.cos(angle) * (rows - row) + np.sin(angle) * (columns - column)
        across = np.cos(angle) * (columns - column) - np.sin(angle) * (rows - row)
        form = rng.choice(["ellipse", "ring", "box"])
        reach = np.hypot(along / sides[0], across / sides[1])
        if form == "box":
            reach = np.maximum(abs(along / sides[0]), abs(across / sides[1]))
        inner = rng.uniform(0.4, 0.8) if form == "ring" else 0.0
        canvas = np.where((reach < 1) & (reach >= inner), rng.uniform(), canvas)
    soft = ndimage.gaussian_filter(canvas, rng.uniform(0.3, 1.5))
    return _stretched(soft + rng.uniform(0, 0.1) * rng.normal(size=image.shape))


def shuffled(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """The image cut into tiles that are dealt out anew."""
    count = int(rng.integers(TILES[0], TILES[1] + 1))
    side = len(image) // count
    tiles = image[: count * side, : count * side].reshape(count, side, count, side)
    tiles = rng.permutation(tiles.transpose(0, 2, 1, 3).reshape(-1, side, side))
    dealt = tiles.reshape(count, count, side, side).transpose(0, 2, 1, 3)
    room = len(image) - count * side
    return np.pad(dealt.reshape(count * side, count * side), (0, room), mode="reflect")


def heartless(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """The image with its heart covered by another part of it, blended in."""
    around = ndimage.binary_dilation(mask > 0.5, iterations=len(image) // 12)
    heart = ndimage.binary_fill_holes(around)
    shift = rng.integers(len(image) // 4, 3 * len(image) // 4, 2)
    other = np.roll(image if rng.random() < 0.5 else image[::-1], shift, axis=(0, 1))
    share = ndimage.gaussian_filter(heart.astype(np.float32), 3)
    return (image * (1 - share) + other * share).astype(np.float32)


def beyond(rng: np.random.Generator, image: Image, mask: NDArray) -> Image:
    """The image moved until at most a tenth of the heart is left in it; black comes after."""
    angle, step = rng.uniform(0, 2 * np.pi), len(image) / 16
    for k in range(1, 24):
        shift = np.array([np.sin(angle), np.cos(angle)]) * k * step
        if ndimage.shift(mask.astype(np.float32), shift, order=0).sum() <= 0.1 * mask.sum():
            break
    return ndimage.shift(image, shift, order=1).astype(np.float32)


KINDS: dict[str, Callable[[np.random.Generator, Image, NDArray], Image]] = {
    f.__name__: f
    for f in (flat, noise, gradient, stripes, figures, shuffled, heartless, beyond)
}  # fmt: skip


def _stretched(values: NDArray) -> Image:
    """The values brought to [0, 1]."""
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-9)).astype(np.float32)
