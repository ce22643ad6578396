import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jssm.rasterizer import on_gpu as module
from jssm.rasterizer.on_gpu import on_gpu


def _double(x, y):
    return {"sum": 2 * x + y, "count": jnp.asarray(3)}


def _wrong(x, y):
    raise AssertionError("no kernel runs here")


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_elsewhere_the_other_function_runs(wrap):
    found = wrap(lambda x, y: on_gpu(_wrong, _double, x, y))(jnp.arange(3.0), 1.0)
    np.testing.assert_array_equal(found["sum"], [1, 3, 5])
    assert int(found["count"]) == 3


def test_it_is_batched_and_differentiated():
    def value(x, y):
        return on_gpu(_wrong, lambda x, y: jnp.sin(x) * y, x, y)

    x = jnp.linspace(0.0, 1.0, 4)
    np.testing.assert_allclose(jax.vmap(value, (0, None))(x, 2.0), 2 * jnp.sin(x), rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(value)(0.5, 2.0), 2 * np.cos(0.5), rtol=1e-6)


@pytest.mark.parametrize(("is_ampere", "chosen"), [(True, "sine"), (False, "cosine")])
def test_a_gpu_takes_the_kernel_if_it_can(monkeypatch, is_ampere, chosen):
    monkeypatch.setattr(module, "_kernels_run", lambda: is_ampere)
    function = jax.jit(lambda x: on_gpu(jnp.sin, jnp.cos, x))
    text = function.trace(1.0).lower(lowering_platforms=("cuda",)).as_text()
    assert f"stablehlo.{chosen} " in text


def test_an_exported_program_holds_no_kernel(monkeypatch):
    """It may run anywhere; a kernel would also need a GPU to be there when it is written."""
    monkeypatch.setattr(module, "_kernels_run", lambda: True)
    function = jax.jit(lambda x: on_gpu(_wrong, _double, x, x))
    artifact = export.export(function, platforms=("cpu", "cuda"))(jnp.ones(2))
    np.testing.assert_array_equal(artifact.call(jnp.ones(2))["sum"], [3, 3])
