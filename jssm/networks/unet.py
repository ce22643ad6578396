"""The U-Net (Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation",
2015) in Linen: images in, one map per output channel out.

'Same' convolutions, so the maps have the size of the images, and batch normalization after each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jssm.networks.layers import BatchNorm, Conv


class UNet(nn.Module):
    """(N, H, W, C) images to (N, H, W, channels) float32 maps, without a last activation.

    channels: number of maps. width: channels of the first level; each of the ``levels`` below has
    half the resolution and twice the channels (64, 128, 256, 512, 1024 in the original). dtype:
    what the convolutions compute in; parameters are float32 always. axis_name: the pmap axis over
    which batch statistics are averaged in training.
    """

    channels: int
    width: int = 64
    levels: int = 4
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The maps; ``train`` selects batch over running statistics.

        Any H and W: sides that 2^levels does not divide are padded by their last pixels inside.
        """
        height, width = images.shape[1:3]
        padded = pad_to_multiple(images.astype(self.dtype), 2**self.levels)
        norm = partial(BatchNorm, train, self.dtype, self.axis_name)
        *skips, x = contracted(padded, self.width, self.levels, norm)
        for level in reversed(range(self.levels)):
            x = UpConvolution(self.width * 2**level, self.dtype, name=f"widen_{level}")(x)
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = convolutions(x, self.width * 2**level, f"up_{level}", norm)
        maps = nn.Conv(self.channels, (1, 1), dtype=self.dtype, name="maps")(x)
        return maps[:, :height, :width].astype(jnp.float32)


def contracted(
    x: jax.Array, width: int, levels: int, norm: Callable[..., BatchNorm]
) -> list[jax.Array]:
    """The U-Net's contracting path, in the module that calls it: the features of each level, then
    those at the bottom.

    x: (N, H, W, C), whose sides 2^levels divides. Level k has width · 2^k channels and 2^-k of the
    resolution. norm: makes the normalizations, whose dtype the convolutions compute in.
    """
    stages = []
    for level in range(levels):
        x = convolutions(x, width * 2**level, f"down_{level}", norm)
        stages.append(x)
        x = halve(x)
    return [*stages, convolutions(x, width * 2**levels, "bottom", norm)]


def convolutions(
    x: jax.Array, features: int, name: str, norm: Callable[..., BatchNorm], count: int = 2
) -> jax.Array:
    """``count`` times a 3×3 convolution, normalized and rectified, in the module that calls it."""
    init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    for k in range(count):
        normalized = norm(name=f"{name}_norm_{k}")
        conv = Conv(
            features,
            (3, 3),
            padding=1,
            dtype=normalized.dtype,
            kernel_init=init,
            name=f"{name}_conv_{k}",
        )
        x = nn.relu(normalized(conv(x)))
    return x


class UpConvolution(nn.Module):
    """A 2×2 up-convolution of stride 2: (N, H, W, C) to (N, 2H, 2W, features).

    Its outputs do not overlap, so it is one matrix product per pixel, many times faster on a CPU
    than a transposed convolution.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The widened maps."""
        batch, height, width, _ = x.shape
        x = nn.Dense(4 * self.features, dtype=self.dtype)(x)
        x = x.reshape(batch, height, width, 2, 2, self.features).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, 2 * height, 2 * width, self.features)


def pad_to_multiple(images: jax.Array, step: int) -> jax.Array:
    """Images (N, H, W, C) padded by their last row and column until ``step`` divides both sides."""
    extra = [(0, -size % step) for size in images.shape[1:3]]
    return jnp.pad(images, ((0, 0), *extra, (0, 0)), mode="edge")


def halve(x: jax.Array) -> jax.Array:
    """2×2 maximum pooling, in pairs: the gradient is fast on a CPU and finite at ties."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
