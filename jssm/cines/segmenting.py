"""A trained model over whole cines: in fixed batches, and few programs whatever their sizes.

The network sees every frame at its own size, so it is compiled once. What is drawn is drawn on the
image's size rounded up, and what is measured on the number of frames rounded up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jssm import files, image_path
from jssm.cines.measures import Motion, Poses, Segmented, without_measures
from jssm.cines.motion import measure_first, smooth_poses
from jssm.cines.programs import Programs
from jssm.methods.model import Model, confidence_of, pose_of
from jssm.rasterizer import rasterize_whole
from jssm.shape import affine
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.masks import binarize
from jssm.shape.pose import decode
from jssm.shape.shape_model import ShapeModel
from jssm.shape.uncertainty import deviations, spread_of

ROUND_PX = 64  # one program draws the masks of all image sizes that round up to the same
ROUND_FRAMES = 16  # and measures cines of all lengths that do


@dataclass
class Segmenter:
    """Segments cines with one model.

    batch_size: frames at a time. harmonics: of the heart cycle that θ and β keep (see
    ``jssm.smooth_points``); 0 for all. whole_cycle: the last frame is followed by the first.
    least_confidence: frames below it are refused; None for what the model has learned.
    """

    model: Model
    batch_size: int
    harmonics: int = 0
    whole_cycle: bool = True
    least_confidence: float | None = None
    programs: Programs = field(default_factory=Programs)

    def __call__(self, cine: files.Cine) -> Segmented:
        """Segment the frames of one cine and measure their motion.

        Frames of one grey value show nothing, and are refused too.

        Raises:
          BadInput: when the result is not finite.
        """
        self._begin(cine)
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
        """The confidence below which a frame is refused."""
        told = self.least_confidence
        return float(self.model.least_confidence) if told is None else told

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
        mask = self._by_batches(_draw, points, self.model.tau, image_shape=_drawn(cine))
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
        placed, bent = self.programs(
            smooth_poses, self.model.shape, *bridged, harmonics=self.harmonics
        )
        return (
            np.where(used[:, None, None], placed, theta),
            np.where(used[:, None], bent, beta),
        )

    def _begin(self, cine: files.Cine) -> None:
        """Have all programs compiled, while the first works."""
        model, begin = self.model, self.programs.begin
        batch, points = self.batch_size, (model.shape.num_points, 2)
        square = (model.size, model.size)
        begin(_look, _like(batch, *square), model, _like(2, 3))
        begin(_draw, _like(batch, *points), model.tau, image_shape=_drawn(cine))
        begin(_place, _like(batch, 6 + model.shape.num_modes), model.shape)
        begin(_certify, _like(batch, *points))
        if len(cine.frames) > 1:
            padded = self._measurable(
                np.zeros((len(cine.frames), *points)), np.ones(len(cine.frames), bool), cine
            )
            begin(_measure, *padded, periodic=self.whole_cycle)

    def _measured(self, points: np.ndarray, used: np.ndarray, cine: files.Cine) -> Motion:
        args = self._measurable(points, used, cine)
        found = self.programs(_measure, *args, periodic=self.whole_cycle)

        def known(values: jax.Array) -> np.ndarray:
            array = np.asarray(values)
            return array[: len(points)] if array.shape[:1] == args[0].shape[:1] else array

        return jax.tree.map(known, found)

    def _measurable(
        self, points: np.ndarray, used: np.ndarray, cine: files.Cine
    ) -> tuple[Any, ...]:
        """The arguments of :func:`_measure`: with frames that are not used after the last."""
        count = len(points)
        more = -count % ROUND_FRAMES
        return (
            np.concatenate([points, points[-1:].repeat(more, axis=0)]).astype(np.float32),
            np.int32(count),
            np.concatenate([used, np.zeros(more, bool)]),
            np.array(cine.spacing_mm, np.float32),
            np.float32(files.frame_time_s(cine)),
            np.float32(cine.aspect),
        )

    def _by_batches(
        self, function: Callable, items: np.ndarray, *others: Any, **static: Any
    ) -> Any:
        """``function(batch, *others, **static)`` over all items, as NumPy arrays.

        The batches have one length; the last is filled with its last item.
        """
        size = self.batch_size
        whole = np.concatenate([items, items[-1:].repeat(-len(items) % size, axis=0)])
        batches = whole.reshape(-1, size, *items.shape[1:])
        found = [self.programs(function, batch, *others, **static) for batch in batches]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(items)], *found)


def _squares(cine: files.Cine, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames as the network takes them, (F, size, size), and the map (2, 3) of pixels there."""
    frames = np.where(np.isfinite(cine.frames), cine.frames, 0)
    aspect, window = cine.aspect, image_path.grey_window(frames)
    images = image_path.fit(image_path.in_window(frames, window), size, aspect=aspect)
    to_square = affine.letterbox(frames.shape[1:], (size, size), aspect=aspect)
    return images, np.asarray(to_square, np.float32)


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
    count: jax.Array,
    used: jax.Array,
    spacing_mm: jax.Array,
    frame_time_s: jax.Array,
    aspect: jax.Array,
    *,
    periodic: bool,
) -> Motion:
    return measure_first(points, count, used, spacing_mm, frame_time_s, aspect, periodic=periodic)


def _like(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _drawn(cine: files.Cine) -> tuple[int, int]:
    height, width = cine.frames.shape[1:]
    return _rounded_up(height, ROUND_PX), _rounded_up(width, ROUND_PX)


def _rounded_up(number: int, to: int) -> int:
    return -(-number // to) * to
