"""A model over whole cines: one fit for all frames, and few programs for many sizes."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

import jssm
from jssm import files
from jssm.cines import segmenting
from jssm.cines.cycle import fit_cycle
from jssm.cines.deviations import drawn
from jssm.methods.model import pose_of
from jssm.shape.pose import Pose, decode
from jssm.shape.uncertainty import spread_of
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


@pytest.fixture
def alone(small_model):
    """Segments each frame by itself."""
    return segmenting.Segmenter(small_model, BATCH_SIZE, harmonics=0)


@pytest.mark.parametrize("periodic", [True, False])
def test_all_frames_are_fitted_together(small_model, cine, alone, periodic):
    """As ``fit_cycle`` fits them, though the program is one for longer cines; the mask too."""
    plain = alone(cine)
    together = segmenting.Segmenter(small_model, BATCH_SIZE, harmonics=1, whole_cycle=periodic)
    found = together(cine)
    latent = np.arctanh(plain.poses.beta / np.asarray(small_model.shape.limits))
    expected = fit_cycle(
        small_model.shape, Pose(plain.poses.theta, latent), np.ones(FRAMES, bool),
        harmonics=1, periodic=periodic,
    )  # fmt: skip
    np.testing.assert_allclose(found.points, places(small_model.shape, expected), atol=1e-3)
    assert np.abs(found.points - plain.points).max() > 1e-3
    drawn = jax.vmap(lambda p: jssm.rasterize(p, cine.frames.shape[1:]))(found.points)
    assert (found.mask != (np.asarray(drawn) > 0.5)).mean() < 1e-3


def places(shape, pose):
    return jax.vmap(decode, (None, 0))(shape, pose)[2]


def test_deviations_are_those_of_what_was_measured(small_model, cine, alone, monkeypatch):
    sure = 9 * np.eye(8, dtype=np.float32)

    def with_factor(model, images):
        return pose_of(model, images)._replace(factor=np.tile(sure, (len(images), 1, 1)))

    assert alone(cine).deviations is None  # such a network does not tell
    monkeypatch.setattr(segmenting, "pose_of", with_factor)
    found = segmenting.Segmenter(small_model, BATCH_SIZE, harmonics=0)(cine)
    latent = np.arctanh(found.poses.beta / np.asarray(small_model.shape.limits))
    poses = Pose(found.poses.theta, latent, np.tile(sure, (FRAMES, 1, 1)))
    spread = jax.vmap(spread_of, (None, 0))(small_model.shape, poses)
    motions = jax.vmap(
        partial(jssm.measure_motion, spacing_mm=cine.spacing_mm, from_trigger=cine.from_trigger_s)
    )(drawn(found.points, np.asarray(spread)).astype(np.float32))
    for name in ("volume_ml", "ejection_fraction_percent", "mean_thickness_mm"):
        expected = np.std(getattr(motions, name), axis=0)
        np.testing.assert_allclose(getattr(found.deviations, name), expected, rtol=5e-3)
    assert found.deviations.ed_frame == found.motion.ed_frame


def test_a_frame_that_is_not_trusted_takes_part_in_no_number(small_model, cine, alone, monkeypatch):
    """Its points are written as they are, and the fit of the others does not see it."""
    monkeypatch.setattr(segmenting, "confidence_of", brightness)
    alone.least_confidence = -1000.0
    every = alone(cine)
    least = float(np.sort(every.confidence)[1])
    segmenter = segmenting.Segmenter(small_model, BATCH_SIZE, harmonics=0, least_confidence=least)
    found = segmenter(cine)
    assert every.used.all()
    assert found.used.tolist() == (every.confidence >= least).tolist()
    assert found.used.sum() == FRAMES - 1
    np.testing.assert_array_equal(found.points, every.points)
    assert np.isnan(found.motion.volume_ml).tolist() == (~found.used).tolist()
    segmenter.harmonics = 1
    together = segmenter(cine)  # three waves go through the three frames that are left
    np.testing.assert_allclose(together.points, every.points, atol=1e-4)
    segmenter.least_confidence = 1000.0
    nothing = segmenter(cine)
    assert not nothing.is_measurable
    assert np.isnan(nothing.motion.ejection_fraction_percent)


def brightness(model, pose):
    """A confidence that differs from frame to frame."""
    return pose.theta[:, 0, 2]


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
        from_trigger=cine.from_trigger_s, periodic=periodic,
    )  # fmt: skip
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-3), found.motion, expected)
