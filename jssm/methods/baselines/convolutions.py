"""Convolutions with batch normalization, as the baselines' encoders stack them."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jssm.networks.layers import BatchNorm


class Convolutions(nn.Module):
    """``count`` times a 'same' convolution, batch normalization and ReLU.

    (N, H, W, C) to (N, H / stride, W / stride, features). kernel: the side of the convolutions.
    stride: of the first one. dtype: what they compute in. axis_name: the pmap axis over which batch
    statistics are averaged in training.
    """

    features: int
    count: int
    kernel: int = 3
    stride: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """The features; ``train`` selects batch over running statistics."""
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        side = (self.kernel, self.kernel)
        for k in range(self.count):
            conv = nn.Conv(
                self.features,
                side,
                strides=self.stride if k == 0 else 1,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=init,
            )
            x = nn.relu(BatchNorm(train, self.dtype, self.axis_name)(conv(x)))
        return x
