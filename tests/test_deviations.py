"""The deviations of measures, against many cines drawn from the points' own distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.cines.deviations import drawn, measure_deviations
from jssm.cines.motion import measure_motion
from tests.moving import F, T, cine

OPTIONS = {"spacing_mm": (1.4, 1.2), "frame_time_s": 0.04}
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def spread():
    """Of each frame: shifts, a widening, and a wave along the wall; (F, T, 2, 4) px."""
    points = cine(1.0, 0.9, 0.8, 0.9)
    offset = points - points.mean(axis=(0, 1))
    wave = np.sin(np.linspace(0, 3 * np.pi, T))[:, None] * np.array([0.3, -0.2])
    shift = np.broadcast_to([0.5, 0.0], points.shape)
    columns = [shift, shift[..., ::-1], 0.01 * offset, np.broadcast_to(wave, points.shape)]
    return np.stack(columns, axis=-1).astype(np.float32)


def test_the_deviations_are_those_of_a_thousand_samples(spread):
    """Of which a part is the same in all frames."""
    points, common = cine(1.0, 0.9, 0.8, 0.9), 0.6
    together, apart = rng.normal(size=(1000, 1, 4)), rng.normal(size=(1000, F, 4))
    weights = np.sqrt(common) * together + np.sqrt(1 - common) * apart
    drawn = points + np.einsum("ftiq,nfq->nfti", spread, weights)
    # Which frame is end-diastole is held, as the linear propagation does.
    samples = jax.vmap(lambda p: measure_motion(p, ed_frame=0, **OPTIONS))(jnp.asarray(drawn))
    told = measure_deviations(points, spread, common=common, used=np.ones(F), **OPTIONS)
    for name in ("ejection_fraction_percent", "volume_ml", "long_axis_mm", "wall_thickness_mm",
                 "displacement_mm", "segment_thickness_mm"):  # fmt: skip
        sampled = np.std(getattr(samples, name), axis=0)
        np.testing.assert_allclose(getattr(told, name), sampled, rtol=0.15, atol=1e-2)
    for line in ("endo", "mid", "epi"):
        for name in ("strain_percent", "length_mm", "gls_percent"):
            sampled = np.std(getattr(getattr(samples, line), name), axis=0)
            found = getattr(getattr(told, line), name)
            np.testing.assert_allclose(found, sampled, rtol=0.15, atol=1e-2)
    assert told.ed_frame == 0
    assert told.es_frame == 2


def test_drawn_cines_vary_as_they_are_told_to(spread):
    """A share of the variance is common to all frames."""
    points = cine(1.0, 0.9, 0.8, 0.9)
    away = drawn(points, spread, common=0.6, count=20_000)[:, :2, 5] - points[:2, 5]
    own = np.einsum("nfi,nfj->fij", away, away) / len(away)
    between = np.einsum("ni,nj->ij", away[:, 0], away[:, 1]) / len(away)
    expected = np.einsum("fiq,gjq->fgij", spread[:2, 5], spread[:2, 5])
    np.testing.assert_allclose(own, expected[[0, 1], [0, 1]], atol=0.02)
    np.testing.assert_allclose(between, 0.6 * expected[0, 1], atol=0.02)
    np.testing.assert_allclose(away.mean(axis=0), 0, atol=0.02)


def test_shifts_change_no_length_and_sure_points_no_measure(spread):
    points = cine(1.0, 0.9, 0.8, 0.9)
    shifts = spread * [1, 1, 0, 0]
    shifted = measure_deviations(points, shifts, common=0, used=np.ones(F), **OPTIONS)
    assert np.abs(shifted.mid.strain_percent).max() < 1e-3
    assert np.abs(shifted.volume_ml).max() < 1e-3
    np.testing.assert_allclose(  # half a pixel in either frame, one of which is the first
        shifted.displacement_px[2], np.sqrt(2) * 0.5 * np.sqrt([1.2 / 1.4, 1.4 / 1.2]) *
        np.ones((T, 2)), rtol=1e-3,
    )  # fmt: skip
    sure = measure_deviations(points, 0 * spread, used=np.ones(F), **OPTIONS)
    assert sure.ejection_fraction_percent == 0


def test_frames_that_are_not_used_and_a_spread_of_other_points(spread):
    points = cine(1.0, 0.9, 0.8, 0.9)
    used = np.array([1, 1, 1, 0])
    found = measure_deviations(points, spread, used=used, **OPTIONS)
    assert np.isfinite(found.ejection_fraction_percent)
    assert np.isnan(found.volume_ml).tolist() == (used == 0).tolist()
    with pytest.raises(ValueError, match=r"the spread has shape \(4, 44, 1, 4\), expected"):
        measure_deviations(points, spread[:, :, :1])
