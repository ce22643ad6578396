"""From layers to a cine: painting with exact partial volume, then the scanner's faults.

The scanner: coil shading and off-resonance bands, a limited k-space (sharpness), ghosts along the
phase direction, Rician noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prep.phantom.motion import Wall, at
from prep.phantom.polygons import Array, coverage
from prep.phantom.pose import Pose
from prep.phantom.tissue import Layer

Image = NDArray[np.float32]

_SPECKS = 1500  # material points that carry the muscle's texture


@dataclass(frozen=True)
class Scanner:
    """What one patient's scan does to the signal; arrays are (size, size) unless said otherwise."""

    shading: Image
    window: Image  # of k-space, in the order of an unshifted FFT
    noise: float
    ghost: float
    ghost_period: float  # lines between the phase errors: ghosts at 1/period of the field of view
    phase_axis: int
    gain: float
    offset: float


def draw_scanner(rng: np.random.Generator, size: int, noise_scale: float = 1.0) -> Scanner:
    """Draw the faults of one scan on a size × size grid."""
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    shading = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(2, 5)):  # surface coils around the body
        angle, reach = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.8, 1.5)
        cx, cy = reach * np.cos(angle), reach * np.sin(angle)
        shading += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / np.float32(rng.uniform(0.4, 2.0)))
    strength = rng.uniform(0.15, 0.8)
    shading = 1.0 + np.float32(strength) * (shading / shading.mean() - 1.0)
    shading = np.maximum(shading, 0.3)
    if rng.random() < 0.2:  # a dark off-resonance band across the picture
        turn = rng.uniform(0.0, np.pi)
        wave = (x * np.cos(turn) + y * np.sin(turn) + 0.15 * x * y - rng.uniform(-0.8, 0.8)) / 0.07
        shading = shading * (1.0 - rng.uniform(0.1, 0.3) * np.exp(-(wave**2)))

    axis = int(rng.integers(2))
    kept = rng.uniform(0.62, 1.0, 2)  # share of k-space acquired along rows and columns
    kept[1 - axis] = max(kept[1 - axis], 0.8)
    soft = rng.uniform(0.05, 0.35)
    frequency = np.abs(np.fft.fftfreq(size)) * 2.0
    sides = [_taper(frequency / part, soft) for part in kept]
    blur = np.exp(-0.5 * (rng.uniform(0.2, 1.5) * np.pi * 0.5 * frequency) ** 2)
    window = np.outer(sides[0] * blur, sides[1] * blur)
    return Scanner(
        shading=shading.astype(np.float32),
        window=window.astype(np.float32),
        noise=float(np.exp(rng.uniform(np.log(0.006), np.log(0.05))) * noise_scale),
        ghost=float(max(0.0, rng.normal(0.015, 0.018))),
        ghost_period=float(rng.choice([2.0, 3.0, 4.0, 6.0])),
        phase_axis=axis,
        gain=float(np.exp(rng.uniform(np.log(180.0), np.log(1500.0)))),
        offset=float(rng.uniform(0.0, 0.05)),
    )


def _taper(frequency: Array, soft: float) -> Array:
    """Give 1 up to 1 - soft, a cosine fall to 0 at 1 and 0 beyond."""
    part = np.clip((frequency - (1.0 - soft)) / soft, 0.0, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * part)


def paint(
    image: Image, outline: Array, value: float, layer: Layer, mottle: Image | None, grain: Image
) -> None:
    """Blend one outline (N, 2) px into the image, in place; grain: of deviation 1, for textures."""
    patch = coverage(outline, (image.shape[0], image.shape[1]))
    if patch is None:
        return
    part = image[patch.rows, patch.columns]
    fraction = patch.fraction
    if layer.opacity != 1.0:
        fraction = fraction * np.float32(layer.opacity)
    target: Image | np.float32 = np.float32(value)
    if mottle is not None and layer.mottle:
        spots = mottle[patch.rows, patch.columns]
        target = target * (1.0 + np.float32(layer.mottle) * spots)
    if layer.texture:
        target = target + np.float32(layer.texture) * grain[patch.rows, patch.columns]
    part += fraction * (target - part)


def paint_still(pose: Pose, layers: list[Layer], rng: np.random.Generator) -> Image:
    """Give the picture of the layers that do not move, with their grain, (size, size)."""
    image = np.full((pose.size, pose.size), 0.015, np.float32)
    grain = _grain(rng, pose, 2.0, 1.0)
    for layer in layers:
        paint(image, pose.to_pixels(layer.outline), float(layer.value), layer, None, grain)
    return image * (1.0 + _grain(rng, pose, 2.2, 0.07) + _grain(rng, pose, 12.0, 0.07))


