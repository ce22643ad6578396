"""Numbers of headers that are absent, default or contradictory: sure, or unknown with a note."""

import gzip
import math

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from jssm import files
from jssm.files.cine import believed_times
from tests.dicom_files import dataset, picture, save, write_cine
from tests.test_files_dicom import opened
from tests.test_files_kinds import fields, loop, sequence

FRAMES = np.arange(3 * 6 * 8, dtype=np.int16).reshape(3, 6, 8)  # 3 frames, 6 rows, 8 columns
PLACE = np.array([[-1.4, 0, 0, 30], [0, -1.2, 0, 40], [0, 0, 8, 50], [0, 0, 0, 1.0]])
UNIT = np.diag([-1.0, -1, 1, 1])


def nifti(path, *, sform=None, qform=None, pixdim=None, time=(0.04, "sec"), data=FRAMES):
    """A cine whose sform, qform and pixdim may be set against each other, byte by byte."""
    file = nib.Nifti1Image(np.ascontiguousarray(data.transpose(2, 1, 0)[:, :, None]), None)
    if qform is not None:
        file.set_qform(qform, 1)
    file.header.set_xyzt_units("mm", time[1])
    nib.save(file, path)
    header = bytearray(path.read_bytes())
    if sform is not None:
        header[254:256] = np.int16(1).tobytes()
        header[280:328] = np.asarray(sform, np.float32)[:3].tobytes()
    sizes = list(pixdim or (nib.affines.voxel_sizes(qform) if qform is not None else (1, 1, 1)))
    header[80:96] = np.array([*sizes, time[0]], np.float32).tobytes()
    path.write_bytes(bytes(header))
    return path


def scaled(affine, factor):
    return affine @ np.diag([factor, factor, factor, 1])


def moved(affine, x_mm):
    return affine + np.outer([x_mm, 0, 0, 0], [0, 0, 0, 1])


BELIEVED = (1.2, 1.4)
EMPTY = np.zeros((4, 4))
SHEARED = PLACE + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3)


@pytest.mark.parametrize(
    ("headers", "spacing", "origin", "noted"),
    [
        ({"sform": PLACE, "pixdim": (1.4, 1.2, 8)}, BELIEVED, 30, None),
        ({"sform": PLACE, "qform": PLACE}, BELIEVED, 30, None),
        ({"sform": UNIT, "qform": PLACE}, BELIEVED, 30, "the qform gives the place"),
        ({"sform": scaled(PLACE, 2), "qform": PLACE}, BELIEVED, 30, "the qform gives the place"),
        ({"sform": scaled(PLACE, 2), "pixdim": (1.4, 1.2, 8)}, BELIEVED, None, "taken for unknown"),
        ({"sform": PLACE}, BELIEVED, 30, "but the sform: 1.4, 1.2 mm"),
        ({"sform": PLACE, "pixdim": (0, 1.2, 8)}, BELIEVED, 30, "measure 0, 1.2 mm"),
        ({"sform": PLACE, "pixdim": (-1.4, -1.2, 8)}, BELIEVED, 30, "which cannot be"),
        ({"pixdim": (-1.4, 1.2, 8)}, None, None, "measure -1.4, 1.2 mm"),
        ({"pixdim": (math.nan, 1.2, 8)}, None, None, "measure nan, 1.2 mm"),
        ({"sform": EMPTY, "qform": PLACE}, BELIEVED, 30, "sform is set, but no place"),
        ({"sform": PLACE * math.nan, "qform": PLACE}, BELIEVED, 30, "sform is set, but no place"),
        ({"sform": SHEARED, "pixdim": (1.4, 1.3, 8)}, (1.3, 1.4), None, "shears the pixels"),
        ({"sform": moved(PLACE, 9), "qform": PLACE}, BELIEVED, 39, "unlike places"),
        ({"sform": PLACE, "qform": PLACE @ np.diag([-1, -1, 1, 1])}, BELIEVED, 30, "unlike places"),
        ({"pixdim": (1.4, 1.2, 8)}, BELIEVED, None, None),
        ({}, None, None, "what libraries write"),
        ({"sform": UNIT, "pixdim": (1, 1, 1)}, None, None, "what libraries write"),
        ({"pixdim": (1, 1, 8)}, (1, 1), None, None),
        ({"sform": moved(UNIT, 5), "pixdim": (1, 1, 1)}, (1, 1), 5, None),
    ],
)  # fmt: skip
def test_spacing_and_place_of_nifti_agree_or_are_unknown(tmp_path, headers, spacing, origin, noted):
    cine = files.read(nifti(tmp_path / "a.nii", **headers))
    np.testing.assert_allclose(cine.spacing_mm, spacing or (math.nan, math.nan), rtol=1e-5)
    assert any(noted in note for note in cine.notes) if noted else cine.notes == ()
    if origin is None:
        assert cine.to_patient_mm is None
    else:
        assert cine.to_patient_mm[0, 2] == pytest.approx(-origin)
        places = files.patient_mm(cine, np.array([[0, 0], [7, 0], [0, 5]]))
        lengths = np.linalg.norm(places[1:] - places[0], axis=1)
        np.testing.assert_allclose(lengths, [7 * cine.spacing_mm[1], 5 * cine.spacing_mm[0]])
    files.write_nifti(tmp_path / "b.nii", cine.frames, cine)
    written = nib.load(tmp_path / "b.nii").header
    np.testing.assert_allclose(written.get_sform(), written.get_qform(), atol=1e-4)


