"""The cache of compiled programs, in processes of their own, since it is a global setting."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax
from jssm import compile_cache
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
compile_cache.enable()
jax.jit(lambda x: x * 2 + 1)(3.0)
"""


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"])
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_programs_are_kept_where_the_user_says_unless_switched_off(tmp_path, variable, enabled):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    environment |= {variable: str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": enabled}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert bool(kept) == (enabled == "true")
