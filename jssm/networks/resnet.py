"""ResNet18, 34 and 50 (He et al., "Deep Residual Learning for Image Recognition", 2016) in Linen.

A feature extractor alone: it knows nothing of shapes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jssm.networks.layers import BatchNorm, Conv, max_pool

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (ResNet18 and 34)."""

    features: int
    stride: int
    conv: Any
    norm: Any
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, H, W, C) to (N, H / stride, W / stride, features)."""
        y = self.conv(self.features, (3, 3), self.stride, padding=1)(x)
        y = nn.relu(self.norm()(y))
        y = self.conv(self.features, (3, 3), padding=1)(y)
        y = self.norm(scale_init=nn.initializers.zeros)(y)
        return nn.relu(y + _shortcut(x, y.shape[-1], self.stride, self.conv, self.norm))


class BottleneckBlock(nn.Module):
    """1×1, 3×3, 1×1 convolutions and a shortcut (ResNet50)."""

    features: int
    stride: int
    conv: Any
    norm: Any
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, H, W, C) to (N, H / stride, W / stride, 4 · features)."""
        y = nn.relu(self.norm()(self.conv(self.features, (1, 1))(x)))
        y = nn.relu(self.norm()(self.conv(self.features, (3, 3), self.stride, padding=1)(y)))
        y = self.conv(self.features * self.expansion, (1, 1))(y)
        y = self.norm(scale_init=nn.initializers.zeros)(y)
        return nn.relu(y + _shortcut(x, y.shape[-1], self.stride, self.conv, self.norm))


def _shortcut(x: jax.Array, features: int, stride: int, conv: Any, norm: Any) -> jax.Array:
    """The identity, or a strided 1×1 convolution where the shape changes (option B)."""
    if x.shape[-1] == features and stride == 1:
        return x
    return norm(name="shortcut_norm")(conv(features, (1, 1), stride, name="shortcut")(x))


class ResNet(nn.Module):
    """The convolutional part of a ResNet: (N, H, W, C) images to the features of its five stages.

    depth: 18, 34 or 50. width: channels of the first stage, 64 in the paper of ResNet.
    dtype: what the convolutions compute in; parameters are float32 always.
    axis_name: the pmap axis over which batch statistics are averaged in training.
    """

    depth: int = 34
    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
        """Features (N, H/2, W/2, F), then H/4, H/8, H/16 and H/32 (rounded up).

        ``train`` selects batch over running statistics.
        """
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        conv = partial(Conv, dtype=self.dtype, kernel_init=init)
        norm = partial(BatchNorm, train, self.dtype, self.axis_name)
        x = conv(self.width, (7, 7), 2, padding=3, name="stem")(x.astype(self.dtype))
        stages = [nn.relu(norm(name="stem_norm")(x))]
        x = max_pool(stages[0])
        block = BottleneckBlock if self.depth == 50 else BasicBlock
        for stage, blocks in enumerate(STAGES[self.depth]):
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = block(self.width * 2**stage, stride, conv, norm)(x)
            stages.append(x)
        return stages