@pytest.mark.parametrize(
    ("value", "unit", "step", "noted"),
    [
        (0.04, "sec", 0.04, None),
        (40, "msec", 0.04, None),
        (40_000, "usec", 0.04, None),
        (0.04, "unknown", 0.04, None),
        (0, "sec", None, None),
        (1, "unknown", None, "which no cine of a heart has"),
        (1, "sec", None, "gives 1 s from frame to frame"),
        (33, "sec", None, "gives 33 s from frame to frame"),
        (33, "unknown", None, "33 without a unit"),
        (25, "hz", None, "25 hz for time"),
        (0.04, "msec", None, "gives 4e-05 s"),
        (-0.04, "sec", None, "do not rise"),
        (math.nan, "sec", None, None),
    ],
)
def test_times_of_nifti_are_those_of_a_heart_or_unknown(tmp_path, value, unit, step, noted):
    cine = files.read(nifti(tmp_path / "a.nii", qform=PLACE, time=(value, unit)))
    np.testing.assert_allclose(cine.time_s, np.arange(3) * (step or math.nan), atol=1e-6)
    assert any(noted in note for note in cine.notes) if noted else cine.notes == ()


@pytest.mark.parametrize(("frames", "known"), [(2, True), (3, True), (4, False)])
def test_a_few_frames_may_lie_far_apart_in_one_beat(frames, known):
    times, notes = believed_times(0.5 * np.arange(frames), "the file")
    assert np.isfinite(times).all() == known == (notes == ())


@pytest.mark.parametrize(
    ("spacing", "expected", "step"),
    [
        ((1.4, 1.2, 8, 0.04), (1.2, 1.4), 0.04),
        ((1.4, 1.2, 8, 1), (1.2, 1.4), None),
        ((1.4, 1.2, 8, 33.3), (1.2, 1.4), None),
        ((1, 1, 1, 1), None, None),
        ((-1.4, 1.2, 8, 0.04), None, 0.04),
    ],
)
def test_metaimage_defaults_are_not_believed(tmp_path, spacing, expected, step):
    file = sitk.GetImageFromArray(FRAMES[:, None], isVector=False)
    file.SetSpacing([abs(s) for s in spacing])
    sitk.WriteImage(file, str(tmp_path / "a.mha"))
    if spacing[0] < 0:
        text = (tmp_path / "a.mha").read_bytes()
        (tmp_path / "a.mha").write_bytes(text.replace(b"ElementSpacing = ", b"ElementSpacing = -"))
    cine = files.read(tmp_path / "a.mha")
    np.testing.assert_allclose(cine.spacing_mm, expected or (math.nan, math.nan))
    np.testing.assert_allclose(cine.time_s, np.arange(3) * (step or math.nan))
    assert bool(cine.notes) == (expected is None or step is None)


def test_what_is_no_number_is_background_and_told(tmp_path):
    data = FRAMES.astype(np.float32)
    data[:, :, :2], data[0, 0, 7] = np.nan, np.inf
    cine = files.read(nifti(tmp_path / "a.nii", qform=PLACE, data=data))
    bad = ~np.isfinite(data)
    np.testing.assert_array_equal(cine.frames[~bad], data[~bad])
    assert (cine.frames[bad] == 2).all()  # the lowest of the others
    assert cine.notes == ("26 % of its pixels are no finite numbers and count as background",)
    with pytest.raises(files.BadInput, match="no pixel is a finite number"):
        files.read(nifti(tmp_path / "b.nii", qform=PLACE, data=np.full_like(data, np.nan)))


