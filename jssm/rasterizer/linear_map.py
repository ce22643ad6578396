"""A linear map that comes with its own transpose.

JAX transposes a linear function by turning round each of its operations, which it cannot do for a
loop whose number of turns is known only at run time. Here both directions are given, and JAX
calls the one that it needs; the map works under jit, vmap, forward and reverse mode.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jssm.rasterizer.batch_axis import in_front

_linear_map = Primitive("linear_map")


def linear_map(
    forward: Callable, transpose: Callable, given: Any, x: jax.Array, like: jax.Array
) -> jax.Array:
    """``forward(given, x)``, linear in the array x, with ``transpose(given, y)`` as its transpose.

    ``given`` is a pytree of arrays. In it the map may be differentiated by forward mode alone. What
    it gives has the shape and the type of ``like``: a direction that is not needed is not traced.
    """
    leaves, tree = jax.tree.flatten(given)

    def flat(function: Callable) -> Callable:
        return lambda x, *leaves: function(jax.tree.unflatten(tree, leaves), x)

    functions = {"forward": flat(forward), "transpose": flat(transpose)}
    return _linear_map.bind(x, *leaves, shape=like.shape, dtype=like.dtype, **functions)


def _run(*args: jax.Array, forward: Callable, **others: Any) -> jax.Array:
    return forward(*args)


@_linear_map.def_abstract_eval
def _abstract(*args: Any, shape: tuple[int, ...], dtype: Any, **functions: Callable) -> Any:
    return jax.core.ShapedArray(shape, dtype)


def _jvp(primals: Any, tangents: Any, *, forward: Callable, **others: Any) -> Any:
    bind = partial(_linear_map.bind, forward=forward, **others)
    x_dot, *given_dot = tangents
    out = bind(*primals)
    terms = []
    if not isinstance(x_dot, ad.Zero):
        terms.append(bind(x_dot, *primals[1:]))
    if not all(isinstance(dot, ad.Zero) for dot in given_dot):
        given_dot = tuple(ad.instantiate_zeros(dot) for dot in given_dot)
        terms.append(jax.jvp(partial(forward, primals[0]), tuple(primals[1:]), given_dot)[1])
    return out, sum(terms[1:], terms[0])


def _transposed(
    y: Any, x: Any, *given: Any, forward: Callable, transpose: Callable, **others: Any
) -> list[Any]:
    if isinstance(y, ad.Zero):
        return [None] * (1 + len(given))
    turned = {"forward": transpose, "transpose": forward}
    x_bar = _linear_map.bind(y, *given, shape=x.aval.shape, dtype=x.aval.dtype, **turned)
    return [x_bar, *[None] * len(given)]


def _batched(
    args: Any, axes: Any, *, forward: Callable, transpose: Callable, shape: Any, dtype: Any
) -> Any:
    size, args = in_front(args, axes)
    functions = {"forward": jax.vmap(forward), "transpose": jax.vmap(transpose)}
    return _linear_map.bind(*args, shape=(size, *shape), dtype=dtype, **functions), 0


_linear_map.def_impl(lambda *args, **functions: jax.jit(partial(_run, **functions))(*args))
mlir.register_lowering(_linear_map, mlir.lower_fun(_run, multiple_results=False))
ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transposed
batching.primitive_batchers[_linear_map] = _batched
