"""A model over whole cines: smoothing, and few programs for many sizes."""

from dataclasses import replace
from functools import partial

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


def test_images_and_cines_of_many_sizes_take_the_same_programs(small_model, cine):
    segmenter, known = segmenting.Segmenter(small_model, BATCH_SIZE), set()
    for frames, rows in ((4, 24), (3, 20), (2, 16)):
        found = segmenter(
            replace(cine, frames=cine.frames[:frames, :rows], time_s=cine.time_s[:frames])
        )
        assert found.mask.shape == (frames, rows, cine.frames.shape[2])
        assert found.motion.volume_ml.shape == (frames,)
        known = known or set(segmenter.programs._held)
    assert set(segmenter.programs._held) == known


@pytest.mark.parametrize("periodic", [True, False])
def test_what_is_measured_does_not_depend_on_the_rounded_length(small_model, cine, periodic):
    segmenter = segmenting.Segmenter(small_model, BATCH_SIZE, whole_cycle=periodic)
    found = segmenter(cine)
    expected = jssm.measure_motion(
        found.points, spacing_mm=cine.spacing_mm, frame_time_s=files.frame_time_s(cine),
        periodic=periodic,
    )  # fmt: skip
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-3), found.motion, expected)