@pytest.mark.parametrize(
    ("values", "times", "noted"),
    [
        ({"FrameTime": 20}, [0, 0.02, 0.04], None),
        ({"FrameTimeVector": [0, 20, 30]}, [0, 0.02, 0.05], None),
        ({"FrameTime": 25, "FrameTimeVector": [0, 20, 30]}, [0, 0.02, 0.05], None),
        ({"FrameTime": 25, "FrameTimeVector": [0, 20]}, [0, 0.025, 0.05], "FrameTimeVector"),
        ({"FrameTime": 25, "FrameTimeVector": [0, 20, -30]}, [0, 0.025, 0.05], "FrameTimeVector"),
        ({"FrameTime": 0}, None, "FrameTime is 0 ms"),
        ({"FrameTime": -20}, None, "FrameTime is -20 ms"),
        ({"FrameTime": 0.02}, None, "gives 2e-05 s"),
        ({"FrameTime": 20_000}, None, "gives 20 s"),
        ({"FrameTime": None}, None, None),
    ],
)
def test_times_of_a_loop(tmp_path, values, times, noted):
    save(tmp_path / "a.dcm", loop(1, [picture(k) for k in range(3)], **values))
    (found,), _, _ = opened(tmp_path)
    cine = found.load()
    np.testing.assert_array_equal(cine.frames, [picture(k) for k in range(3)])
    np.testing.assert_allclose(cine.time_s, times or [math.nan] * 3)
    told = [*found.notes, *cine.notes]
    assert any(noted in note for note in told) if noted else cine.notes == ()


@pytest.mark.parametrize(
    ("values", "step", "noted"),
    [
        ({"HeartRate": 60}, 40, "the frames cover 0.12 s by TriggerTime"),
        ({"HeartRate": 500}, 40, None),
        ({"HeartRate": 0, "NominalInterval": 0}, 40, None),
        ({"NominalInterval": 60}, 40, "a heart beat lasts 0.06 s by NominalInterval"),
        ({"NominalInterval": 120, "HeartRate": 60}, 40, "the interval is believed"),
        ({"TriggerTime": None, "NominalInterval": 900, "CardiacNumberOfImages": 30}, 30, "is 30"),
        ({"TriggerTime": None, "NominalInterval": 90, "CardiacNumberOfImages": 3}, 30, None),
        ({"TriggerTime": None, "NominalInterval": 0, "CardiacNumberOfImages": 3}, None, "not rise"),
        ({"TriggerTime": None, "NominalInterval": 900, "CardiacNumberOfImages": 1}, None, "0.9 s"),
        ({"TriggerTime": 0}, None, None),
    ],
)
def test_heart_beats_that_do_not_fit_the_times_are_told(tmp_path, values, step, noted):
    write_cine(tmp_path, change=fields(**values))
    cine = opened(tmp_path)[0][0].load()
    expected = np.arange(3) * (step or math.nan) / 1000
    np.testing.assert_allclose(cine.time_s, expected, atol=1e-9)
    assert any(noted in note for note in cine.notes) if noted else cine.notes == ()


@pytest.mark.parametrize(
    ("values", "away_ms"),
    [
        ({}, [5, 45, 85]),
        ({"NominalInterval": 120}, [5, 45, 35]),
        ({"NominalInterval": 900}, [5, 45, 85]),  # which the frames do not fit
        ({"TriggerTime": None, "NominalInterval": 120, "CardiacNumberOfImages": 3}, None),
        ({"TriggerTime": 7, "NominalInterval": 120, "CardiacNumberOfImages": 3}, None),
    ],
)
def test_how_far_frames_are_from_the_trigger(tmp_path, values, away_ms):
    def change(data, number):
        data.TriggerTime = 40 * number - 35
        fields(**values)(data, number)

    write_cine(tmp_path, change=change)
    cine = opened(tmp_path)[0][0].load()
    expected = np.array(away_ms or [math.nan] * 3) / 1000
    np.testing.assert_allclose(cine.from_trigger_s, expected)
    assert np.isfinite(cine.time_s).all()


def test_the_times_of_a_loop_are_from_no_trigger(tmp_path):
    save(tmp_path / "a.dcm", loop(1, [picture(k) for k in range(3)], FrameTime=40))
    cine = opened(tmp_path)[0][0].load()
    assert np.isfinite(cine.time_s).all()
    assert np.isnan(cine.from_trigger_s).all()


