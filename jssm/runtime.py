"""How the commands set JAX up; a library leaves that to the program that uses it."""

import os
import sys
from typing import Any

import platformdirs

# XLA's CPU backend hands convolutions to YNN, which keeps one and a half of two cores busy. Its own
# convolutions keep both: a third faster, forward and backward (docs/PERFORMANCE.md).
FLAG = "--xla_cpu_experimental_ynn_fusion_type"
# The threads of NumPy's BLAS wait for each other by keeping cores busy that XLA needs: to bring a
# cine to the network's size took thirty times as long.
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
KEPT_FROM_S = 0.1  # programs that take as long to compile are kept
# What TensorStore's threads say after a checkpoint could not be read, which is told already.
TOLD_ALREADY = "Event loop is closed"


def prepare() -> None:
    """Choose the faster convolutions, one thread for BLAS, and keep compiled programs in the user's
    cache folder; and hide the traces of threads that have nobody to tell what is told already.

    To be called before anything is computed; for BLAS, before NumPy is imported. JAX's own
    variables have the last word: XLA_FLAGS, where it names the same flag; for another folder
    JAX_COMPILATION_CACHE_DIR; and JAX_ENABLE_COMPILATION_CACHE=false, which switches the cache off.
    JAX itself is not imported.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}="
    os.environ.setdefault(BLAS_THREADS, "1")
    _set("jax_compilation_cache_dir", platformdirs.user_cache_dir("jssm"))
    _set("jax_persistent_cache_min_compile_time_secs", KEPT_FROM_S)
    sys.unraisablehook = _unraisable


def _unraisable(error: Any) -> None:
    """Show an error of a thread as Python does, unless it is :data:`TOLD_ALREADY`."""
    if str(error.exc_value) != TOLD_ALREADY:
        sys.__unraisablehook__(error)


def _set(name: str, value: str | float) -> None:
    """Set one of JAX's settings, unless its variable is set."""
    if name.upper() in os.environ:
        return
    os.environ[name.upper()] = str(value)
    if "jax" in sys.modules:  # which has read the variables already
        sys.modules["jax"].config.update(name, value)
