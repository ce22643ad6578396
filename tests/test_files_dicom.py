"""Scanners' files: grouped, ordered, placed; damaged ones told of, one line each."""

import contextlib
import random
import struct

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from jssm import files
from jssm.files import series
from tests.dicom_files import SECRETS, axes_of, dataset, enhanced, picture, save, write_cine
from tests.mutations import mutated


def opened(path, **options):
    found, problems = files.open_cines(path, **options)
    assert all("\n" not in p.sentence for p in problems)
    return found, [p.sentence for p in problems if p.damaged], [
        p.sentence for p in problems if not p.damaged
    ]  # fmt: skip


def test_frames_go_by_trigger_time_and_then_by_instance(tmp_path):
    def backwards(data, number):
        data.TriggerTime = 40.0 * (3 - number)

    write_cine(tmp_path, change=backwards)
    (found,), damaged, skipped = opened(tmp_path)
    assert (damaged, skipped) == ([], [])
    cine = found.load()
    np.testing.assert_array_equal(cine.frames, [picture(n) for n in (3, 2, 1)])
    np.testing.assert_allclose(cine.time_s, [0, 0.04, 0.08])
    assert cine.spacing_mm == (1.5, 1.25)
    assert [path.name for path, _ in cine.sources] == [f"IM-000{n}.dcm" for n in (3, 2, 1)]
    assert [number for _, number in cine.sources] == [0, 0, 0]


def test_without_trigger_times_the_instance_number_and_the_beat_decide(tmp_path):
    def change(data, number):
        del data.TriggerTime
        data.InstanceNumber = 10 - number
        data.NominalInterval, data.CardiacNumberOfImages = 900, 30

    write_cine(tmp_path, change=change)
    cine = opened(tmp_path)[0][0].load()
    np.testing.assert_array_equal(cine.frames, [picture(n) for n in (3, 2, 1)])
    np.testing.assert_allclose(cine.time_s, [0, 0.03, 0.06])


def test_rescaled_values_and_inverted_ones(tmp_path):
    def change(data, number):
        data.RescaleSlope, data.RescaleIntercept = 0.5, -3
        if number == 2:
            data.PhotometricInterpretation = "MONOCHROME1"

    write_cine(tmp_path, frames=2, change=change)
    first, second = opened(tmp_path)[0][0].load().frames
    np.testing.assert_allclose(first, picture(1) * 0.5 - 3)
    np.testing.assert_allclose(second, (65535.0 - picture(2)) * 0.5 - 3)


def test_pixels_have_their_place_in_the_patient(tmp_path):
    write_cine(tmp_path)
    cine = opened(tmp_path)[0][0].load()
    row, column = np.array(axes_of("4ch"), float).reshape(2, 3)
    expected = np.array([-20, 10, 5]) + 7 * 1.25 * row + 3 * 1.5 * column
    np.testing.assert_allclose(files.patient_mm(cine, np.array([[7, 3]]))[0], expected, atol=1e-6)
    affine = files.nifti_affine(cine)
    np.testing.assert_allclose(affine @ [7, 3, 0, 1], [*(expected * [-1, -1, 1]), 1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), [1.25, 1.5, 8])


def test_enhanced_objects_are_split_into_slices_and_ordered_by_delay(tmp_path):
    save(tmp_path / "stack", enhanced())  # without a suffix
    found, damaged, _ = opened(tmp_path)
    assert damaged == []
    assert [(f.view, f.seen) for f in found] == [("sax", "sax")] * 2
    cines = sorted((f.load() for f in found), key=lambda c: c.to_patient_mm[2, 2])
    for z, cine in enumerate(cines):
        np.testing.assert_allclose(cine.frames, [2.0 * picture(p + 10 * z) - 1 for p in range(3)])
        np.testing.assert_allclose(cine.time_s, [0, 0.03, 0.06])
        assert [number for _, number in cine.sources] == [4 + z, 2 + z, z]


