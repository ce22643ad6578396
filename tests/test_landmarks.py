"""Heat maps of landmarks: targets, loss, sub-pixel peaks, confidence and abstention."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.networks import heatmaps

SHAPE = (40, 48)
MARKS = np.array([[20.3, 8.7], [11.6, 30.2], [33.8, 27.4]], np.float32)  # clockwise
LOCATE = jax.jit(lambda logits: heatmaps.locate(logits, sigma_px=1.0))
LOSS = jax.jit(heatmaps.loss)


@partial(jax.jit, static_argnames="sigma_px")
def targets(marks, *, sigma_px):
    return heatmaps.targets(marks, SHAPE, sigma_px=sigma_px)


def logits_of(target):
    """The maps (H, W, L) whose probabilities are ``target``."""
    log = np.log(np.maximum(np.asarray(target, np.float64), 1e-30))
    return jnp.asarray((log[:, :-1] - log[:, -1:]).T.reshape(*SHAPE, -1), jnp.float32)


def test_targets_are_gaussians_of_mass_one():
    found = np.asarray(targets(jnp.asarray(MARKS), sigma_px=1.5))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert found[:, -1].max() < 1e-5
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for density, (x, y) in zip(found[:, :-1].reshape(3, *SHAPE), MARKS, strict=True):
        assert (density * columns).sum() == pytest.approx(x, abs=1e-3)
        assert (density * rows).sum() == pytest.approx(y, abs=1e-3)
        assert (density * (columns - x) ** 2).sum() == pytest.approx(1.5**2, abs=1e-2)


def test_what_lies_outside_belongs_to_the_last_outcome():
    marks = jnp.array([[-30.0, 10.0], [-0.5, 20.0], [200.0, 200.0]])
    found = targets(marks, sigma_px=1.0)
    np.testing.assert_allclose(found[:, -1], [1, 0.5, 1], atol=0.01)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_the_loss_is_a_divergence():
    target = targets(jnp.asarray(MARKS), sigma_px=1.0)
    assert LOSS(logits_of(target), target) == pytest.approx(0, abs=1e-4)
    flat = jnp.zeros((*SHAPE, 3))
    count = SHAPE[0] * SHAPE[1] + 1
    entropy = -np.sum(np.where(target > 0, target * np.log(np.maximum(target, 1e-30)), 0), axis=1)
    expected = np.mean(np.log(count) - entropy)
    assert LOSS(flat, target) == pytest.approx(expected, rel=1e-4)
    nothing = heatmaps.nowhere(3, SHAPE)
    assert LOSS(flat, nothing) == pytest.approx(np.log(count), rel=1e-5)
    slope = jax.jit(jax.grad(heatmaps.loss))
    for aim in (target, nothing):
        assert np.isfinite(slope(flat, aim)).all()


def test_peaks_are_found_to_a_part_of_a_pixel():
    for shift in np.random.default_rng(0).uniform(-0.5, 0.5, (5, 1, 2)).astype(np.float32):
        target = targets(MARKS + shift, sigma_px=1.0)
        found = LOCATE(logits_of(target))
        assert bool(found.found)
        np.testing.assert_allclose(found.points, MARKS + shift, atol=0.05)
        np.testing.assert_allclose(found.confidence, 1 - np.exp(-4.5), atol=0.02)


def test_the_confidence_is_the_share_of_the_peak():
    other = MARKS[:, ::-1] * 0.5 + 12
    target = 0.7 * targets(MARKS, sigma_px=1.0)
    target += 0.3 * targets(other, sigma_px=1.0)
    found = LOCATE(logits_of(target))
    assert bool(found.found)
    np.testing.assert_allclose(found.confidence, 0.7, atol=0.02)
    np.testing.assert_allclose(found.points, MARKS, atol=0.1)
    strict = heatmaps.locate(logits_of(target), sigma_px=1.0, threshold=0.75)
    assert not bool(strict.found)
    assert np.isnan(strict.points).all()


@pytest.mark.parametrize("kind", ["flat", "noise", "absent", "one unsure", "anticlockwise"])
def test_no_landmarks_where_it_is_not_sure(kind):
    good = targets(MARKS, sigma_px=1.0)
    wide = targets(MARKS, sigma_px=6.0)
    noise = 3 * np.random.default_rng(0).normal(size=(*SHAPE, 3)).astype(np.float32)
    logits = {
        "flat": jnp.zeros((*SHAPE, 3)),
        "noise": jnp.asarray(noise),
        "absent": logits_of(0.2 * good + 0.8 * heatmaps.nowhere(3, SHAPE)),
        "one unsure": logits_of(jnp.concatenate([good[:2], wide[2:]])),
        "anticlockwise": logits_of(good[jnp.array([0, 2, 1])]),
    }[kind]
    found = LOCATE(logits)
    assert not bool(found.found)
    assert np.isnan(found.points).all()
    assert np.isfinite(found.confidence).all()
