"""A trained model over whole cines: in fixed batches, and few programs whatever their sizes.

The network sees every frame at its own size, so it is compiled once. What is drawn is drawn on the
image's size rounded up, and what is measured on the number of frames rounded up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jssm import files, image_path
from jssm.cines import rings
from jssm.cines.cycle import fit_cycle
from jssm.cines.deviations import drawn
from jssm.cines.measures import Motion, Poses, RingMotion, Segmented, without_measures
from jssm.cines.motion import measure_first
from jssm.cines.options import HARMONICS
from jssm.cines.programs import Programs
from jssm.methods.model import Model, confidence_of, pose_of
from jssm.rasterizer import rasterize_whole
from jssm.shape import affine
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.masks import binarize
from jssm.shape.pose import Pose
from jssm.shape.shape_model import ShapeModel
from jssm.shape.uncertainty import deviations, spread_of

ROUND_PX = 64  # one program draws the masks of all image sizes that round up to the same
ROUND_FRAMES = 16  # and measures cines of all lengths that do


@dataclass
class Segmenter:
    """Segments cines with one model.

    batch_size: frames at a time. harmonics: of the one fit for all frames (see
    :func:`jssm.cines.cycle.fit_cycle`); 0 to take each frame alone. whole_cycle: the last frame is
    followed by the first.
    least_confidence: frames below it are refused; None for what the model has learned.
    """

    model: Model
    batch_size: int
    harmonics: int = HARMONICS
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
        seen, spread, confidence = self._by_batches(_look, images, self.model, to_square)
        if not np.isfinite(seen).all():
            raise files.BadInput(f"{cine.name}: the network's result is not finite")
        used = ~is_blank(cine.frames) & ~(confidence < self.least)
        theta, beta = self._together(seen, used)
        shape = jax.tree.map(np.asarray, self.model.shape)
        poses = Poses(
            theta, beta, np.asarray(deviations(spread)), shape.mean, shape.modes, shape.variances,
            self.model.tau, shape.closed,
        )  # fmt: skip
        found = self.finish(cine, poses, confidence, used)
        return self._with_deviations(found, spread, cine)

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
        mask = self._by_batches(
            _draw, points, self.model.tau, image_shape=_drawn(cine), closed=poses.closed
        )
        certificate = self._by_batches(_certify, points, closed=poses.closed)
        motion = self._measured(points, used, cine) if is_cine else None
        mask = mask[:, :height, :width]
        found = Segmented(points, mask, certificate, motion, poses, confidence, used)
        return found if found.is_measurable else without_measures(found)

    def _together(self, seen: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ (F, 2, 3) and β (F, K) of all frames, each of which was seen as :func:`_look` says."""
        theta, beta = self.programs(_fit, *self._fittable(seen, used), **self._curve)
        return np.asarray(theta)[: len(seen)], np.asarray(beta)[: len(seen)]

    def _fittable(self, seen: np.ndarray, used: np.ndarray) -> tuple[Any, ...]:
        """The arguments of :func:`_fit`."""
        count = np.int32(len(seen))
        return _longer(seen), _longer(used, False), count, self.model.shape

    @property
    def _curve(self) -> dict[str, Any]:
        """The settings of the one fit."""
        return {"harmonics": self.harmonics, "periodic": self.whole_cycle}

    def _with_deviations(self, found: Segmented, spread: np.ndarray, cine: files.Cine) -> Segmented:
        """The same with the deviations of what was measured, where the model tells any."""
        if found.motion is None or not found.is_measurable or not np.isfinite(spread).all():
            return found
        could_be = drawn(found.points, spread)
        motions = [self._measured_of_all(points, found.used, cine) for points in could_be]
        told = jax.tree.map(lambda *values: np.std(values, axis=0), *motions)
        told = replace(
            _first(told, len(spread)),
            ed_frame=found.motion.ed_frame,
            es_frame=found.motion.es_frame,
        )
        return replace(found, deviations=told)

    def _begin(self, cine: files.Cine) -> None:
        """Have all programs compiled, while the first works."""
        model, begin = self.model, self.programs.begin
        batch, points = self.batch_size, (model.shape.num_points, 2)
        square = (model.size, model.size)
        begin(_look, _like(batch, *square), model, _like(2, 3))
        closed = model.shape.closed
        begin(_draw, _like(batch, *points), model.tau, image_shape=_drawn(cine), closed=closed)
        begin(_place, _like(batch, 6 + model.shape.num_modes), model.shape)
        begin(_certify, _like(batch, *points), closed=closed)
        count = len(cine.frames)
        used = np.ones(count, bool)
        seen = np.zeros((count, 6 + model.shape.num_modes), np.float32)
        begin(_fit, *self._fittable(seen, used), **self._curve)
        if count > 1:
            padded = self._measurable(np.zeros((count, *points)), used, cine)
            begin(_measure, *padded, periodic=self.whole_cycle, closed=closed)

    def _measured(self, points: np.ndarray, used: np.ndarray, cine: files.Cine) -> Any:
        return _first(self._measured_of_all(points, used, cine), len(points))

    def _measured_of_all(self, points: np.ndarray, used: np.ndarray, cine: files.Cine) -> Any:
        """What :func:`_measure` gives, of the frames after the last too."""
        args, closed = self._measurable(points, used, cine), self.model.shape.closed
        return self.programs(_measure, *args, periodic=self.whole_cycle, closed=closed)

    def _measurable(
        self, points: np.ndarray, used: np.ndarray, cine: files.Cine
    ) -> tuple[Any, ...]:
        """The arguments of :func:`_measure`: with frames that are not used after the last."""
        return (
            _longer(points).astype(np.float32),
            np.int32(len(points)),
            _longer(used, False),
            np.array(cine.spacing_mm, np.float32),
            np.float32(files.frame_time_s(cine)),
            _longer(cine.from_trigger_s, np.nan).astype(np.float32),
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


def _longer(values: np.ndarray, more: Any = None) -> np.ndarray:
    """Values (F, ...) of as many frames as F is rounded up to; the others have the value ``more``,
    by default the last frame's."""
    last = values[-1:] if more is None else np.full_like(values[-1:], more)
    return np.concatenate([values, last.repeat(-len(values) % ROUND_FRAMES, axis=0)])


def _first(found: Any, count: int) -> Any:
    """What was measured of the first ``count`` frames, as NumPy arrays."""
    length = _rounded_up(count, ROUND_FRAMES)

    def known(values: jax.Array) -> np.ndarray:
        array = np.asarray(values)
        return array[:count] if array.shape[:1] == (length,) else array

    return jax.tree.map(known, found)


def _look(
    images: jax.Array, model: Model, to_square: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The poses (N, 6 + K), θ by rows and latent, the spread of the points (N, T, 2, Q), in the
    cine's pixels, NaN where the model does not tell, and the confidence (N,)."""
    pose = pose_of(model, images)
    sure = confidence_of(model, pose)
    pose = pose._replace(theta=affine.compose(affine.invert(to_square), pose.theta))
    seen = jnp.concatenate([pose.theta.reshape(-1, 6), pose.latent], axis=1)
    if pose.factor is None:
        return seen, jnp.full((len(images), model.shape.num_points, 2, 1), jnp.nan), sure
    spread = jax.vmap(spread_of, (None, 0))(model.shape, pose)
    return seen, jnp.sqrt(model.temperature) * spread, sure


def _fit(
    seen: jax.Array,
    used: jax.Array,
    count: jax.Array,
    shape: ShapeModel,
    *,
    harmonics: int,
    periodic: bool,
) -> tuple[jax.Array, jax.Array]:
    """θ (N, 2, 3) and β (N, K) of one fit for all frames (N, 6 + K) that are used, the first
    ``count``; those of a frame that is not used stay as they are."""
    pose = Pose(seen[:, :6].reshape(-1, 2, 3), seen[:, 6:])
    if harmonics:
        together = fit_cycle(shape, pose, used, count=count, harmonics=harmonics, periodic=periodic)
        pose = jax.tree.map(partial(_where, used), together, pose)
    return pose.theta, shape.limits * jnp.tanh(pose.latent)


def _where(used: jax.Array, values: jax.Array, others: jax.Array) -> jax.Array:
    return jnp.where(used.reshape(-1, *[1] * (values.ndim - 1)), values, others)


def _place(poses: jax.Array, shape: ShapeModel) -> jax.Array:
    """The points (N, T, 2) of ``poses`` (N, 6 + K), θ by rows and β."""
    theta, beta = poses[:, :6].reshape(-1, 2, 3), poses[:, 6:]
    return affine.apply(theta, jax.vmap(shape.deform)(beta))


def _draw(
    points: jax.Array, tau: jax.Array, *, image_shape: tuple[int, int], closed: bool
) -> jax.Array:
    one = partial(rasterize_whole, shape=image_shape, tau=tau, closed=closed)
    return binarize(jax.vmap(one)(points))


def _certify(points: jax.Array, *, closed: bool) -> Integrity:
    return jax.vmap(partial(integrity, closed=closed))(points)


def _measure(
    points: jax.Array,
    count: jax.Array,
    used: jax.Array,
    spacing_mm: jax.Array,
    frame_time_s: jax.Array,
    from_trigger_s: jax.Array,
    aspect: jax.Array,
    *,
    periodic: bool,
    closed: bool,
) -> Motion | RingMotion:
    measure = rings.measure_first if closed else measure_first
    return measure(
        points, count, used, spacing_mm, frame_time_s, from_trigger_s, aspect, periodic=periodic
    )


def _like(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _drawn(cine: files.Cine) -> tuple[int, int]:
    height, width = cine.frames.shape[1:]
    return _rounded_up(height, ROUND_PX), _rounded_up(width, ROUND_PX)


def _rounded_up(number: int, to: int) -> int:
    return -(-number // to) * to
