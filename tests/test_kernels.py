"""The GPU's kernels, step by step on this machine, against the plain loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.rasterizer import draw, kernels
from tests import reference
from tests.strips import SHAPES, masks_and_gradients

pytestmark = pytest.mark.usefixtures("real_rasterizer")


def _batch_on_and_off_pixels():
    names = ("horseshoe", "on the pixels", "repeated points", "folded")
    return jnp.asarray(np.stack([SHAPES[name] for name in names]), jnp.float32)


@pytest.fixture(scope="module")
def plain():
    """Masks and gradients of that batch by the loops, in single precision."""
    return masks_and_gradients(_batch_on_and_off_pixels())


def _use_kernels(monkeypatch):
    """The GPU's kernels, step by step on this machine."""
    for name in ("draw", "pull"):
        kernel = partial(getattr(kernels, name), interpret=True)
        monkeypatch.setattr(kernels, name, kernel)
    monkeypatch.setattr(draw, "on_gpu", lambda kernel, otherwise, *args: kernel(*args))


def test_kernels_agree_with_plain_loops(monkeypatch, plain):
    _use_kernels(monkeypatch)
    masks, gradients = masks_and_gradients(_batch_on_and_off_pixels())
    np.testing.assert_allclose(masks, plain[0], atol=1e-6)
    np.testing.assert_allclose(gradients, plain[1], atol=1e-5)


@pytest.mark.parametrize("use", [lambda _: None, _use_kernels], ids=["loops", "kernels"])
def test_a_program_in_double_precision_gets_the_same(monkeypatch, plain, use):
    """In single precision, but no number's type may depend on what the program prefers."""
    use(monkeypatch)
    with jax.enable_x64(True):
        batch = jnp.asarray(np.asarray(_batch_on_and_off_pixels(), np.float64))
        masks, gradients = masks_and_gradients(batch)
    assert gradients.dtype == np.float64
    np.testing.assert_allclose(masks, plain[0], atol=1e-6)
    np.testing.assert_allclose(gradients, plain[1], atol=1e-5)


def test_kernels_agree_with_plain_loops_in_a_large_image(monkeypatch):
    """Of several blocks, and with more than 128 points."""
    shape = (40, 70)
    points = reference.horseshoe(150, center=(30, 20), inner=8, outer=12, aspect=1.3)
    points = jnp.asarray(points, jnp.float32)

    def found(tau):
        distance = draw.signed_distance.__wrapped__(points, shape)
        soft = partial(draw.rasterize.__wrapped__, points, shape)
        slope = jax.grad(lambda tau: jnp.sum(soft(tau=tau) ** 2))(tau)
        return distance, soft(tau=tau), slope

    plain = jax.jit(lambda tau: found(tau))(0.7)
    _use_kernels(monkeypatch)
    for one, other in zip(jax.jit(lambda tau: found(tau))(0.7), plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
