"""A trained model over whole cines: in fixed batches, and few programs whatever their sizes.

The network sees every frame at its own size, so it is compiled once. What is drawn is drawn on the
image's size rounded up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jssm import files, image_path
from jssm.cines.measures import Motion, Poses, Segmented, without_measures
from jssm.cines.motion import measure_motion, smooth_poses
from jssm.methods.model import Model, confidence_of, pose_of
from jssm.rasterizer import rasterize_whole
from jssm.shape import affine
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.masks import binarize
from jssm.shape.pose import decode
from jssm.shape.shape_model import ShapeModel
from jssm.shape.uncertainty import deviations, spread_of

ROUND_PX = 64  # one program draws the masks of all image sizes that round up to the same
MOST_PROGRAMS = 16  # that are held, those used last


@dataclass
class Segmenter:
    """Segments cines with one model.

    batch_size: frames at a time. harmonics: of the heart cycle that θ and β keep (see
    ``jssm.smooth_points``); 0 for all. whole_cycle: the last frame is followed by the first.
    least_confidence: frames below it are refused; None for what the model has learned.
    compile_s: seconds spent on compiling so far.
    """

    model: Model
    batch_size: int
    harmonics: int = 0
    whole_cycle: bool = True
    least_confidence: float | None = None
    compile_s: float = 0.0
    _programs: dict[Any, Callable] = field(default_factory=dict)

    def __call__(self, cine: files.Cine) -> Segmented:
        """Segment the frames of one cine and measure their motion.

        Frames of one grey value show nothing, and are refused too.

        Raises:
          BadInput: when the result is not finite.
        """
        images, to_square = _squares(cine, self.model.size)
        theta, beta, deviation_px, confidence = self._by_batches(
            _look, images, self.model, to_square
        )
        if not np.isfinite(theta).all() or not np.isfinite(beta).all():
            raise files.BadInput(f"{cine.name}: the network's result is not finite")
        used = ~is_blank(cine.frames) & ~(confidence < self.least)
        if self.harmonics and len(theta) > 1 and used.any():
            theta, beta = self._smoothed(theta, beta, used)
        shape = jax.tree.map(np.asarray, self.model.shape)
        poses = Poses(
            np.asarray(theta), np.asarray(beta), deviation_px, shape.mean, shape.modes,
            shape.variances, self.model.tau,
        )  # fmt: skip
        return self.finish(cine, poses, confidence, used)

    @property
    def least(self) -> float:
        """The confidence below which a frame is refused; 0 where the model does not tell."""
        if self.least_confidence is not None:
            return self.least_confidence
        learned = self.model.confidence
        return 0.0 if learned is None else float(learned.least)

    def finish(
        self, cine: files.Cine, poses: Poses, confidence: np.ndarray, used: np.ndarray
    ) -> Segmented:
        """All that follows from the poses of a cine's frames; the network has no part in it.

        confidence, used: as in :class:`Segmented`.
        """
        packed = np.concatenate([poses.theta.reshape(-1, 6), poses.beta], axis=1)
        points = self._by_batches(_place, packed, self.model.shape)
        is_cine = len(points) > 1
        height, width = cine.frames.shape[1:]
        drawn = (_rounded_up(height), _rounded_up(width))
        mask = self._by_batches(_draw, points, self.model.tau, image_shape=drawn)
        certificate = self._by_batches(_certify, points)
        motion = self._measured(points, used, cine) if is_cine else None
        mask = mask[:, :height, :width]
        found = Segmented(points, mask, certificate, motion, poses, confidence, used)
        return found if found.is_measurable else without_measures(found)

    def _smoothed(
        self, theta: np.ndarray, beta: np.ndarray, used: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """θ and β over time; a frame that is not used stays as it is and moves no other."""
        bridged = (across_gaps(values, used) for values in (theta, beta))
        placed, bent = self._run(smooth_poses, self.model.shape, *bridged, harmonics=self.harmonics)
        return (
            np.where(used[:, None, None], placed, theta),
            np.where(used[:, None], bent, beta),
        )

    def _measured(self, points: np.ndarray, used: np.ndarray, cine: files.Cine) -> Motion:
        spacing_mm = np.array(cine.spacing_mm, np.float32)
        frame_time_s = np.float32(files.frame_time_s(cine))
        aspect = np.float32(cine.aspect)
        found = self._run(
            _measure, points, used, spacing_mm, frame_time_s, aspect, periodic=self.whole_cycle
        )
        return jax.tree.map(np.asarray, found)

    def _by_batches(
        self, function: Callable, items: np.ndarray, *others: Any, **static: Any
    ) -> Any:
        """``function(batch, *others, **static)`` over all items, as NumPy arrays.

        The batches have one length; the last is filled with its last item. A single item is a batch
        of one.
        """
        size = self.batch_size if len(items) > 1 else 1
        whole = np.concatenate([items, items[-1:].repeat(-len(items) % size, axis=0)])
        batches = whole.reshape(-1, size, *items.shape[1:])
        found = [self._run(function, batch, *others, **static) for batch in batches]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(items)], *found)

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


def _squares(cine: files.Cine, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames as the network takes them, (F, size, size), and the map (2, 3) of pixels there."""
    frames = np.where(np.isfinite(cine.frames), cine.frames, 0)
    aspect, window = cine.aspect, image_path.grey_window(frames)
    images = [
        image_path.fit(image_path.in_window(frame, window), size, aspect=aspect) for frame in frames
    ]
    to_square = affine.letterbox(frames.shape[1:], (size, size), aspect=aspect)
    return np.stack(images), np.asarray(to_square, np.float32)