@pytest.mark.parametrize("apart_mm", [10.0, 1.0])
def test_one_series_of_several_slices_becomes_several_cines(tmp_path, apart_mm):
    def change(data, number):
        data.ImagePositionPatient = [0, 0, apart_mm * (number % 2)]

    write_cine(tmp_path, frames=6, view="sax", change=change)
    found, _, _ = opened(tmp_path)
    assert [len(f.paths) for f in found] == [3, 3]
    assert len({f.name for f in found}) == 2


def test_of_magnitude_and_phase_the_magnitude_is_the_cine(tmp_path):
    def change(data, number):
        data.ImageType = ["ORIGINAL", "PRIMARY", "MP"[number % 2]]

    write_cine(tmp_path, frames=4, change=change)
    (found,), damaged, skipped = opened(tmp_path)
    assert [path.name for path in found.paths] == ["IM-0002.dcm", "IM-0004.dcm"]
    assert damaged == []
    assert skipped == [f"IM-000{n}.dcm: no cine, but phase images" for n in (1, 3)]


def test_a_still_is_no_cine_unless_asked_for_by_its_name(tmp_path):
    (path,) = write_cine(tmp_path, frames=1)
    (tmp_path / "notes.txt").write_text("a note")
    found, damaged, skipped = opened(tmp_path)
    assert (found, damaged) == ([], [])
    assert skipped == [
        "notes.txt: not a kind of file that is read here",
        "IM-0001.dcm: 1 frame, no cine",
    ]
    (found,), _, _ = opened(path)
    assert found.load().frames.shape == (1, 24, 32)


def test_reports_are_passed_over(tmp_path):
    data = dataset(1)
    del data.Rows, data.Columns, data.PixelData
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    save(tmp_path / "report.dcm", data)
    assert opened(tmp_path)[1:] == ([], ["report.dcm: no image, but Basic Text SR Storage"])


def test_files_without_their_first_part_are_read(tmp_path):
    for path in write_cine(tmp_path, frames=2):
        whole = path.read_bytes()
        path.write_bytes(whole[whole.index(struct.pack("<HH", 8, 8)) :])
    (found,), damaged, _ = opened(tmp_path)
    assert damaged == []
    np.testing.assert_array_equal(found.load().frames, [picture(1), picture(2)])


def test_deflated_files_are_passed_over(tmp_path):
    data = dataset(1)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(tmp_path / "a.dcm", data)
    assert opened(tmp_path)[2] == ["a.dcm: deflated DICOM is not read; inflate it first"]


def spoil(path, kind):
    data = pydicom.dcmread(path)
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[:-500])
    elif kind == "cut off in the header":
        path.write_bytes(whole[: len(whole) - 24 * 32 * 2 - 100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("Dear colleague, this is no picture.\n" * 50)
    elif kind == "wrong syntax":
        path.write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    elif kind == "size":
        data.Rows, data.PixelData = 20, picture(1, (20, 32)).tobytes()
    elif kind == "lying size":
        data.Rows = data.Columns = 60_000
    elif kind == "duplicate":
        data.InstanceNumber, data.TriggerTime = 1, 0
    elif kind == "spacing":
        path.write_bytes(whole.replace(b"1.5\\1.25", b"NaN\\1.25"))
    elif kind == "negative":
        data.PixelSpacing = [-1.5, 1.25]
    elif kind == "orientation":
        data.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    elif kind == "slope":
        data.RescaleSlope, data.RescaleIntercept = 0, 0
    if kind in ("size", "lying size", "duplicate", "negative", "orientation", "slope"):
        save(path, data)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("truncated", "truncated?"),
        ("cut off in the header", "truncated?"),
        ("empty", "the file is empty"),
        ("text", "not a DICOM file"),
        ("wrong syntax", "cannot be read as DICOM"),
        ("size", "32×20 px, but its series 32×24 px"),
        ("lying size", "GiB of pixels; damaged?"),
        ("duplicate", "instance number 1 is taken by deep/er/IM-0001.dcm"),
        ("spacing", "PixelSpacing is "),
        ("negative", "PixelSpacing is -1.5, 1.25; positive numbers were expected"),
        ("orientation", "ImageOrientationPatient is no pair of perpendicular unit vectors"),
        ("slope", "RescaleSlope is 0"),
    ],
)
def test_a_damaged_file_gets_one_line_and_the_rest_goes_on(tmp_path, kind, sentence):
    paths = write_cine(tmp_path / "deep" / "er", frames=4)
    spoil(paths[1], kind)
    (found,), damaged, _ = opened(tmp_path)
    cine = found.load()
    (line,) = [*damaged, *cine.problems]
    assert "IM-0002.dcm" in line
    assert sentence in line
    np.testing.assert_array_equal(cine.frames, [picture(n) for n in (1, 3, 4)])


