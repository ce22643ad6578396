"""Images made worse, from not at all (strength 0) to severely (strength 1).

Each function is pure: `f(image (H, W) uint8, strength in [0, 1], rng) -> (H, W) uint8`. Its draws
do not depend on the strength, so a generator of the same seed gives one and the same fault at every
strength, only weaker or stronger. Strength 0 gives the image itself.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Degradation = Callable[[Image, float, np.random.Generator], Image]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

# At strength 1:
NOISE_GREY = 64.0  # the standard deviation of either channel, of 255 grey values
GHOST_SHARE = 0.5  # the brightness of either ghost, relative to the image
SLAB_SHARE = 0.25  # the slab's width, relative to the shorter side of the image

GHOST_SHIFTS = (1 / 8, 1 / 3)  # the least and the greatest, relative to the height
SHADE_SHARE = 0.25  # of the side: the stretch, about the middle, on which the dark half sets in


def noise(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Rician noise, that of the magnitude of a complex MR signal.

    √((image + a)² + b²), a and b normal in every pixel with the standard deviation ``strength`` ·
    64 grey values: a signal-to-noise ratio of 4 at full white for strength 1. Like any Rician
    noise it brightens the dark parts.
    """
    sigma = NOISE_GREY * _checked(strength)
    real, imaginary = sigma * rng.standard_normal((2, *image.shape))
    return _grey(np.hypot(image + real, imaginary))


def ghosting(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Two ghosts, shifted up and down, as a breath or a pulse makes them.

    The lines of k-space along the phase-encoding axis, y here, are multiplied by 1 + ``strength`` ·
    cos(2π k d / H + φ): that adds copies of the image shifted by +d and −d px, round the image's
    border, with ``strength`` / 2 of its brightness and the phases ±φ. d is a whole number from H/8
    to H/3. The magnitude is shown. At strength 1 the lines' weights swing between 0 and 2.
    """
    low, high = (round(share * len(image)) for share in GHOST_SHIFTS)
    shift, phase = int(rng.integers(low, high + 1)), rng.uniform(0, 2 * np.pi)
    share = GHOST_SHARE * _checked(strength) * np.exp(1j * phase)
    pixels = image.astype(np.float64)
    down, up = np.roll(pixels, shift, axis=0), np.roll(pixels, -shift, axis=0)
    return _grey(np.abs(pixels + share * down + share.conjugate() * up))


def dark_half(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """One half of the image (left, right, upper or lower) shaded, as by a coil that fails.

    The gain goes smoothly from 1 to 1 − ``strength`` on the quarter of the side about the middle:
    half way there in the middle, and 1 − ``strength`` from 5/8 of the side on. Strength 1: black.
    """
    side = int(rng.integers(4))
    axis, reverse = side % 2, side >= 2
    place = (np.arange(image.shape[axis]) + 0.5) / image.shape[axis]
    ramp = np.clip((place - 0.5) / SHADE_SHARE + 0.5, 0.0, 1.0)
    shade = ramp**2 * (3 - 2 * ramp)
    gain = 1 - _checked(strength) * (shade[::-1] if reverse else shade)
    return _grey(image * (gain[:, None] if axis == 0 else gain))


def missing_slab(
    image: Image,
    strength: float,
    rng: np.random.Generator,
    *,
    heart: NDArray[np.bool_] | None = None,
) -> Image:
    """A straight band through the image set to 0, as by a saturation slab or a metal clip.

    ``strength`` / 4 of the shorter side is its width. Its middle line has a random direction and
    goes through a random pixel of ``heart`` (H, W), a mask; without one, of the image's middle,
    half as high and as wide as the image.
    """
    height, width = image.shape
    if heart is None or not heart.any():
        heart = np.zeros(image.shape, bool)
        heart[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    pixels, angle = np.argwhere(heart), rng.uniform(0, np.pi)
    row, column = pixels[int(rng.integers(len(pixels)))]
    y, x = np.mgrid[:height, :width]
    distance = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
    half = _checked(strength) * SLAB_SHARE * min(height, width) / 2
    covered = np.minimum(distance + 0.5, half) - np.maximum(distance - 0.5, -half)
    return _grey(image * (1 - np.clip(covered, 0.0, 1.0)))


DEGRADATIONS: dict[str, Degradation] = {
    "noise": noise,
    "ghosting": ghosting,
    "dark half": dark_half,
    "missing slab": missing_slab,
}


def degrade_case(
    name: str, image: Image, mask: NDArray, strength: float, *, seed: int, row: int
) -> Image:
    """The ``image`` (H, W) of one case, in ``row`` of its data set, made worse by the degradation
    ``name``; a slab crosses the ``mask`` (H, W). The draws depend on ``seed`` and ``row`` alone.
    """
    rng = np.random.default_rng([seed, row])
    if name == "missing slab":
        return missing_slab(image, strength, rng, heart=np.asarray(mask) > 0)
    return DEGRADATIONS[name](image, strength, rng)


def _checked(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, expected a number from 0 to 1")
    return strength


def _grey(values: NDArray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
