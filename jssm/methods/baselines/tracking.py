"""Tracking (Qin et al., "Joint learning of motion estimation and segmentation for cardiac MR image
sequences", 2018): one encoder serves a branch that segments each frame, and a Siamese branch with a
recurrent unit over time that gives the flow from the first frame of a clip to each other.

The encoder is VGG16's 13 convolutions, halved by strides. Each branch takes the last features of
all five levels (those of the first and of a later frame together, where it estimates motion)
through a 3×3 convolution to ``model.width`` channels, widens them bilinearly to full size and
combines them by 1×1 convolutions. The flow, in half image widths, is the state of the recurrent
unit, tanh(W·features + U·state + b) at each pixel. The loss is the mean squared difference between
the first frame and the others brought back by the flow, plus 0.001 times the flow's smoothness,
plus 0.01 times the cross-entropy of the segmentation (weights and network are those of the authors'
program). The paper leaves open, or we chose:

- clips: ``baseline.clip_frames`` = 4 successive frames, all with their labels, from a random one;
- what is brought back: the grey values in 0 to 1, with the margin repeated outside;
- smoothness: √(0.01 + Σ squared differences of neighbouring pixels), one root for each field, whose
  mean counts; the authors' program takes one root for a whole batch;
- the flow begins near 0: W and U are small at first;
- all parts are trained at once, not in turn, and without comparing the segmentation that the flow
  carries, which is meant for frames that have no label.

A segmentation carries no points; :func:`carry` moves points of the first frame along.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.ndimage import map_coordinates

from jssm.config import Config
from jssm.methods import losses
from jssm.methods.baselines import segmenter
from jssm.methods.baselines.convolutions import Convolutions
from jssm.methods.method import AXIS, Method
from jssm.networks.unet import pad_to_multiple
from jssm.shape import labels

LEVELS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))  # VGG16: convolutions, and widths of the first
SMOOTHNESS = 0.001  # what the flow's smoothness weighs ...
SEGMENTATION = 0.01  # ... and the segmentation
EPSILON = 0.01  # under the root of the smoothness


class Tracked(NamedTuple):
    """Of clips (N, F, H, W): the wall's logits (N, F, H, W), and the displacement (N, F, H, W, 2)
    px (x, y) of every pixel of the first frame; that to the first frame itself is 0."""

    logits: jax.Array
    displacement: jax.Array


class Encoder(nn.Module):
    """Images (N, H, W, 1) to the last features of each level, the l-th (N, H / 2^l, W / 2^l, C)."""

    width: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
        """The features of all levels."""
        features = []
        for level, (count, widths) in enumerate(LEVELS):
            block = Convolutions(
                self.width * widths,
                count,
                stride=2 if level else 1,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )
            x = block(x, train=train)
            features.append(x)
        return features


class Head(nn.Module):
    """The features of all levels to maps (N, H, W, channels) float32 of full size.

    The published 1×1 convolution of the widened features, side by side, is done as a sum of 1×1
    convolutions before they are widened: the same function, for a fraction of the work.
    """

    channels: int
    width: int
    dtype: Any
    axis_name: str | None
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, features: list[jax.Array], *, train: bool) -> jax.Array:
        """The maps, without a last activation."""
        block = partial(Convolutions, dtype=self.dtype, axis_name=self.axis_name)
        total: Any = 0
        for level, x in enumerate(features):
            x = block(self.width, 1)(x, train=train)
            x = nn.Conv(self.width, (1, 1), use_bias=level == 0, dtype=self.dtype)(x)
            total += jax.image.resize(
                x, (x.shape[0], *features[0].shape[1:3], self.width), "linear"
            )
        x = block(self.width, 1, 1)(total, train=train)
        return nn.Conv(self.channels, (1, 1), kernel_init=self.kernel_init)(x.astype(jnp.float32))


class Tracker(nn.Module):
    """The network of both branches.

    width: channels of the first level and of the branches, 64 in the original. dtype, axis_name: of
    each :class:`jssm.methods.baselines.convolutions.Convolutions`.
    """

    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """The encoder, the two branches and the recurrent weights U (2, 2)."""
        small = nn.initializers.normal(1e-3)
        self.encoder = Encoder(self.width, self.dtype, self.axis_name)
        self.wall = Head(1, self.width, self.dtype, self.axis_name)
        self.motion = Head(2, self.width, self.dtype, self.axis_name, small)
        self.recurrent = self.param("recurrent", small, (2, 2))

    def __call__(self, clips: jax.Array, *, train: bool) -> Tracked:
        """Wall and motion of normalized clips (N, F, H, W) of two frames or more."""
        count, frames, height, width = clips.shape
        features = self._encode(clips.reshape(-1, height, width, 1), train)
        logits = self.wall(features, train=train)[:, :height, :width, 0]
        inputs = self.motion([_pairs(level, frames) for level in features], train=train)
        inputs = inputs[:, :height, :width].reshape(count, frames - 1, height, width, 2)
        shift = unroll(self.recurrent, inputs) * jnp.array([width / 2, height / 2])
        displacement = jnp.concatenate([jnp.zeros_like(shift[:, :1]), shift], axis=1)
        return Tracked(logits.reshape(clips.shape), displacement)

    def segment(self, images: jax.Array) -> jax.Array:
        """The wall's logits (N, H, W) in normalized images (N, H, W, 1)."""
        height, width = images.shape[1:3]
        return self.wall(self._encode(images, False), train=False)[:, :height, :width, 0]

    def _encode(self, images: jax.Array, train: bool) -> list[jax.Array]:
        padded = pad_to_multiple(images.astype(self.dtype), 2 ** (len(LEVELS) - 1))
        return self.encoder(padded, train=train)