def region(row_cm=0.05, column_cm=0.04, units=3, form=1):
    return sequence(
        PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units, RegionSpatialFormat=form,
        PhysicalDeltaX=column_cm, PhysicalDeltaY=row_cm,
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "spacing", "aspect", "noted"),
    [
        ({"regions": [region()]}, (0.5, 0.4), 1.25, None),
        ({"regions": [region(-0.05)]}, (0.5, 0.4), 1.25, None),
        ({"regions": [region(), region(1, 1, units=4)]}, (0.5, 0.4), 1.25, None),
        ({"regions": [region(), region(0.03)]}, None, 1, "unlike scales"),
        ({"regions": [region(0)]}, None, 1, None),
        ({"regions": [region()], "PixelSpacing": [0.7, 0.7]}, (0.5, 0.4), 1.25, "PixelSpacing"),
        ({"PixelSpacing": [0, 0]}, None, 1, "PixelSpacing is 0, 0; positive numbers"),
        ({"PixelAspectRatio": [5, 4]}, None, 1.25, "1.25 times as high as wide"),
        ({"PixelAspectRatio": [1, 1]}, None, 1, None),
        ({"PixelAspectRatio": [0, 4]}, None, 1, None),
        ({"PixelSpacing": [0.7, 0.7], "PixelAspectRatio": [5, 4]}, (0.7, 0.7), 1, "AspectRatio"),
    ],
)
def test_sizes_of_ultrasound_pixels(tmp_path, values, spacing, aspect, noted):
    regions = values.pop("regions", None)
    data = loop(1, [picture(k) for k in range(3)], **values)
    if regions:
        data.SequenceOfUltrasoundRegions = regions
    save(tmp_path / "a.dcm", data)
    (found,), damaged, _ = opened(tmp_path)
    assert damaged == []
    cine = found.load()
    np.testing.assert_allclose(cine.spacing_mm, spacing or (math.nan, math.nan))
    assert cine.aspect == aspect
    told = [note for note in found.notes if "place" not in note]
    assert any(noted in note for note in told) if noted else told == []


@pytest.mark.parametrize(
    ("text", "spacing"),
    [
        (b"1,5\\1,25", (1.5, 1.25)),
        (b"1.5,1.25", (1.5, 1.25)),
        (b"1.5\\1.25\0", (1.5, 1.25)),
        (b"1,5 ", None),  # one number and a half, or two?
    ],
)
def test_commas_in_numbers(tmp_path, text, spacing):
    data = dataset(1)
    tag = pydicom.tag.Tag("PixelSpacing")
    data[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(text), text, 0, False, True)
    found, damaged, _ = opened(save(tmp_path / "a.dcm", data))
    if spacing is None:
        assert damaged == ["a.dcm: PixelSpacing is '1,5'; expected 2 finite numbers"]
    else:
        assert found[0].load().spacing_mm == spacing


def test_a_file_that_holds_more_than_its_header_says_is_told(tmp_path):
    data = loop(1, [picture(k) for k in range(3)])
    del data.NumberOfFrames
    (found,), _, _ = opened(save(tmp_path / "a.dcm", data))
    assert "holds 3 times as many pixels as its header says" in found.notes[0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_compressed_or_not_by_what_it_holds(tmp_path, suffix):
    path = nifti(tmp_path / "a.nii", qform=PLACE)
    data = path.read_bytes()
    path = tmp_path / f"b{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".nii" else data)
    cine = files.read(path)
    np.testing.assert_array_equal(cine.frames, FRAMES)
    assert (files.count_frames(path), cine.spacing_mm) == (3, pytest.approx(BELIEVED))


def test_axes_of_length_one_may_follow(tmp_path):
    array = FRAMES.transpose(2, 1, 0)[:, :, None, :, None]
    nib.save(nib.Nifti1Image(array, PLACE), tmp_path / "a.nii")
    cine = files.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(cine.frames, FRAMES)
    files.write_nifti(tmp_path / "b.nii", cine.frames, cine)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), array)
    nib.save(nib.Nifti1Image(array.swapaxes(3, 4), PLACE), tmp_path / "a.nii")
    with pytest.raises(files.BadInput, match=r"the shape \(8, 6, 1, 1, 3\)"):
        files.read(tmp_path / "a.nii")


def test_a_metaimage_header_without_its_pixels_says_which_file_is_missing(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "a.mhd"))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(files.BadInput, match=r"a\.mhd: its pixels, the file a\.raw, are missing"):
        files.read(tmp_path / "a.mhd")
