"""Dense evidence: an encoder and a light decoder say of every pixel what it shows.

The encoder is a ResNet, or the contracting path of a U-Net that begins at blocks of 2×2 pixels.
The decoder is a U-Net's: widened step by step, each time joined with the encoder's features of that
size. It stops at half the image's resolution, which is as fine as a wall of some ten pixels needs;
the maps are interpolated from there.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jssm.networks.layers import BatchNorm, blocks
from jssm.networks.resnet import ResNet
from jssm.networks.unet import UpConvolution, contracted, convolutions, pad_to_multiple

FEATURE_STRIDE = 2  # pixels of the image per pixel of the features
LANDMARK_STRIDE = 4  # and of the landmarks' maps
CLASSES = ("background", "wall", "cavity")
LANDMARKS = 3
LEVELS = 3  # of the U-Net's contracting path, before its bottom at a stride of 16
COARSEST = 32  # the ResNet's last stride


class Maps(NamedTuple):
    """What N images (H, W) show, everywhere.

    features: (N, H/2, W/2, F). classes: (N, H, W, 3), logits of :data:`CLASSES`. landmarks:
    (N, H/4, W/4, 3), logits for :mod:`jssm.networks.heatmaps`. Halves and quarters are rounded up.
    """

    features: jax.Array
    classes: jax.Array
    landmarks: jax.Array


class Dense(nn.Module):
    """Images (N, H, W, 1) to :class:`Maps`.

    depth, width: of the :class:`jssm.networks.resnet.ResNet`; F is its width. encoder: "resnet",
    or "unet" for the contracting path of a U-Net, which knows no depth. dtype: what the
    convolutions compute in. axis_name: the pmap axis over which batch statistics are averaged in
    training.
    """

    depth: int = 18
    width: int = 32
    dtype: Any = jnp.float32
    axis_name: str | None = None
    encoder: str = "resnet"

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Maps:
        """The maps; ``train`` selects batch over running statistics."""
        height, width = images.shape[1:3]
        padded = pad_to_multiple(images, COARSEST)
        norm = partial(BatchNorm, train, self.dtype, self.axis_name)
        *skips, x = self._encoded(padded, norm, train=train)
        levels = []
        for level, skip in reversed(list(enumerate(skips))):
            channels = skip.shape[-1]
            x = UpConvolution(channels, self.dtype, name=f"widen_{level}")(x)
            x = jnp.concatenate([skip, x], axis=-1)
            x = convolutions(x, channels, f"up_{level}", norm)
            levels.append(x)
        *_, coarse, fine = levels
        classes = nn.Conv(len(CLASSES), (1, 1), name="classes")(fine.astype(jnp.float32))
        classes = jax.image.resize(classes, (*padded.shape[:3], len(CLASSES)), "linear")
        coarse = convolutions(coarse, self.width, "to_landmarks", norm, count=1)
        landmarks = nn.Conv(LANDMARKS, (1, 1), name="landmarks")(coarse.astype(jnp.float32))
        return Maps(
            fine[:, : -(-height // FEATURE_STRIDE), : -(-width // FEATURE_STRIDE)],
            classes[:, :height, :width],
            landmarks[:, : -(-height // LANDMARK_STRIDE), : -(-width // LANDMARK_STRIDE)],
        )

    def _encoded(
        self, images: jax.Array, norm: Callable[..., BatchNorm], *, train: bool
    ) -> list[jax.Array]:
        """Features at half the resolution, at a quarter, and on."""
        if self.encoder == "unet":
            return contracted(blocks(images, FEATURE_STRIDE), self.width, LEVELS, norm)
        resnet = ResNet(self.depth, self.width, self.dtype, self.axis_name, name="backbone")
        return resnet(images, train=train)


def to_image(places: jax.Array, stride: int) -> jax.Array:
    """Places (..., 2) of a map with one pixel per ``stride``, in the image's pixels."""
    return stride * places + (stride - 1) / 2


def to_map(points: jax.Array, stride: int) -> jax.Array:
    """Points (..., 2) of an image in the pixels of a map with one pixel per ``stride``."""
    return (points - (stride - 1) / 2) / stride
