"""Random looks: what they change, what they leave, and against slow references."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate

from jssm.config import Augmentation
from jssm.training import looks
from tests import reference

SIZE = 48
POINTS = reference.horseshoe(24, center=(22, 26), inner=4, outer=7)
LABEL = np.float32(reference.soft_mask(POINTS, (SIZE, SIZE), 0.5) > 0.5)
rng = np.random.default_rng(0)
IMAGE = np.float32(np.clip(0.2 + 0.5 * LABEL + 0.1 * rng.normal(size=LABEL.shape), 0, 1))
KEYS = jax.random.split(jax.random.key(0), 40)


def of_keys(look, *others):
    """The looks (40, H, W) of the image by forty keys, in one program."""
    return np.asarray(jax.jit(jax.vmap(lambda key: look(key, jnp.asarray(IMAGE), *others)))(KEYS))


def test_a_curve_rises_from_0_to_1():
    ramp = jnp.linspace(0, 1, 101)[None]
    curves = np.asarray(jax.vmap(lambda key: looks.curved(key, ramp))(KEYS))[:, 0]
    assert np.diff(curves, axis=1).min() >= 0
    np.testing.assert_allclose(curves[:, [0, -1]], [[0.0, 1.0]] * len(KEYS), atol=1e-6)
    assert np.abs(curves - np.linspace(0, 1, 101)).max(axis=1).mean() > 0.1


def test_convolutions_keep_mean_and_deviation_and_what_is_bright():
    found = of_keys(looks.convolved)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.mean((1, 2)), IMAGE.mean(), rtol=1e-3)
    np.testing.assert_allclose(found.std((1, 2)), IMAGE.std(), rtol=1e-3)
    alike = [np.corrcoef(look.ravel(), IMAGE.ravel())[0, 1] for look in found]
    assert min(alike) > 0
    assert np.mean(alike) < 0.95


def test_a_random_convolution_is_a_correlation_with_its_kernels(monkeypatch):
    """With kernels read off from single bright pixels, against SciPy's."""
    key, channels = KEYS[3], jnp.asarray(rng.normal(size=(2, 9, 9)), jnp.float32)
    shift = looks._random_convolution(key, jnp.zeros_like(channels), 2)
    kernels = np.stack(
        [
            looks._random_convolution(key, jnp.zeros_like(channels).at[c, 4, 4].set(1.0), 2) - shift
            for c in range(2)
        ],
        axis=1,
    )[:, :, 5:2:-1, 5:2:-1]
    found = looks._random_convolution(key, channels, 2)
    for out in range(2):
        expected = sum(
            correlate(np.asarray(channels[c]), kernels[out, c], mode="nearest") for c in range(2)
        )
        np.testing.assert_allclose(found[out] - shift[out], expected, atol=1e-4)


def test_surroundings_change_beyond_the_heart_alone():
    found = of_keys(looks.resurrounded, jnp.asarray(LABEL))
    changed = found != IMAGE
    rows, columns = np.nonzero(LABEL)
    reach = np.hypot(rows - rows.mean(), columns - columns.mean()).max()
    everywhere = np.indices(IMAGE.shape)
    distance = np.hypot(everywhere[0] - rows.mean(), everywhere[1] - columns.mean())
    assert not changed[:, LABEL > 0].any()
    assert not changed[:, distance < 0.8 * reach].any()
    assert changed[:, distance > 2.2 * 1.3 * reach].mean() > 0.95
    assert found.min() >= 0
    assert found.max() <= 1
    black = [np.all(look[c] == 0) for look, c in zip(found, changed, strict=True)]
    assert 0 < np.mean(black) < 0.7


def test_the_heart_stays_however_rough_the_border(monkeypatch):
    monkeypatch.setattr(looks, "ROUGHNESS", 1.0)
    changed = of_keys(looks.resurrounded, jnp.asarray(LABEL)) != IMAGE
    assert changed.any()
    assert not changed[:, LABEL > 0].any()


def test_without_a_label_the_surroundings_stay():
    found = of_keys(looks.resurrounded, jnp.zeros_like(IMAGE))
    np.testing.assert_array_equal(found, np.broadcast_to(IMAGE, found.shape))


@pytest.mark.parametrize("name", ["curves", "convolutions", "surroundings"])
def test_a_share_of_the_images_is_changed(name):
    options = Augmentation(**{name: 0.5})
    found = of_keys(partial(looks.recolour, options=options), jnp.asarray(LABEL))
    share = np.mean(np.abs(found - IMAGE).max(axis=(1, 2)) > 1e-3)
    assert 0.25 < share < 0.75


def test_an_image_of_one_grey_stays_finite():
    options = Augmentation(curves=1.0, convolutions=1.0, surroundings=1.0, contrast=0.5, noise=0.1)
    flat, none = jnp.full((SIZE, SIZE), 0.5), jnp.zeros((SIZE, SIZE))
    look = jax.jit(jax.vmap(lambda key: looks.recolour(key, flat, none, options)))
    found = look(KEYS[:4])
    assert np.isfinite(found).all()
