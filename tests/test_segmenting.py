"""A model over whole cines: smoothing, and few programs for many sizes."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jssm
from jssm import files
from jssm.cines import segmenting
from tests import dicom_files

FRAMES, BATCH_SIZE = 4, 3  # the second batch is not full


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """A cine in which one frame differs from the next."""
    folder = tmp_path_factory.mktemp("scans")
    dicom_files.write_cine(folder, frames=FRAMES, change=darken)
    found, _ = files.open_cines(folder)
    return found[0].load()


def darken(data, number):
    picture = dicom_files.picture(number)
    picture[:, : 6 * number] //= 2  # so that the prediction moves
    data.PixelData = picture.tobytes()


def test_smoothing_changes_points_and_mask_alike(small_model, cine):
    segmenter = segmenting.Segmenter(small_model, BATCH_SIZE)
    plain = segmenter(cine)
    segmenter.harmonics = FRAMES
    kept = segmenter(cine)
    np.testing.assert_allclose(kept.points, plain.points, atol=1e-3)
    assert (kept.mask != plain.mask).mean() < 1e-3
    segmenter.harmonics = 1
    smooth = segmenter(cine)
    placed = jssm.warp(smooth.poses.theta, jax.vmap(small_model.shape.deform)(smooth.poses.beta))
    np.testing.assert_allclose(smooth.points, placed, atol=1e-4)
    assert np.abs(smooth.points - plain.points).max() > 1e-3
    drawn = jax.vmap(lambda p: jssm.rasterize(p, cine.frames.shape[1:]))(smooth.points)
    assert (smooth.mask != (np.asarray(drawn) > 0.5)).mean() < 1e-3


def test_a_frame_that_is_not_trusted_takes_part_in_no_number(small_model, cine, monkeypatch):
    """Its points are written as they are; smoothing bridges it, and other frames do not see it."""
    monkeypatch.setattr(segmenting, "confidence_of", brightness)
    sure = segmenting.Segmenter(small_model, BATCH_SIZE, least_confidence=-1000.0)
    every = sure(cine)
    least = float(np.sort(every.confidence)[1])
    segmenter = segmenting.Segmenter(small_model, BATCH_SIZE, least_confidence=least)
    found = segmenter(cine)
    assert every.used.all()
    assert found.used.tolist() == (every.confidence >= least).tolist()
    (refused,) = np.flatnonzero(~found.used)
    np.testing.assert_array_equal(found.points, every.points)
    assert np.isnan(found.motion.volume_ml).tolist() == (~found.used).tolist()
    segmenter.harmonics = 1
    smooth = segmenter(cine)
    np.testing.assert_allclose(smooth.points[refused], every.points[refused], atol=1e-4)
    assert np.abs(smooth.points - every.points).max() > 1e-3
    segmenter.least_confidence = 1000.0
    nothing = segmenter(cine)
    assert not nothing.is_measurable
    assert np.isnan(nothing.motion.ejection_fraction_percent)


def brightness(model, pose):
    """A confidence that differs from frame to frame."""
    return pose.theta[:, 0, 2]


def test_gaps_are_bridged_round_the_cycle():
    values = np.array([[0.0, 9.0], [7, 7], [2, 5], [7, 7], [7, 7]])
    used = np.array([True, False, True, False, False])
    expected = [[0, 9], [1, 7], [2, 5], [4 / 3, 19 / 3], [2 / 3, 23 / 3]]
    np.testing.assert_allclose(segmenting.across_gaps(values, used), expected)


def test_the_programs_used_last_are_held_and_no_others_touched(small_model, monkeypatch):
    monkeypatch.setattr(segmenting, "MOST_PROGRAMS", 3)
    segmenter = segmenting.Segmenter(small_model, 2, _programs={})
    not_ours = jax.jit(double)
    not_ours(np.ones(1))
    for length in (1, 2, 3, 1, 4, 5, 1):
        assert segmenter._run(double, np.ones(length)).tolist() == [2.0] * length
        assert len(segmenter._programs) <= 3
    assert [shapes for _, shapes, _ in segmenter._programs] == [((4,),), ((5,),), ((1,),)]
    assert segmenter.compile_s > 0
    assert not_ours._cache_size() == 1


def test_images_of_many_sizes_take_the_same_programs(small_model, cine):
    segmenter, known = segmenting.Segmenter(small_model, BATCH_SIZE), set()
    for rows in (24, 20, 16):
        found = segmenter(replace(cine, frames=cine.frames[:, :rows]))
        assert found.mask.shape == (FRAMES, rows, cine.frames.shape[2])
        known = known or set(segmenter._programs)
    assert set(segmenter._programs) == known


def double(values):
    """Twice the values."""
    return 2 * values
