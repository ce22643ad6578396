"""The DICOM objects of a cine: Segmentation and Structured Report, read again and validated."""

import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes as dicom

from jssm import files
from jssm.cines import sending
from jssm.cines.measures import LEVELS, WALLS
from jssm.cines.result import Result
from jssm.files import codes
from tests import dicom_files

FRAMES, ED, ES = 4, 1, 3
ABOUT = {
    "jssm_version": "0.4",
    "model_run": "Zoë's",
    "model_step": "best",
    "model_weights_sha256": "00ff" * 4,
    "smoothing_harmonics": 0,
    "whole_cycle": True,
}
NAME = "Müller^Zoë"
SECRETS = [*dicom_files.SECRETS[1:], "ACC-4711", "20200102"]
VOLUMES_ML = np.array([90.0, 100, 70, 40])
needs_dciodvfy = pytest.mark.skipif(
    not shutil.which("dciodvfy"), reason="dciodvfy, of the system's dicom3tools, is not installed"
)


def line(gls, peaks=(np.nan,) * 6):
    return SimpleNamespace(gls_percent=np.float32(gls), segment_peak_percent=np.array(peaks))


MOTION = SimpleNamespace(
    ed_frame=np.int32(ED),
    es_frame=np.int32(ES),
    ejection_fraction_percent=np.float32(60),
    volume_ml=VOLUMES_ML,
    endo=line(-19.5),
    mid=line(-17.25, [-11, -12, -13, -14, np.nan, -16]),
    epi=line(np.nan),
)


def single_frames(folder):
    def change(data, number):
        data.SpecificCharacterSet, data.PatientName = "ISO_IR 100", NAME
        data.FrameOfReferenceUID, data.AccessionNumber = "1.2.9", "ACC-4711"
        data.StudyDate = "20200102"

    dicom_files.write_cine(folder, frames=FRAMES, change=change)
    return files.open_cines(folder)[0][0]


def one_object(folder):
    data = dicom_files.enhanced(phases=FRAMES)
    data.FrameOfReferenceUID = "1.2.9"
    dicom_files.save(folder / "a.dcm", data)
    return files.open_cines(folder)[0][1]


def result_of(found):
    cine = found.load()
    masks = np.random.default_rng(0).random(cine.frames.shape) > 0.5
    points = np.random.default_rng(1).uniform(5, 20, (FRAMES, 8, 2))
    used = np.ones(FRAMES, bool)
    poses = SimpleNamespace(closed=False)
    segmented = SimpleNamespace(mask=masks, points=points, motion=MOTION, used=used, poses=poses)
    return Result(found, cine, segmented)


@pytest.fixture(scope="module", params=[single_frames, one_object])
def result(request, tmp_path_factory):
    """A cine of single frames, and one in an enhanced object of which it is every other frame."""
    return result_of(request.param(tmp_path_factory.mktemp("scan")))


def references(items):
    return [(i.referenced_sop_instance_uid, i.referenced_frame_numbers) for i in items]


def images_in(report):
    """UIDs, and numbers of the frames where a file has several, of all that was measured in."""
    (group,) = report.content.get_image_measurement_groups()
    return references(group.source_images)


def measures_in(report):
    """{(meaning, site, method): (value, unit, images)}"""
    found = {}
    for item in report.content.get_image_measurement_groups()[0].get_measurements():
        site, method = item.finding_sites[0].value.meaning, item.method.meaning
        images = references(item.referenced_images)
        found[item[0].name.meaning, site, method] = (item[0].value, item[0].unit.value, images)
    return found


def images_of(cine, frames):
    """UIDs, and numbers of the frames where a file has several, as reports give them."""
    found = {}
    for k in frames:
        header = pydicom.dcmread(cine.sources[k][0], stop_before_pixels=True)
        several = "NumberOfFrames" in header
        found.setdefault(header.SOPInstanceUID, []).append(cine.sources[k][1] + 1)
    return [(uid, numbers if several else None) for uid, numbers in found.items()]


def with_used(result, used):
    """The same, of which only some frames are used."""
    return replace(result, segmented=SimpleNamespace(**{**vars(result.segmented), "used": used}))


def written(tmp_path, result, **options):
    """The Segmentation and the report as highdicom reads them."""
    paths = tmp_path / "a.seg.dcm", tmp_path / "a.sr.dcm"
    assert sending.write_mask(paths[0], result, about=ABOUT, **options) == []
    assert sending.write_measures(paths[1], result, about=ABOUT, **options) == []
    return hd.seg.segread(paths[0]), hd.sr.srread(paths[1])


def test_a_report_holds_the_measures(tmp_path, result):
    _, report = written(tmp_path, result)
    assert report.content[0].ContentTemplateSequence[0].TemplateIdentifier == "1500"
    cine, is_known = result.cine, result.found.view == "4ch"
    lv, area_length = "Left ventricle", "Area-Length Single Plane"
    strain, mid = "Peak Longitudinal Lagrangian Strain", "Myocardial Midlayer Method"
    ef, gls = "Left ventricular ejection fraction by MR", "LV Peak GLS 4CH (Endocardial)"
    expected = {
        (ef, lv, area_length): (60, "%", images_of(cine, [ED, ES])),
        ("Left Ventricular ED Volume", lv, area_length): (100, "ml", images_of(cine, [ED])),
        ("Left Ventricular ES Volume", lv, area_length): (40, "ml", images_of(cine, [ES])),
        (gls if is_known else strain, lv, "Endocardial Method"): (-19.5, "%", []),
        (strain, lv, mid): (-17.25, "%", []),
    }
    for k in (0, 1, 2, 3, 5):  # the fifth segment's is not known
        name = result.segments[k]
        named = f"left ventricle {name} segment"
        site = named if is_known else f"{name} of 6, in the order of the points"
        expected[strain, site, mid] = (-11 - k, "%", [])
    assert measures_in(report) == expected