def _grain(rng: np.random.Generator, pose: Pose, scale_mm: float, strength: float) -> Image:
    """Give smooth noise (size, size) with spots of scale_mm and the given standard deviation."""
    noise = rng.standard_normal((pose.size, pose.size), np.float32)
    smooth = gaussian_filter(noise, scale_mm / pose.spacing_mm, mode="wrap")
    return (strength / max(float(smooth.std()), 1e-6) * smooth).astype(np.float32)


def _speckle(rng: np.random.Generator, wall: Wall, pose: Pose) -> tuple[Array, Image]:
    """Give specks of muscle texture that move with it: places (F, P, 2) px and weights (P,)."""
    where = rng.uniform(0.0, wall.phi.size - 1.001, _SPECKS)
    across = rng.uniform(0.08, 0.92, _SPECKS)[:, None]
    inner, outer = at(wall.inner, where), at(wall.outer, where)
    points = pose.to_pixels(pose.to_scanner(inner + across * (outer - inner)))
    strength = rng.uniform(0.015, 0.06) * (1.4 / pose.spacing_mm) ** 2
    return points, (strength * rng.standard_normal(_SPECKS)).astype(np.float32)


def _add_specks(image: Image, points: Array, weights: Image) -> None:
    size = image.shape[0]
    inside = ((points > 0.0) & (points < size - 1.001)).all(axis=1)
    points, weights = points[inside], weights[inside]
    low = points.astype(np.intp)
    part = points - low
    cell = low[:, 1] * size + low[:, 0]
    right, down = part[:, 0], part[:, 1]
    shares = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down]
    cells = np.concatenate([cell, cell + 1, cell + size, cell + size + 1])
    total = np.bincount(cells, np.concatenate([weights * s for s in shares]), size * size)
    image += total.reshape(size, size).astype(np.float32)


def render(
    rng: np.random.Generator,
    still: Image,
    layers: list[Layer],
    wall: Wall,
    pose: Pose,
    scanner: Scanner,
) -> NDArray[np.uint16]:
    """Give the cine (F, size, size): the moving layers over the still picture, as scanned."""
    frames, size = wall.phase.size, pose.size
    outlines = [pose.to_pixels(pose.to_scanner(layer.outline)) for layer in layers]
    values = [np.broadcast_to(layer.value, (frames,)) for layer in layers]
    specks, weights = _speckle(rng, wall, pose)
    mottle = _grain(rng, pose, 6.0, rng.uniform(0.02, 0.08))
    mottle += _grain(rng, pose, 2.0, rng.uniform(0.01, 0.05))
    grain = _grain(rng, pose, 2.0, 1.0)
    drift = rng.uniform(-60.0, 60.0, 2) / pose.spacing_mm
    cine = np.empty((frames, size, size), np.uint16)
    for frame in range(frames):
        image = still.copy()
        shift = np.rint(drift * np.sin(2.0 * np.pi * wall.phase[frame])).astype(int)
        spots = np.roll(mottle, (int(shift[0]), int(shift[1])), axis=(0, 1))
        for layer, outline, value in zip(layers, outlines, values, strict=True):
            paint(image, outline[frame], float(value[frame]), layer, spots, grain)
        _add_specks(image, specks[frame], weights)
        cine[frame] = _scan(rng, image, scanner)
    return cine


def _scan(rng: np.random.Generator, image: Image, scanner: Scanner) -> NDArray[np.uint16]:
    size = image.shape[0]
    signal = np.empty((size, size), np.complex64)
    noise = rng.standard_normal((2, size, size), np.float32) * np.float32(scanner.noise)
    signal.real = image * scanner.shading + noise[0]
    signal.imag = noise[1]
    space = scipy.fft.fft2(signal, overwrite_x=True)
    space *= scanner.window
    if scanner.ghost > 0.0:
        line = np.arange(size) * (2.0 * np.pi / scanner.ghost_period) + rng.uniform(0.0, 2 * np.pi)
        wrong = (1.0 + 2.0 * scanner.ghost * np.cos(line)).astype(np.float32)
        space *= wrong[:, None] if scanner.phase_axis == 0 else wrong[None, :]
    picture = np.abs(scipy.fft.ifft2(space, overwrite_x=True))
    return np.rint(np.minimum((picture + scanner.offset) * scanner.gain, 65535.0)).astype(np.uint16)
