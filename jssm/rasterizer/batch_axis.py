"""What the batching rules of the library's primitives have in common."""

from typing import Any

import jax
import jax.numpy as jnp


def in_front(args: Any, axes: Any) -> tuple[Any, list[jax.Array]]:
    """The size of the batch, and the arguments of a batching rule with its axis in front.

    axes: where each argument has it; None for what is the same for all, which is repeated.
    """
    size = next(x.shape[axis] for x, axis in zip(args, axes, strict=True) if axis is not None)
    return size, [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(args, axes, strict=True)
    ]