def is_blank(frames: np.ndarray) -> np.ndarray:
    """Which frames (F,), of (F, H, W), have one grey value everywhere."""
    flat = frames.reshape(len(frames), -1)
    return flat.min(axis=1) == flat.max(axis=1)


def across_gaps(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Values (F, ...) of a periodic cine, with those that are not ``used`` (F,), of which there are
    some, on the straight line between their neighbours in time."""
    frames, columns = np.arange(len(values)), values.reshape(len(values), -1).T
    bridged = [np.interp(frames, frames[used], c[used], period=len(values)) for c in columns]
    return np.stack(bridged, axis=1).reshape(values.shape).astype(values.dtype)


def _look(
    images: jax.Array, model: Model, to_square: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """θ (N, 2, 3), β (N, K), how far each point may be off (N, T), in the cine's pixels, and the
    confidence (N,)."""
    pose = pose_of(model, images)
    sure = confidence_of(model, pose)
    pose = pose._replace(theta=affine.compose(affine.invert(to_square), pose.theta))
    beta, _, _ = jax.vmap(decode, (None, 0))(model.shape, pose)
    if pose.factor is None:
        unknown = jnp.full((len(images), model.shape.num_points), jnp.nan)
        return pose.theta, beta, unknown, sure
    spread = jax.vmap(spread_of, (None, 0))(model.shape, pose)
    return pose.theta, beta, jnp.sqrt(model.temperature) * deviations(spread), sure


def _place(poses: jax.Array, shape: ShapeModel) -> jax.Array:
    """The points (N, T, 2) of ``poses`` (N, 6 + K), θ by rows and β."""
    theta, beta = poses[:, :6].reshape(-1, 2, 3), poses[:, 6:]
    return affine.apply(theta, jax.vmap(shape.deform)(beta))


def _draw(points: jax.Array, tau: jax.Array, *, image_shape: tuple[int, int]) -> jax.Array:
    return binarize(jax.vmap(lambda p: rasterize_whole(p, image_shape, tau=tau))(points))


def _certify(points: jax.Array) -> Integrity:
    return jax.vmap(integrity)(points)


def _measure(
    points: jax.Array,
    used: jax.Array,
    spacing_mm: jax.Array,
    frame_time_s: jax.Array,
    aspect: jax.Array,
    *,
    periodic: bool,
) -> Motion:
    return measure_motion(
        points,
        spacing_mm=(spacing_mm[0], spacing_mm[1]),
        frame_time_s=frame_time_s,
        used=used,
        aspect=aspect,
        periodic=periodic,
    )


def _rounded_up(pixels: int) -> int:
    return -(-pixels // ROUND_PX) * ROUND_PX
