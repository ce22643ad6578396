"""One fit for a whole cycle: exact for harmonic motion, blind to frames that are bad or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm.cines.cycle import fit_cycle, predict_cine
from jssm.shape.pose import Pose, decode
from tests.conftest import SIZE

F = 12


@pytest.fixture
def beating():
    """Poses of a heart of two harmonics (F)."""
    phase = 2 * np.pi * np.arange(F) / F
    theta = np.broadcast_to([[7.0, 1.0, 16.0], [-1.0, 6.5, 15.0]], (F, 2, 3)).copy()
    theta[:, 0, 0] += 0.8 * np.cos(phase)
    theta[:, 1, 2] += 2.0 * np.sin(2 * phase)
    latent = 0.3 * np.stack([np.cos(phase), np.sin(phase)], axis=1)
    return Pose(jnp.asarray(theta, jnp.float32), jnp.asarray(latent, jnp.float32))


def places(shape, pose):
    return np.asarray(jax.vmap(decode, (None, 0))(shape, pose)[2])


def test_a_cycle_of_few_harmonics_stays_as_it_is(small_shape, beating):
    fitted = fit_cycle(small_shape, beating, jnp.ones(F, bool))
    np.testing.assert_allclose(places(small_shape, fitted), places(small_shape, beating), atol=0.02)


def test_jitter_is_smoothed_away(small_shape, beating):
    rng = np.random.default_rng(0)
    shaken = beating._replace(theta=beating.theta + 0.2 * rng.normal(size=(F, 2, 3)))
    fitted = fit_cycle(small_shape, shaken, jnp.ones(F, bool), harmonics=2)
    true, before, after = (places(small_shape, p) for p in (beating, shaken, fitted))
    assert np.sqrt(np.mean((after - true) ** 2)) < 0.75 * np.sqrt(np.mean((before - true) ** 2))


@pytest.mark.parametrize("is_told", [True, False])
def test_bad_frames_are_outvoted_by_their_neighbours(small_shape, beating, is_told):
    """Whether or not they are known to be bad."""
    bad = np.isin(np.arange(F), [0, 5])
    theta = jnp.where(bad[:, None, None], 2 * beating.theta + 9, beating.theta)
    spoilt = Pose(theta, jnp.where(bad[:, None], -1.0, beating.latent))
    used = ~bad if is_told else np.ones(F, bool)
    fitted = fit_cycle(small_shape, spoilt, jnp.asarray(used), harmonics=2)
    off = np.abs(places(small_shape, fitted) - places(small_shape, beating)).max()
    assert off < 0.3
    assert np.abs(places(small_shape, spoilt) - places(small_shape, beating)).max() > 10


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_few_frames_stay_as_they_are(small_shape, beating, count, periodic):
    """Where there are no more of them than waves, there is nothing to smooth."""
    few = jax.tree.map(lambda v: v[:count], beating)
    fitted = fit_cycle(small_shape, few, jnp.ones(count, bool), harmonics=9, periodic=periodic)
    np.testing.assert_allclose(places(small_shape, fitted), places(small_shape, few), atol=0.03)


def test_frames_after_the_last_do_not_count(small_shape, beating):
    """One program serves cines of many lengths."""
    used = np.arange(F) != 3
    expected = fit_cycle(small_shape, beating, jnp.asarray(used))
    longer = jax.tree.map(lambda v: jnp.concatenate([v, v[-1:].repeat(5, axis=0)]), beating)
    padded = np.concatenate([used, np.zeros(5, bool)])
    found = fit_cycle(small_shape, longer, jnp.asarray(padded), count=F)
    np.testing.assert_allclose(found.theta[:F], expected.theta, atol=1e-3)
    np.testing.assert_allclose(found.latent[:F], expected.latent, atol=1e-4)


def test_the_ends_of_half_a_cycle_are_free(small_shape, beating):
    """A steady widening, whose end is not followed by its beginning."""
    theta = np.asarray(beating.theta[:1]) * np.linspace(1, 1.3, F)[:, None, None]
    half = Pose(jnp.asarray(theta, jnp.float32), jnp.zeros((F, 2)))
    true = places(small_shape, half)

    def worst(periodic):
        fitted = fit_cycle(small_shape, half, jnp.ones(F, bool), periodic=periodic)
        return np.abs(places(small_shape, fitted) - true).max()

    assert worst(periodic=False) < 0.1
    assert worst(periodic=True) > 0.5


def test_a_frame_that_is_not_used_moves_no_other(small_shape, beating):
    used, elsewhere = jnp.arange(F) != 4, beating.theta.at[4, :, 2].add(1.0)
    moved = beating._replace(theta=elsewhere)
    fits = [fit_cycle(small_shape, pose, used, harmonics=2).theta for pose in (beating, moved)]
    np.testing.assert_array_equal(*fits)


def test_where_no_frame_is_used_the_poses_stay(small_shape, beating):
    fitted = fit_cycle(small_shape, beating, jnp.zeros(F, bool))
    np.testing.assert_array_equal(fitted.theta, beating.theta)


def test_a_cine_is_predicted_together(small_model):
    frames = np.random.default_rng(0).integers(0, 255, (F, SIZE, SIZE)).astype(np.float32)
    alone = jssm.predict(small_model, frames, window=np.percentile(frames, (0.1, 99.9)))
    found = predict_cine(small_model, frames, harmonics=1)
    latent = np.arctanh(np.asarray(alone.beta) / np.asarray(small_model.shape.limits))
    expected = fit_cycle(
        small_model.shape, Pose(alone.theta, latent), jnp.ones(F, bool), harmonics=1
    )
    np.testing.assert_allclose(found.points, places(small_model.shape, expected), atol=0.02)
    assert found.mask.shape == frames.shape
    assert np.isnan(found.confidence).all()
    spectrum = np.fft.rfft(np.asarray(found.theta), axis=0)
    assert np.abs(spectrum[2:]).max() < 1e-2
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        predict_cine(small_model, frames[0])


def test_the_fit_has_a_gradient(small_shape, beating):
    def size(theta):
        fitted = fit_cycle(small_shape, beating._replace(theta=theta), jnp.ones(F, bool))
        return jnp.sum(jnp.linalg.det(fitted.theta[..., :2]))

    gradient = np.asarray(jax.grad(size)(beating.theta))
    assert np.isfinite(gradient).all()
    step = 1e-2 * np.random.default_rng(1).normal(size=gradient.shape)
    measured = (size(beating.theta + step) - size(beating.theta - step)) / 2
    assert np.sum(gradient * step) == pytest.approx(float(measured), rel=0.02, abs=1e-2)