def test_a_report_tells_its_images_and_its_model(tmp_path, result):
    _, report = written(tmp_path, result)
    told = images_in(report)
    assert told == images_of(result.cine, range(FRAMES))
    listed = {uid for _, _, uid, _ in report.get_evidence()}
    assert listed == {uid for uid, _ in told}
    (observer,) = report.content.get_observer_contexts()
    device = observer.observer_identifying_attributes
    assert observer.observer_type == dicom.DCM.Device
    assert device.name == "jssm Zoë's 0.4"
    assert device.serial_number == ABOUT["model_weights_sha256"]
    assert report.VerificationFlag == "UNVERIFIED"


@pytest.mark.parametrize("refused", [0, ES])
def test_refused_frames_are_in_neither(tmp_path, result, refused):
    used = np.arange(FRAMES) != refused
    segmentation, report = written(tmp_path, with_used(result, used))
    numbers = [
        groups.FrameContentSequence[0].TemporalPositionIndex
        for groups in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == (np.flatnonzero(used) + 1).tolist()
    np.testing.assert_array_equal(segmentation.pixel_array, result.segmented.mask[used])
    assert images_in(report) == images_of(result.cine, np.flatnonzero(used))
    volumes = [name for name, *_ in measures_in(report) if "olume" in name or "raction" in name]
    assert len(volumes) == (3 if refused == 0 else 0)  # none without end-systole


def test_without_frames_nothing_is_written(tmp_path, result):
    path, used = tmp_path / "a.dcm", np.zeros(FRAMES, bool)
    path.write_text("of an earlier run")
    for write in (sending.write_mask, sending.write_measures):
        (sentence,) = write(path, with_used(result, used), about=ABOUT)
        assert sentence.startswith(f"{result.cine.name}: no DICOM S")
        assert not path.exists()


def test_the_same_input_gives_the_same_objects(tmp_path, result):
    first, second = written(tmp_path, result), written(tmp_path, result)
    other = written(tmp_path, with_used(result, np.arange(FRAMES) > 0))
    for a, b, c in zip(first, second, other, strict=True):
        assert a.SOPInstanceUID == b.SOPInstanceUID != c.SOPInstanceUID
        assert a.SeriesInstanceUID == b.SeriesInstanceUID != c.SeriesInstanceUID
        assert uids_of(a) == uids_of(b)


def uids_of(item):
    """Every UID in an object."""
    return [str(element.value) for element in item.iterall() if element.VR == "UI"]


def test_names_are_in_neither_unless_kept(tmp_path):
    result = result_of(single_frames(tmp_path / "scan"))
    for keep_names in (False, True):
        written(tmp_path, result, keep_names=keep_names)
        for name in ("a.seg.dcm", "a.sr.dcm"):
            content = (tmp_path / name).read_bytes()
            kept = [word for word in SECRETS if word.encode() in content]
            assert kept == (SECRETS if keep_names else [])
            item = pydicom.dcmread(tmp_path / name)
            assert str(item.PatientName) == (NAME if keep_names else result.found.patient)
            assert ("PatientIdentityRemoved" in item) != keep_names
            assert ("DeidentificationMethodCodeSequence" in item) != keep_names


@needs_dciodvfy
@pytest.mark.parametrize("keep_names", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, result, keep_names):
    some = with_used(result, np.arange(FRAMES) != 2)
    written(tmp_path, some, keep_names=keep_names)
    for name in ("a.seg.dcm", "a.sr.dcm"):
        told = subprocess.run(
            ["dciodvfy", "-new", tmp_path / name], capture_output=True, check=False
        )
        assert [s for s in told.stderr.splitlines() if s.startswith(b"Error")] == []
        assert told.returncode == 0


def test_biplane_measures_know_their_images():
    volumes = {"ejection_fraction_percent": 50.0, "ed_volume_ml": np.nan, "es_volume_ml": 40.0}
    ed, es = [("a", 0), ("b", 1)], [("a", 5), ("b", 7)]
    found = {
        m.concept.value: (m.value, m.images) for m in sending.biplane_measures(volumes, ed, es)
    }
    assert found == {"79991-6": (50, (*ed, *es)), "80001-1": (40, tuple(es))}


def every_code():
    for value in vars(codes).values():
        several = value.values() if isinstance(value, dict) else [value]
        yield from (item for item in several if isinstance(item, codes.Code))
    for level in LEVELS:
        yield from (codes.segment(f"{level} {wall}") for walls in WALLS.values() for wall in walls)


def test_every_code_is_one_of_the_standard():
    """By the code lists of PS3.16 that pydicom carries. The ejection fraction by whatever made the
    images is in none of them, but LOINC's; units are UCUM's grammar, languages RFC 5646's."""
    checked = [code for code in every_code() if code.scheme in ("SCT", "LN", "DCM")]
    for code in checked:
        meanings = {
            meaning.lower()
            for by_value in concepts[code.scheme].values()
            for value, (meaning, _) in by_value.items()
            if value == code.value
        }
        assert code.meaning.lower() in meanings or code.value == "10230-1", code
    assert len({code.value for code in checked}) == len(checked)  # no two have one
    assert codes.segment("segment 3").scheme == "99JSSM"
