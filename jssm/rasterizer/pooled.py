"""A function that sees a whole batch at once; ``jax.vmap`` alone does the same for each item."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jssm.rasterizer.batch_axis import in_front

# A primitive, since jax.custom_batching.custom_vmap's rule would see the directions of a derivative
# as further items of the batch.
_pooled = Primitive("pooled")
_pooled.multiple_results = True


def pooled(function: Callable, like: Any) -> Callable:
    """A function of one item, which ``jax.vmap`` turns into one call of ``function`` with all.

    ``function`` takes and gives pytrees of arrays whose first axis goes over the items of a batch,
    so that it can mix what there is to do for them; ``like`` has the shapes and types that it gives
    for one item, without that axis. Batches of batches are one; one of unknown size, as in
    ``jax.export``, is gone through item by item; for one of none ``function`` is not called.
    Forward derivatives work.
    """
    shapes, result = jax.tree.flatten(like)
    outputs = tuple((x.shape, x.dtype) for x in shapes)

    def of_one(*args: Any) -> Any:
        leaves, given = jax.tree.flatten(jax.tree.map(lambda x: jnp.asarray(x)[None], args))

        def flat(*leaves: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(function(*jax.tree.unflatten(given, leaves)))

        found = _pooled.bind(*leaves, function=flat, outputs=outputs)
        return jax.tree.unflatten(result, [x[0] for x in found])

    return of_one


def _run(*leaves: jax.Array, function: Callable, outputs: tuple) -> list[jax.Array]:
    if not len(leaves[0]):  # a batch of nothing
        return [jnp.zeros((0, *shape), dtype) for shape, dtype in outputs]
    return function(*leaves)


def _batched(args: Any, axes: Any, **parameters: Any) -> tuple[list[jax.Array], list[int]]:
    size, args = in_front(args, axes)
    bind = partial(_pooled.bind, **parameters)
    if isinstance(size, int):
        items = args[0].shape[:2]
        found = bind(*(x.reshape(math.prod(items), *x.shape[2:]) for x in args))
        found = [x.reshape(*items, *x.shape[1:]) for x in found]
    else:
        found = lax.map(lambda items: bind(*items), args)
    return found, [0] * len(found)


def _jvp(
    primals: Any, tangents: Any, *, function: Callable, outputs: tuple
) -> tuple[list[Any], list[Any]]:
    count = len(primals)
    is_real = [_is_real(x) for x in primals]
    given = [ad.instantiate_zeros(t) for t, real in zip(tangents, is_real, strict=True) if real]

    def change(*args: jax.Array) -> list[jax.Array]:
        rest = iter(args[count:])
        dots = [
            next(rest) if real else np.zeros(x.shape, jax.dtypes.float0)
            for x, real in zip(args[:count], is_real, strict=True)
        ]
        found = jax.jvp(function, args[:count], tuple(dots))[1]
        return [dot for dot in found if dot.dtype != jax.dtypes.float0]

    # Apart, as the values do not come from a batch of directions; only real numbers change.
    values = _pooled.bind(*primals, function=function, outputs=outputs)
    changing = tuple(
        (shape, dtype) for shape, dtype in outputs if jnp.issubdtype(dtype, jnp.inexact)
    )
    rest = iter(_pooled.bind(*primals, *given, function=change, outputs=changing))
    none = jax.dtypes.float0
    return values, [
        next(rest) if _is_real(x) else ad.Zero(jax.core.ShapedArray(x.shape, none)) for x in values
    ]


def _is_real(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


@_pooled.def_abstract_eval
def _abstract(*leaves: Any, function: Callable, outputs: tuple) -> list[jax.core.ShapedArray]:
    size = leaves[0].shape[0]
    return [jax.core.ShapedArray((size, *shape), dtype) for shape, dtype in outputs]


_pooled.def_impl(lambda *leaves, **given: jax.jit(partial(_run, **given))(*leaves))
mlir.register_lowering(_pooled, mlir.lower_fun(_run, multiple_results=True))
ad.primitive_jvps[_pooled] = _jvp
batching.primitive_batchers[_pooled] = _batched
