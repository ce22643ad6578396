import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jssm.shape import shape_model
from tests import reference


def test_deform_is_equation_3(small_shape):
    beta = jnp.array([0.3, -0.2])
    expected = reference.deform(small_shape.mean, small_shape.modes, beta)
    np.testing.assert_allclose(small_shape.deform(beta), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(small_shape.deform)(beta), expected, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_project_undoes_deform(small_shape, a, b):
    beta = jnp.array([a, b], jnp.float32)
    np.testing.assert_allclose(small_shape.project(small_shape.deform(beta)), beta, atol=1e-4)


def test_limits_are_three_standard_deviations(small_shape):
    np.testing.assert_allclose(small_shape.limits, [0.6, 0.3], rtol=1e-6)


def test_truncate_keeps_the_first_modes(small_shape):
    first = small_shape.truncate(1)
    assert first.num_modes == 1
    np.testing.assert_array_equal(first.modes[0], small_shape.modes[0])
    with pytest.raises(ValueError, match="has 2 modes; cannot take the first 3"):
        small_shape.truncate(3)


def test_saved_model_comes_back(small_shape, tmp_path):
    shape_model.save(tmp_path / "shape.npz", small_shape)
    jax.tree.map(
        np.testing.assert_array_equal, shape_model.load(tmp_path / "shape.npz"), small_shape
    )


def test_load_names_what_is_wrong(tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"a\.npz.*missing.*modes.*variances"):
        shape_model.load(tmp_path / "a.npz")
    np.savez(
        tmp_path / "b.npz", mean=np.zeros((4, 2)), modes=np.zeros((3, 5, 2)), variances=np.ones(3)
    )
    with pytest.raises(ValueError, match=r"expected mean \(T, 2\)"):
        shape_model.load(tmp_path / "b.npz")
