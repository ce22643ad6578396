"""Layers whose plain form is slow on a CPU (docs/PERFORMANCE.md).

Values and gradients are those of ``flax.linen``'s layers, but for rounding.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

MOMENTUM = 0.9  # of the running statistics
EPSILON = 1e-5  # added to a variance


def along(layer: nn.Module, x: jax.Array, reach: int, *, closed: bool) -> jax.Array:
    """What a ``layer`` that sees so many neighbours to either side along the second axis makes of
    ``x`` (N, P, ...); closed: the last one's neighbour there is the first."""
    if not closed:
        return layer(x)
    sides = [(0, 0), (reach, reach), *[(0, 0)] * (x.ndim - 2)]
    return layer(jnp.pad(x, sides, mode="wrap"))[:, reach:-reach]


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last (Ioffe and Szegedy, 2015).

    train: batch or running statistics. dtype: of what it gives; it computes in float32.
    axis_name: the pmap axis over which batch statistics are averaged in training.
    Reverse mode alone differentiates it in training.
    """

    train: bool
    dtype: Any = jnp.float32
    axis_name: str | None = None
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., C) to (..., C)."""
        channels = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        variance = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        if self.train:
            axis_name = None if self.is_initializing() else self.axis_name
            y, found = _normalized(x, scale, bias, axis_name)
            if not self.is_initializing():
                mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * found[0]
                variance.value = MOMENTUM * variance.value + (1 - MOMENTUM) * found[1]
        else:
            y = (x - mean.value) * (lax.rsqrt(variance.value + EPSILON) * scale) + bias
        return y.astype(self.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalized(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """x (..., C) in float32, normalized by its mean and variance, scaled and shifted; and beside
    it the mean (C,) and the variance (C,), which count as constants."""
    return _normalized_forward(x, scale, bias, axis_name)[0]


def _normalized_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[Any, Any]:
    wide = x.astype(jnp.float32)
    mean, square = _means([wide, wide * wide], axis_name)
    variance = jnp.maximum(square - mean * mean, 0.0)
    inverse = lax.rsqrt(variance + EPSILON)
    y = (wide - mean) * (inverse * scale) + bias
    return (y, (mean, variance)), (x, mean, inverse, scale)


def _normalized_backward(axis_name: str | None, saved: Any, cotangents: Any) -> Any:
    """Through y the gradient depends on x itself and, by the two means, on all of its channel."""
    x, mean, inverse, scale = saved
    dy = cotangents[0]
    unit = (x.astype(jnp.float32) - mean) * inverse
    here = _means([dy, dy * unit], None)
    everywhere = lax.pmean(here, axis_name) if axis_name else here
    dx = (scale * inverse) * (dy - everywhere[0] - unit * everywhere[1])
    count = x.size // x.shape[-1]
    return dx.astype(x.dtype), count * here[1], count * here[0]


_normalized.defvjp(_normalized_forward, _normalized_backward)


def _means(arrays: list[jax.Array], axis_name: str | None) -> list[jax.Array]:
    """The mean (C,) of each (..., C), over all devices of the axis."""
    means = [_channel_sum(x) / (x.size // x.shape[-1]) for x in arrays]
    return lax.pmean(means, axis_name) if axis_name else means


def _channel_sum(x: jax.Array) -> jax.Array:
    """The sum (C,) over all axes of x but the last.

    XLA's CPU backend adds up one channel after the other, each from memory far apart; a product
    with ones reads the array in its order, five times as fast. Two rows of them take as long as
    one, for which XLA would compile code of its own in each place (2 s for a network).
    """
    rows = x.reshape(-1, x.shape[-1])

    def product(rows: jax.Array) -> jax.Array:
        return (jnp.ones((2, len(rows)), rows.dtype) @ rows)[0]

    return lax.platform_dependent(rows, cpu=product, default=lambda rows: jnp.sum(rows, axis=0))


class Conv(nn.Module):
    """A convolution without bias, over an image padded by ``padding`` zeros all round.

    dtype: what it computes in and gives; the kernel is float32.
    """

    features: int
    kernel_size: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dtype: Any = jnp.float32
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, H, W, C) to (N, H', W', features)."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        return _convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """x (N, H, W, C) under the kernel (h, w, C, F).

    Where it gives an image smaller than the kernel, XLA's CPU backend goes through that pixel by
    pixel, and so in the gradient; one product is up to 60 times as fast.
    """
    side, window = [(padding, padding)] * 2, kernel.shape[:2]
    size = [(n + 2 * padding - k) // stride + 1 for n, k in zip(x.shape[1:3], window, strict=True)]

    def whole(x: jax.Array, kernel: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, [stride] * 2, side, dimension_numbers=layout)

    def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, 0), *side, (0, 0)])
        rows, columns = (stride * n for n in size)
        below = [
            x[:, i : i + rows : stride, j : j + columns : stride] for i, j in np.ndindex(window)
        ]
        return jnp.concatenate(below, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])

    if all(n >= k for n, k in zip(size, window, strict=True)):
        return whole(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=product, default=whole)


def blocks(x: jax.Array, side: int = 2) -> jax.Array:
    """The pixels of each block of side × side side by side: (N, H, W, C), padded by zeros to whole
    blocks, as (N, ⌈H / side⌉, ⌈W / side⌉, side² · C)."""
    extra = [(0, -length % side) for length in x.shape[1:3]]
    x = jnp.pad(x, [(0, 0), *extra, (0, 0)])
    count, height, width, channels = x.shape
    x = x.reshape(count, height // side, side, width // side, side, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // side, width // side, -1)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest in windows of 3×3, 2 apart, in the (N, H, W, C) padded by 1.

    One axis after the other, from its even and its odd places: the gradient of
    ``lax.reduce_window`` is slow. Where several are largest the first has it, in the order of rows.
    """

    def pad(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
        widths = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
        return jnp.pad(x, widths, constant_values=-jnp.inf)

    for axis in (2, 1):
        size = x.shape[axis] // 2 + x.shape[axis] % 2
        pairs = pad(x, axis, 0, x.shape[axis] % 2)
        pairs = pairs.reshape(*x.shape[:axis], size, 2, *x.shape[axis + 1 :])
        even, odd = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
        before = pad(lax.slice_in_dim(odd, 0, size - 1, axis=axis), axis, 1, 0)
        x = jnp.where(before >= even, before, even)
        x = jnp.where(x >= odd, x, odd)
    return x
