"""A function that has a kernel of its own for NVIDIA GPUs (Ampere and later)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jssm.rasterizer.batch_axis import in_front

# A primitive, since lax.platform_dependent would differentiate the kernel too, export it, and take
# it for GPUs that are too old.
_on_gpu = Primitive("on_gpu")
_on_gpu.multiple_results = True


def on_gpu(kernel: Callable, otherwise: Callable, *args: Any) -> Any:
    """``kernel(*args)`` in a program compiled for an NVIDIA GPU, ``otherwise(*args)`` elsewhere.

    Both give the same pytree of arrays. What is chosen is decided when the program is lowered, so
    that one traced program serves any device. Exported programs, which may run anywhere, hold
    ``otherwise``, and GPUs older than Ampere, for which there is no Triton, run it. Derivatives are
    those of ``otherwise``, as the kernel has none.
    """
    leaves, given = jax.tree.flatten(jax.tree.map(jnp.asarray, args))
    shapes, result = jax.tree.flatten(jax.eval_shape(otherwise, *args))

    def flat(function: Callable) -> Callable:
        return lambda *leaves: jax.tree.leaves(function(*jax.tree.unflatten(given, leaves)))

    found = _on_gpu.bind(
        *leaves,
        kernel=flat(kernel),
        otherwise=flat(otherwise),
        outputs=tuple((s.shape, s.dtype) for s in shapes),
    )
    return jax.tree.unflatten(result, found)


def _otherwise(*leaves: jax.Array, otherwise: Callable, **others: Any) -> list[jax.Array]:
    return otherwise(*leaves)


def _lowered_for_gpu(
    ctx: mlir.LoweringRuleContext,
    *leaves: Any,
    kernel: Callable,
    otherwise: Callable,
    **others: Any,
) -> Any:
    is_exported = ctx.module_context.lowering_parameters.for_export
    function = kernel if _kernels_run() and not is_exported else otherwise
    return mlir.lower_fun(function, multiple_results=True)(ctx, *leaves)


def _kernels_run() -> bool:
    """Whether all NVIDIA GPUs of this process are of compute capability 8.0 or more."""
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:  # there is none
        return False
    return all(float(device.compute_capability) >= 8.0 for device in devices)


def _jvp(primals: Any, tangents: Any, *, otherwise: Callable, **others: Any) -> Any:
    tangents = tuple(ad.instantiate_zeros(tangent) for tangent in tangents)
    return jax.jvp(otherwise, tuple(primals), tangents)


def _batched(
    args: Any, axes: Any, *, kernel: Callable, otherwise: Callable, outputs: tuple
) -> tuple[list[jax.Array], list[int]]:
    size, args = in_front(args, axes)
    found = _on_gpu.bind(
        *args,
        kernel=jax.vmap(kernel),
        otherwise=jax.vmap(otherwise),
        outputs=tuple(((size, *shape), dtype) for shape, dtype in outputs),
    )
    return found, [0] * len(found)


@_on_gpu.def_abstract_eval
def _abstract(*leaves: Any, outputs: tuple, **functions: Callable) -> list[jax.core.ShapedArray]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in outputs]


_on_gpu.def_impl(
    lambda *leaves, **parameters: jax.jit(partial(_on_gpu.bind, **parameters))(*leaves)
)
mlir.register_lowering(_on_gpu, mlir.lower_fun(_otherwise, multiple_results=True))
mlir.register_lowering(_on_gpu, _lowered_for_gpu, platform="cuda")
ad.primitive_jvps[_on_gpu] = _jvp
batching.primitive_batchers[_on_gpu] = _batched
