"""A trained model over whole cines: fixed batches, and few compiled programs held at a time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from jssm import files
from jssm.cines.motion import Motion, measure_motion, smooth_points
from jssm.image_path import grey_window
from jssm.methods.model import Model, Prediction, predict
from jssm.rasterizer import rasterize_whole
from jssm.shape import affine
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.masks import binarize
from jssm.shape.shape_model import ShapeModel

# A program is compiled per image size and per number of frames. No more than these are held, the
# latest used, so that a folder in which every cine has another size needs no more memory than one
# of a few sizes.
MOST_PROGRAMS = 16


@dataclass(frozen=True)
class Segmented:
    """Of one cine, as NumPy arrays: points (F, T, 2) px, mask (F, H, W) bool, integrity of each
    frame, and motion (None for one frame)."""

    points: np.ndarray
    mask: np.ndarray
    integrity: Integrity
    motion: Motion | None


@dataclass
class Segmenter:
    """Segments cines with one model.

    batch_size: frames at a time. harmonics: of the heart cycle that θ and β keep (see
    ``jssm.smooth_points``); 0 for all. whole_cycle: the last frame is followed by the first.
    compile_s: seconds spent on compiling so far.
    """

    model: Model
    batch_size: int
    harmonics: int = 0
    whole_cycle: bool = True
    compile_s: float = 0.0
    _programs: dict[Any, Callable] = field(default_factory=dict)

    def __call__(self, cine: files.Cine) -> Segmented:
        """Segment the frames of one cine and measure their motion.

        Raises:
          BadInput: when the result is not finite.
        """
        ratio = affine.aspect_of(cine.spacing_mm)
        aspect = None if ratio == 1 else np.float32(ratio)
        window = grey_window(cine.frames).astype(np.float32)
        points, mask, theta, beta = self._by_batches(
            lambda images: self._run(_look, self.model, images, aspect, window), cine.frames
        )
        if not np.isfinite(points).all():
            raise files.BadInput(f"{cine.name}: the network's result is not finite")
        if self.harmonics and len(points) > 1:
            points, mask = self._smoothed(theta, beta, image_shape=mask.shape[1:])
        certificate = self._by_batches(partial(self._run, _certify), points)
        motion = None if len(points) < 2 else self._measured(points, cine)
        return Segmented(points, mask, certificate, motion)

    def _smoothed(
        self, theta: np.ndarray, beta: np.ndarray, *, image_shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points and mask of all frames, of their poses smoothed over the cycle."""
        smooth = partial(self._run, _smooth, harmonics=self.harmonics)
        points = np.asarray(smooth(self.model.shape, theta, beta))
        render = partial(self._run, _render, image_shape=image_shape, tau=self.model.tau)
        return points, self._by_batches(render, points)

    def _measured(self, points: np.ndarray, cine: files.Cine) -> Motion:
        spacing_mm = np.array(cine.spacing_mm, np.float32)
        frame_time_s = np.float32(files.frame_time_s(cine))
        measure = partial(self._run, _measure, periodic=self.whole_cycle)
        return jax.tree.map(np.asarray, measure(points, spacing_mm, frame_time_s))

    def _by_batches(self, function: Callable, items: np.ndarray) -> Any:
        """``function`` of all items, batch by batch, as NumPy arrays."""
        found = [function(batch) for batch in self._batches(items)]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(items)], *found)

    def _batches(self, items: np.ndarray) -> Iterator[np.ndarray]:
        """Float32 batches of one length; the last is filled with its last item. A single item
        is a batch of one."""
        size = self.batch_size if len(items) > 1 else 1
        for start in range(0, len(items), size):
            batch = items[start : start + size].astype(np.float32)
            yield np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1), mode="edge")

    def _run(self, function: Callable, *args: Any, **static: Any) -> Any:
        """``function(*args, **static)``, compiled once per shape of the arguments."""
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(args))
        key = (function, shapes, tuple(static.items()))
        program = self._programs.pop(key, None)
        if program is None:
            began = time.perf_counter()
            program = jax.jit(partial(function, **static)).lower(*args).compile()
            self.compile_s += time.perf_counter() - began
        self._programs[key] = program  # at the end: the first is the one not used for longest
        if len(self._programs) > MOST_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return program(*args)


def _look(
    model: Model, images: jax.Array, aspect: jax.Array | None, window: jax.Array
) -> tuple[jax.Array, ...]:
    found: Prediction = predict(model, images, aspect=aspect, window=window)
    return found.points, binarize(found.mask), found.theta, found.beta


def _smooth(shape: ShapeModel, theta: jax.Array, beta: jax.Array, *, harmonics: int) -> jax.Array:
    return smooth_points(shape, theta, beta, harmonics=harmonics)


def _render(points: jax.Array, *, image_shape: tuple[int, int], tau: float) -> jax.Array:
    return binarize(jax.vmap(lambda p: rasterize_whole(p, image_shape, tau=tau))(points))


def _certify(points: jax.Array) -> Integrity:
    return jax.vmap(integrity)(points)


def _measure(
    points: jax.Array, spacing_mm: jax.Array, frame_time_s: jax.Array, *, periodic: bool
) -> Motion:
    return measure_motion(
        points, spacing_mm=spacing_mm, frame_time_s=frame_time_s, periodic=periodic
    )
