"""Compiled programs, and what of them is kept between runs.

JAX keeps what XLA compiled, but traces and lowers a function anew in each process, which takes
longer for a network than to segment a cine with it. So the traced program is kept beside, as a
jax.export artifact: on a CPU, where exported programs are what they would be otherwise.
"""

import hashlib
import importlib.metadata
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from jssm.cines.motion import LineStrain, Motion
from jssm.cines.rings import LoopStrain, RingMotion
from jssm.code import digest_of
from jssm.files.whole import write_whole
from jssm.shape.integrity import Integrity

MOST = 16  # that are held, those used last
FOLDER = "traced"  # in that of JAX's compiled programs
# As fast in what a network does, and compiled in three quarters of the time.
COMPILER_OPTIONS: dict[str, Any] = {"xla_backend_optimization_level": 1}


def _made(kind: type) -> Any:
    return lambda _, fields: kind(*fields)


for returned in (Integrity, LineStrain, LoopStrain, Motion, RingMotion):
    export.register_pytree_node_serialization(
        returned,
        serialized_name=f"jssm.{returned.__name__}",
        serialize_auxdata=lambda _: b"",
        deserialize_auxdata=lambda _: (),
        from_children=_made(returned),
    )


class Programs:
    """Functions of arrays, compiled once for the shapes of their arguments.

    waited_s: seconds in which nothing was done but wait for a program.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._held: dict[Any, Future] = {}
        # Two at a time: XLA keeps one core busy for much of what it does.
        self._compiling = ThreadPoolExecutor(2)

    def __call__(self, function: Callable, *args: Any, **static: Any) -> Any:
        """``function(*args, **static)``."""
        program = self.begin(function, *args, **static)
        began = time.perf_counter()
        run, out_tree = program.result()
        self.waited_s += time.perf_counter() - began
        return jax.tree.unflatten(out_tree, run(*_leaves(args)))

    def begin(self, function: Callable, *args: Any, **static: Any) -> Future:
        """Begin to compile, if it is not under way or done, for arguments like these (arrays or
        ``jax.ShapeDtypeStruct``)."""
        key = (function, tuple(leaf.shape for leaf in _leaves(args)), tuple(static.items()))
        program = self._held.pop(key, None)
        if program is None or (program.done() and program.exception()):
            like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in _leaves(args)]
            tree = jax.tree.structure(args)
            program = self._compiling.submit(_compiled, partial(function, **static), like, tree)
        self._held[key] = program  # at the end: the first is the one not used for longest
        if len(self._held) > MOST:
            del self._held[next(iter(self._held))]
        return program


def folder() -> Path | None:
    """Where traced programs are kept; None where compiled ones are not."""
    config: Any = jax.config
    parent = config.jax_compilation_cache_dir
    return Path(parent) / FOLDER if config.jax_enable_compilation_cache and parent else None


def _leaves(args: Any) -> list[Any]:
    """The arrays of the arguments; numbers as arrays, too."""
    return [leaf if hasattr(leaf, "dtype") else np.float32(leaf) for leaf in jax.tree.leaves(args)]


def _compiled(function: partial, like: list[Any], tree: Any) -> tuple[Callable, Any]:
    """The program of a function of the leaves ``like``, and the structure of what it gives."""

    def of_leaves(*leaves: jax.Array) -> Any:
        return function(*jax.tree.unflatten(tree, leaves))

    if jax.default_backend() == "cpu":
        traced = _traced(of_leaves, function, like, tree)
        lowered = jax.jit(lambda *leaves: jax.tree.leaves(traced.call(*leaves))).lower(*like)
        return lowered.compile(COMPILER_OPTIONS), traced.out_tree
    lowered = jax.jit(of_leaves).lower(*like)
    compiled = lowered.compile()
    return lambda *leaves: jax.tree.leaves(compiled(*leaves)), lowered.out_tree


def _traced(of_leaves: Callable, function: partial, like: list[Any], tree: Any) -> export.Exported:
    """The exported program, from the disk where it is there."""
    path = _path(function, like, tree)
    if path is not None:
        try:
            return export.deserialize(bytearray(path.read_bytes()))
        except Exception:  # not there, cut short, of another version, or flatbuffers is missing
            pass
    traced = export.export(jax.jit(of_leaves))(*like)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, bytes(traced.serialize()))
        except (ImportError, OSError):  # it is traced again, next time
            pass
    return traced


def _path(function: partial, like: list[Any], tree: Any) -> Path | None:
    """Where a program is kept: by all that it depends on."""
    kept = folder()
    if kept is None:
        return None
    name = f"{function.func.__module__}.{function.func.__qualname__}"
    arrays = [(leaf.shape, str(leaf.dtype)) for leaf in like]
    parts = (name, function.keywords, str(tree), arrays, _code())
    return kept / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.jax"


@cache
def _code() -> str:
    """What this package's modules and the packages that trace them are, as a digest."""
    total = hashlib.sha256(digest_of("jssm").encode())
    for name in ("jax", "jaxlib", "flax"):
        total.update(f"{name} {importlib.metadata.version(name)}".encode())
    return total.hexdigest()
