"""How the commands set JAX up, in processes of their own, since the settings are global."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jssm import runtime

ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # however quickly they compile
# By itself, without the rest of the package, which takes long to import.
PROGRAM = """
import os, runpy, sys, jax
runtime = runpy.run_path(sys.argv[1])
runtime["prepare"]()
assert os.environ["XLA_FLAGS"].split() == [runtime["FLAG"] + "="]
jax.jit(lambda x: x * 2 + 1)(3.0)
"""
CONVOLUTION = """
import os, jax, jax.numpy as jnp
from jssm import runtime
runtime.prepare()
print(os.environ["XLA_FLAGS"])
f = jax.jit(lambda x, w: jax.nn.relu(jax.lax.conv(x, w, (1, 1), "SAME")))
print(f.lower(jnp.ones((1, 8, 16, 16)), jnp.ones((8, 8, 3, 3))).compile().as_text())
"""


@pytest.mark.parametrize(
    ("variable", "enabled"),
    [
        ("XDG_CACHE_HOME", "true"),
        ("JAX_COMPILATION_CACHE_DIR", "true"),
        ("JAX_COMPILATION_CACHE_DIR", "false"),
    ],
)
def test_programs_are_kept_where_the_user_says_unless_switched_off(tmp_path, variable, enabled):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_", "XLA_"))
    }
    environment |= {variable: str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": enabled}
    environment |= ALL
    command = [sys.executable, "-c", PROGRAM, runtime.__file__]
    subprocess.run(command, env=environment, check=True)
    assert keeps_programs(tmp_path) == (enabled == "true")


def keeps_programs(folder) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def test_convolutions_are_not_handed_to_ynn_and_other_flags_are_kept(tmp_path):
    """In a process that has imported the whole package, whose programs are kept too."""
    other = "--xla_cpu_enable_fast_math=false"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"XLA_FLAGS": other, "XDG_CACHE_HOME": str(tmp_path)} | ALL
    done = subprocess.run(
        [sys.executable, "-c", CONVOLUTION], env=environment, check=True, capture_output=True
    )
    flags, program = done.stdout.decode().split("\n", 1)
    assert other in flags
    assert "convolution" in program
    assert "ynn" not in program
    assert keeps_programs(tmp_path)


def test_what_is_told_already_is_not_shown_again(monkeypatch):
    shown: list = []
    monkeypatch.setattr(sys, "__unraisablehook__", shown.append)
    for text in (runtime.TOLD_ALREADY, "another"):
        runtime._unraisable(SimpleNamespace(exc_value=RuntimeError(text)))
    assert [str(error.exc_value) for error in shown] == ["another"]