def _pairs(features: jax.Array, frames: int) -> jax.Array:
    """Features (N·F, h, w, C) of clips of F frames: those of each frame but the first beside those
    of the first, (N·(F − 1), h, w, 2C)."""
    clips = features.reshape(-1, frames, *features.shape[1:])
    later = clips[:, 1:]
    pairs = jnp.concatenate([later, jnp.broadcast_to(clips[:, :1], later.shape)], axis=-1)
    return pairs.reshape(-1, *pairs.shape[2:])


def unroll(recurrent: jax.Array, inputs: jax.Array) -> jax.Array:
    """The states (N, F, H, W, 2) of the recurrent unit: tanh(input + U·state before), from 0.

    recurrent: U (2, 2). inputs: (N, F, H, W, 2).
    """

    def step(state: jax.Array, given: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.tanh(given + state @ recurrent.T)
        return state, state

    in_time = jnp.moveaxis(inputs, 1, 0)
    _, states = jax.lax.scan(step, jnp.zeros_like(in_time[0]), in_time)
    return jnp.moveaxis(states, 0, 1)


def bring_back(image: jax.Array, displacement: jax.Array) -> jax.Array:
    """The image (H, W) that shows at p what ``image`` shows at p + displacement(p), bilinearly.

    displacement: (H, W, 2) px (x, y). Outside, the margin is repeated.
    """
    rows, columns = jnp.mgrid[: image.shape[0], : image.shape[1]].astype(jnp.float32)
    place = [rows + displacement[..., 1], columns + displacement[..., 0]]
    return map_coordinates(image, place, order=1, mode="nearest")


def warping_loss(clip: jax.Array, displacement: jax.Array) -> jax.Array:
    """The mean squared difference of the first frame of a clip (F, H, W) and the others brought
    back by the displacement (F, H, W, 2) px."""
    return jnp.mean((jax.vmap(bring_back)(clip[1:], displacement[1:]) - clip[0]) ** 2)


def smoothness_loss(displacement: jax.Array) -> jax.Array:
    """√(ε + Σ squared differences of neighbouring pixels) of a displacement (H, W, 2) px, in half
    image widths: an approximation of Huber's loss. It hardly depends on the size of the image."""
    shift = displacement / (jnp.array(displacement.shape[1::-1]) / 2)
    squares = jnp.sum(jnp.diff(shift, axis=0) ** 2) + jnp.sum(jnp.diff(shift, axis=1) ** 2)
    return jnp.sqrt(EPSILON + squares)


def carry(points: jax.Array, displacement: jax.Array) -> jax.Array:
    """Where points (T, 2) of the first frame lie in each frame: (F, T, 2) px.

    displacement: (F, H, W, 2) px of every pixel of the first frame, read at the points bilinearly;
    outside the image as at its margin.
    """
    x, y = points.T
    read = partial(map_coordinates, coordinates=[y, x], order=1, mode="nearest")
    over_frames = jax.vmap(read)
    return points + jnp.stack([over_frames(displacement[..., axis]) for axis in (0, 1)], axis=-1)


def network_from(config: Config) -> Tracker:
    """The network of these settings, with ``model.width`` channels on the first level."""
    return Tracker(config.model.width, segmenter.dtype_of(config.model))


def method(config: Config, constants: dict[str, Any]) -> Method:
    """The three functions, and the flow; there are no constants.

    All clips teach the flow, and the labels that cover the wall the segmentation.
    """
    network, size, frames = network_from(config), config.model.size, config.baseline.clip_frames
    training = network.clone(axis_name=AXIS)

    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, 2, size, size)), train=False)

    def loss(variables: Any, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Any]:
        clips = _clips(batch["image"], frames)
        given = _clips(segmenter.inputs(batch["image"])[..., 0], frames)
        found, changed = training.apply(variables, given, train=True, mutable=["batch_stats"])
        warping = jnp.mean(jax.vmap(warping_loss)(clips, found.displacement))
        fields = found.displacement[:, 1:].reshape(-1, *clips.shape[2:], 2)
        smoothness = jnp.mean(jax.vmap(smoothness_loss)(fields))
        logits = found.logits.reshape(batch["mask"].shape)
        each = jax.vmap(segmenter.cross_entropy)(logits, batch["mask"])
        wall = losses.mean_over(each, batch["covers"] == labels.MYOCARDIUM, AXIS)
        total = warping + SMOOTHNESS * smoothness + SEGMENTATION * wall
        metrics = {
            "loss": total,
            "warping_loss": warping,
            "smoothness_loss": smoothness,
            "segmentation_loss": wall,
        }
        return total, (metrics, changed["batch_stats"])

    def predict(variables: Any, images: jax.Array) -> segmenter.Segmentation:
        inputs = segmenter.inputs(images)
        logits: Any = network.apply(variables, inputs, method="segment")
        return segmenter.Segmentation(segmenter.masks_of_logits(logits))

    def flow(variables: Any, cine: jax.Array) -> jax.Array:
        if len(cine) == 1:
            return jnp.zeros((*cine.shape, 2))
        given = segmenter.inputs(cine)[None, ..., 0]
        tracked: Any = network.apply(variables, given, train=False)
        return tracked.displacement[0]

    return Method(init, loss, predict, learns_points=False, clip=frames, flow=flow)


def _clips(images: jax.Array, frames: int) -> jax.Array:
    """Images (N, H, W) as clips (N / frames, frames, H, W)."""
    return images.reshape(-1, frames, *images.shape[1:])
