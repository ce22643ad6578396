"""The deviations of measures, against many cines drawn from the points' own distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.cines.deviations import measure_deviations
from jssm.cines.motion import measure_motion
from tests.test_motion import F, T, cine

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
    points = cine(1.0, 0.9, 0.8, 0.9)
    drawn = points + np.einsum("ftiq,nfq->nfti", spread, rng.normal(size=(1000, F, 4)))
    # Which frame is end-diastole is held, as the linear propagation does.
    samples = jax.vmap(lambda p: measure_motion(p, ed_frame=0, **OPTIONS))(jnp.asarray(drawn))
    told = measure_deviations(points, spread, used=np.ones(F), **OPTIONS)
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


def test_shifts_change_no_length_and_sure_points_no_measure(spread):
    points = cine(1.0, 0.9, 0.8, 0.9)
    shifted = measure_deviations(points, spread * [1, 1, 0, 0], used=np.ones(F), **OPTIONS)
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