def test_a_sentence_names_the_file_that_it_is_about_by_its_place(tmp_path):
    paths = write_cine(tmp_path / "deep" / "er")
    spoil(paths[1], "wrong syntax")
    (found,), _, _ = opened(tmp_path)
    (sentence,) = found.load().problems
    assert found.about(sentence).startswith("deep/er/IM-0002.dcm: cannot be read as DICOM (")
    assert found.about("no space: none") == "deep/er/IM-0001.dcm: no space: none"


def test_a_folder_that_was_copied_is_told_but_no_damage(tmp_path):
    for folder in ("a", "b"):
        write_cine(tmp_path / folder)
    (found,), damaged, skipped = opened(tmp_path)
    assert len(found.paths) == 3
    assert damaged == []
    assert skipped == [f"b/IM-000{n}.dcm: a copy of a/IM-000{n}.dcm" for n in (1, 2, 3)]


def test_a_series_of_which_nothing_can_be_read_says_so_when_it_is_loaded(tmp_path):
    for path in write_cine(tmp_path):
        spoil(path, "wrong syntax")
    (found,), _, _ = opened(tmp_path)
    with pytest.raises(files.BadInput, match=r"IM-0001\.dcm: cannot be read as DICOM"):
        found.load()


def test_a_compressed_frame_may_not_claim_another_size(tmp_path):
    data = dataset(1)
    bomb = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 47, 0, 60000, 60000, 0, 0) + bytes(40)
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.PixelData = encapsulate([bomb])
    data["PixelData"].VR = "OB"
    path = save(tmp_path / "bomb.dcm", data)
    with pytest.raises(files.BadInput, match="compressed pixels of 60000×60000"):
        opened(path)[0][0].load()


def test_pseudonyms_are_stable_salted_and_tell_nothing(tmp_path):
    write_cine(tmp_path / "a")
    write_cine(tmp_path / "b", series="1.2.4", study="1.9")
    write_cine(tmp_path / "c", series="1.2.5", patient="HOSP-78", study="1.8")
    first, second, third = sorted(opened(tmp_path)[0], key=lambda f: f.source)
    assert first.patient == second.patient != third.patient
    assert first.name != second.name
    assert not any(secret in first.name for secret in SECRETS)
    alone = opened(tmp_path / "a")[0][0]
    assert alone.name == first.name
    assert opened(tmp_path / "a", salt="pepper")[0][0].patient != first.patient
    assert opened(tmp_path / "a", keep_names=True)[0][0].patient == "HOSP-77"


BOWL = "train/123/123/study"


