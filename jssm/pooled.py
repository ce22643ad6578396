"""A function that sees a whole batch at once; ``jax.vmap`` alone does the same for each item."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_pooled = Primitive("pooled")
_pooled.multiple_results = True


def pooled(function: Callable) -> Callable:
    """A function of one item, which ``jax.vmap`` turns into one call of ``function`` with all.

    ``function`` takes and gives pytrees of arrays whose first axis goes over the items of a batch,
    so that it can mix what there is to do for them. Batches of batches are one; one of unknown
    size, as in ``jax.export``, is gone through item by item. Forward derivatives work.
    """

    def of_one(*args: Any) -> Any:
        leaves, given = jax.tree.flatten(jax.tree.map(lambda x: jnp.asarray(x)[None], args))
        result = jax.tree.structure(jax.eval_shape(function, *jax.tree.unflatten(given, leaves)))

        def flat(*leaves: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(function(*jax.tree.unflatten(given, leaves)))

        return jax.tree.unflatten(result, [x[0] for x in _pooled.bind(*leaves, function=flat)])

    return of_one


def _run(*leaves: jax.Array, function: Callable) -> list[jax.Array]:
    return function(*leaves)


def _batched(args: Any, axes: Any, *, function: Callable) -> tuple[list[jax.Array], list[int]]:
    size = next(x.shape[axis] for x, axis in zip(args, axes, strict=True) if axis is not None)
    args = [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(args, axes, strict=True)
    ]
    bind = partial(_pooled.bind, function=function)
    if isinstance(size, int):
        found = bind(*(x.reshape(-1, *x.shape[2:]) for x in args))
        found = [x.reshape(size, -1, *x.shape[1:]) for x in found]
    else:
        found = lax.map(lambda items: bind(*items), args)
    return found, [0] * len(found)


def _jvp(primals: Any, tangents: Any, *, function: Callable) -> tuple[list[Any], list[Any]]:
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
    values = _pooled.bind(*primals, function=function)
    rest = iter(_pooled.bind(*primals, *given, function=change))
    none = jax.dtypes.float0
    return values, [
        next(rest) if _is_real(x) else ad.Zero(jax.core.ShapedArray(x.shape, none)) for x in values
    ]


def _is_real(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


@_pooled.def_abstract_eval
def _abstract(*leaves: Any, function: Callable) -> list[jax.core.ShapedArray]:
    return jax.make_jaxpr(function)(*leaves).out_avals


_pooled.def_impl(lambda *leaves, **given: jax.jit(partial(_run, **given))(*leaves))
mlir.register_lowering(_pooled, mlir.lower_fun(_run, multiple_results=True))
ad.primitive_jvps[_pooled] = _jvp
batching.primitive_batchers[_pooled] = _batched