def test_the_data_science_bowl_is_recognized(tmp_path):
    def bare(data, number):
        del data.ImagePositionPatient, data.ImageOrientationPatient

    def elsewhere(data, number):
        data.ImagePositionPatient = [0, 0, 30]

    name = "IM-4562-{:04d}.dcm"
    write_cine(tmp_path / BOWL / "4ch_7", series="1.1", name=name, change=bare)
    write_cine(tmp_path / BOWL / "4ch_12", series="1.2", name=name, change=bare)
    write_cine(tmp_path / BOWL / "sax_5", view="sax", series="1.3", name=name)
    write_cine(tmp_path / BOWL / "sax_6", view="sax", series="1.4", name=name, change=elsewhere)
    for repeat in (3, 7):
        name = f"IM-4600-{{:04d}}-{repeat:04d}.dcm"
        write_cine(tmp_path / BOWL / "2ch_9", view="2ch", series="1.5", name=name)
    found, damaged, skipped = opened(tmp_path)
    assert damaged == []
    assert sorted(f.source for f in found) == [
        f"{BOWL}/2ch_9/IM-4600-0001-0007.dcm",
        f"{BOWL}/4ch_12/IM-4562-0001.dcm",
        f"{BOWL}/sax_5/IM-4562-0001.dcm",
        f"{BOWL}/sax_6/IM-4562-0001.dcm",
    ]
    assert sorted(skipped) == [
        f"{BOWL}/2ch_9: repeated later, in 2ch_9/IM-4600-0001-0007.dcm and on",
        f"{BOWL}/4ch_7: repeated later, in 4ch_12/IM-4562-0001.dcm and on",
    ]
    assert {f.patient for f in found} == {"dsb0123"}
    assert {f.view for f in found} == {"2ch", "4ch", "sax"}
    assert all("3 frames, 30 are usual" in f.notes for f in found)
    by_view = {f.view: f for f in found}
    assert "its place in the patient is unknown" in by_view["4ch"].notes
    assert by_view["4ch"].load().to_patient_mm is None


def test_repeats_elsewhere_are_kept_and_noted(tmp_path):
    def later(data, number):
        data.SeriesNumber = 6

    write_cine(tmp_path / "a")
    write_cine(tmp_path / "b", series="1.2.4", change=later)
    found, _, _ = opened(tmp_path)
    notes = {f.source[0]: f.notes for f in found}
    assert notes == {"a": ("the same plane was scanned again",), "b": ()}


def test_mislabelled_views_are_told(tmp_path):
    def wrong(data, number):
        data.SeriesDescription = "cine 4CH"

    write_cine(tmp_path / "a", view="3ch", change=wrong)
    write_cine(tmp_path / "b", view="4ch", series="1.2.4")
    wrong_one, right_one = sorted(opened(tmp_path)[0], key=lambda f: f.source)
    assert (wrong_one.view, wrong_one.described, wrong_one.seen) == ("4ch", "4ch", "3ch")
    assert wrong_one.agree is False
    assert wrong_one.notes == ("the description says 4ch, the plane looks like 3ch",)
    assert right_one.agree is True


def test_a_folder_of_many_cines_is_ordered_the_same_way_each_time(tmp_path):
    for number in range(5):
        write_cine(tmp_path / f"s{number}", series=f"1.2.{number + 10}", patient=f"P{number}")
    names = [f.name for f in opened(tmp_path)[0]]
    assert names == sorted(names)
    assert names == [f.name for f in opened(tmp_path)[0]]


def test_mutated_files_never_break_the_reader(tmp_path):
    whole = save(tmp_path / "whole.dcm", dataset(1)).read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        path = tmp_path / "mutated.dcm"
        path.write_bytes(mutated(whole, rng))
        found, damaged, skipped = opened(path)
        assert found or damaged or skipped
        for item in found:
            with contextlib.suppress(files.BadInput):
                assert item.load().frames.shape[0] >= 1


def test_the_bowls_pattern_takes_no_other_tree():
    match = series.BOWL.search
    assert match("/data/2015/train/17/study/sax_5/IM-4562-0001.dcm")["patient"] == "17"
    assert match("17/study/4ch_7/IM-4562-0001-0007.dcm")["repeat"] == "0007"
    assert not match("/SMITH/study/4ch_7/IM-4562-0001.dcm")
    assert not match("/17/study/rv_7/IM-4562-0001.dcm")
