"""What is a cine among a scanner's objects, and frames that must not get lost."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from jssm import files
from tests import dicom_files
from tests.dicom_files import dataset, enhanced, picture, save, write_cine
from tests.test_files_dicom import opened

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LOOP = "1.2.840.10008.5.1.4.1.1.3.1"


def sequence(**fields):
    item = Dataset()
    for keyword, value in fields.items():
        setattr(item, keyword, value)
    return pydicom.Sequence([item])


def of_class(uid):
    def change(data, number):
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid

    return change


def fields(**values):
    def change(data, number):
        for keyword, value in values.items():
            setattr(data, keyword, value)

    return change


def in_ge_block(value):
    def change(data, number):
        data.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", value)

    return change


def in_units(code):
    units = sequence(CodeValue=code, CodingSchemeDesignator="UCUM", CodeMeaning=code)
    return fields(RealWorldValueMappingSequence=sequence(MeasurementUnitsCodeSequence=units))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (of_class("1.2.840.10008.5.1.4.1.1.66.4"), "no image, but Segmentation Storage"),
        (of_class("1.2.840.10008.5.1.4.1.1.66.7"), "no image, but a segmentation"),
        (of_class("1.2.840.10008.5.1.4.1.1.30"), "no image, but Parametric Map Storage"),
        (of_class("1.2.840.10008.5.1.4.1.1.481.2"), "no image, but RT Dose Storage"),
        (of_class("1.2.840.10008.5.1.4.1.1.67"), "no image, but Real World Value Mapping Storage"),
        (
            of_class("1.2.840.10008.5.1.4.1.1.11.1"),
            "no image, but Grayscale Softcopy Presentation State Storage",
        ),
        (of_class(CAPTURE), "no cine, but Secondary Capture Image Storage"),
        (of_class("1.2.840.10008.5.1.4.1.1.20"), "no cine, but Nuclear Medicine Image Storage"),
        (fields(SOPClassUID="", Modality="SEG"), "no image, but an object of the modality SEG"),
        (fields(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "no cine, but phase images"),
        (fields(ImageType=["ORIGINAL", "PRIMARY", "PHASE MAP", "P"]), "no cine, but phase images"),
        (fields(ComplexImageComponent="PHASE"), "no cine, but phase images"),
        (in_ge_block(1), "no cine, but phase images"),
        (in_ge_block(3), "no cine, but images of an imaginary part"),
        (fields(ImageType=["ORIGINAL", "PRIMARY", "R"]), "no cine, but images of a real part"),
        (fields(ImageType=["DERIVED", "PRIMARY", "M", "T1 MAP"]), "no cine, but derived maps"),
        (fields(ImageType=["DERIVED", "PRIMARY", "ADC"]), "no cine, but derived maps"),
        (fields(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "no cine, but localizers"),
        (in_units("ms"), "no cine, but maps of values in ms"),
        (fields(RescaleType="cm/s"), "no cine, but maps of values in cm/s"),
    ],
)  # fmt: skip
def test_what_is_no_cine_is_passed_over_and_told(tmp_path, change, told):
    write_cine(tmp_path / "cine")
    write_cine(tmp_path / "other", series="1.2.4", change=change)
    (found,), damaged, skipped = opened(tmp_path)
    assert found.source == "cine/IM-0001.dcm"
    assert damaged == []
    assert skipped == [f"other/IM-000{n}.dcm: {told}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "change",
    [
        fields(ImageType=["DERIVED", "PRIMARY", "M", "RETRO", "DIS2D"]),
        fields(ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]),
        fields(ImageType="ORIGINAL"),
        fields(ComplexImageComponent="MAGNITUDE"),
        in_ge_block(0),
        in_units("1"),
        fields(RescaleType="US"),
        of_class("1.3.46.670589.11.0.0.12.1"),
    ],
)
def test_grey_pictures_stay_cines(tmp_path, change):
    write_cine(tmp_path, change=change)
    (found,), damaged, skipped = opened(tmp_path)
    assert (damaged, skipped) == ([], [])
    assert len(found.paths) == 3


def test_the_segmentation_of_a_cine_beside_it_is_no_cine(tmp_path):
    from jssm.files.segmentation import write_segmentation

    write_cine(tmp_path, change=fields(FrameOfReferenceUID="1.2.9"))
    cine = opened(tmp_path)[0][0].load()
    masks = cine.frames > 300
    write_segmentation(tmp_path / "a.dcm", masks, cine, patient="p", model="m", version="1")
    (found,), _, skipped = opened(tmp_path)
    assert found.load().frames.max() > 1
    assert skipped == ["a.dcm: no image, but Segmentation Storage"]


def test_results_and_label_maps_in_a_folder_are_no_cines(tmp_path):
    import nibabel as nib

    (tmp_path / "out").mkdir()
    for name in ("summary.json", "points.json", "mask.nii.gz"):
        (tmp_path / "out" / name).touch()
    for name, intent in (("image", "none"), ("labels", "label")):
        file = nib.Nifti1Image(np.eye(9)[..., None].astype(np.uint8), np.diag([1.4, 1.4, 8, 1]))
        file.header.set_intent(intent)
        nib.save(file, tmp_path / f"{name}.nii")
    (found,), damaged, skipped = opened(tmp_path)
    assert found.name == "image"
    assert found.load().notes == ("its pixels have 2 different values: is it a label map?",)
    assert damaged == []
    assert skipped == [
        "out: a folder of results, not of images",
        "labels.nii: no image, but a label map",
    ]


def loop(number, frames, **values):
    """A file that holds a loop, as echocardiography writes them."""
    data = dataset(number, view="other")
    of_class(LOOP)(data, number)
    for keyword in ("ImagePositionPatient", "TriggerTime", "SeriesDescription", "PixelSpacing"):
        delattr(data, keyword)
    data.NumberOfFrames, data.Modality, data.FrameTime = len(frames), "US", 20.0
    data.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
    data.PixelData = np.stack(frames).tobytes()
    fields(**values)(data, number)
    return data


def test_loops_of_one_series_are_a_cine_each_with_a_view_of_its_own(tmp_path):
    for number, view in ((1, "A4C"), (2, "AP2"), (3, "Subcostal 4C")):
        frames = [picture(10 * number + k) for k in range(3)]
        save(tmp_path / f"{number}.dcm", loop(number, frames, ViewName=view))
    found, damaged, skipped = opened(tmp_path)
    assert (damaged, skipped) == ([], [])
    assert len({f.name for f in found}) == 3
    by_file = {f.source: f for f in found}
    assert [by_file[f"{n}.dcm"].view for n in (1, 2, 3)] == ["4ch", "2ch", "other"]
    cine = by_file["2.dcm"].load()
    np.testing.assert_array_equal(cine.frames, [picture(20 + k) for k in range(3)])
    np.testing.assert_allclose(cine.time_s, [0, 0.02, 0.04])


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 1),
        ({"SOPClassUID": f"{CAPTURE}.2"}, 1),  # a movie that was captured
        ({"SOPClassUID": f"{CAPTURE}.2", "FrameTime": None}, 0),  # pages
        ({"FrameIncrementPointer": 0x00181063}, 1),
        ({"FrameIncrementPointer": 0x00182001}, 0),  # pages
    ],
)
def test_a_captured_movie_is_a_cine_and_pages_are_not(tmp_path, values, count):
    data = loop(1, [picture(k) for k in range(3)], **values)
    save(tmp_path / "a.dcm", data)
    found, damaged, skipped = opened(tmp_path)
    assert damaged == []
    assert (len(found), len(skipped)) == (count, 1 - count)


def test_of_one_enhanced_object_the_phase_frames_are_left_out(tmp_path):
    data = enhanced(phases=4, slices=1)
    for k, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        component = "PHASE" if k % 2 == 0 else "MAGNITUDE"
        groups.MRImageFrameTypeSequence = sequence(
            FrameType=["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"], ComplexImageComponent=component
        )
    save(tmp_path / "a.dcm", data)
    (found,), damaged, skipped = opened(tmp_path)
    assert damaged == []
    assert skipped == ["a.dcm: 2 of its 4 frames are no cine, but phase images"]
    np.testing.assert_allclose(found.load().frames, [2.0 * picture(p) - 1 for p in (0, 2)])


@pytest.mark.parametrize("alternating", [True, False])
def test_two_pictures_at_each_time_are_two_cines(tmp_path, alternating):
    def change(data, number):
        turn = (number - 1) // 2 if alternating else (number - 1) % 3
        data.ImageType, data.TriggerTime = ["ORIGINAL", "PRIMARY", "OTHER"], 40.0 * turn

    write_cine(tmp_path, frames=6, change=change)
    found, damaged, _ = opened(tmp_path)
    assert damaged == []
    assert all("2 pictures at each time" in f.notes[0] for f in found)
    expected = [(1, 3, 5), (2, 4, 6)] if alternating else [(1, 2, 3), (4, 5, 6)]
    shown = sorted(f.load().frames.tolist() for f in found)
    assert shown == [[picture(n).tolist() for n in numbers] for numbers in expected]


@pytest.mark.parametrize(("index", "delay"), [(None, None), (1, None), ("own", None), (1, 40.0)])
def test_enhanced_objects_of_one_frame_each_are_one_cine(tmp_path, index, delay):
    for number in (1, 2, 3):
        data = enhanced(phases=1, slices=1)
        data.InstanceNumber, data.SOPInstanceUID = number, f"1.2.3.{number}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.PixelData = picture(number).tobytes()
        (groups,) = data.PerFrameFunctionalGroupsSequence
        del groups.FrameContentSequence, groups.CardiacSynchronizationSequence
        if index is not None:
            turn = 4 - number if index == "own" else index
            groups.FrameContentSequence = sequence(TemporalPositionIndex=turn)
        if delay is not None:
            groups.CardiacSynchronizationSequence = sequence(
                ActualCardiacTriggerDelayTime=delay * number
            )
        save(tmp_path / f"{number}.dcm", data)
    (found,), damaged, skipped = opened(tmp_path)
    assert (damaged, skipped) == ([], [])
    cine = found.load()
    numbers = (3, 2, 1) if index == "own" else (1, 2, 3)
    np.testing.assert_allclose(cine.frames, [2.0 * picture(n) - 1 for n in numbers])
    assert np.isfinite(cine.time_s).all() == (delay is not None)


def test_a_multiframe_object_without_delays_keeps_its_frames(tmp_path):
    data = enhanced(phases=4, slices=1)
    for groups in data.PerFrameFunctionalGroupsSequence:
        del groups.CardiacSynchronizationSequence
        groups.FrameContentSequence[0].TemporalPositionIndex = 1
        groups.PlaneOrientationSequence = sequence(ImageOrientationPatient=None)  # shared has it
    save(tmp_path / "a.dcm", data)
    (found,), damaged, _ = opened(tmp_path)
    assert damaged == []
    assert found.load().frames.shape == (4, 24, 32)
    assert found.seen == "sax"


NO_TIME = {"TriggerTime": None}


@pytest.mark.parametrize(
    ("own", "order", "noted"),
    [
        (lambda n: {**NO_TIME, "StudyInstanceUID": f"1.2.{n}"}, (1, 2, 3), False),
        (lambda n: {**NO_TIME, "SeriesInstanceUID": f"1.2.{n}"}, (1, 2, 3), False),
        (lambda n: {**NO_TIME, "InstanceNumber": n - 1}, (1, 2, 3), False),
        (lambda n: {**NO_TIME, "InstanceNumber": 3 - n}, (3, 2, 1), False),
        (lambda n: {**NO_TIME, "InstanceNumber": None}, (1, 2, 3), True),
        (lambda n: {**NO_TIME, "InstanceNumber": 1}, (1, 2, 3), True),
        (lambda n: {"TriggerTime": 0, "InstanceNumber": 3 - n}, (3, 2, 1), False),
        (lambda n: {"InstanceNumber": None, "TriggerTime": 90 - 30.0 * n}, (3, 2, 1), False),
        (lambda n: {"SOPInstanceUID": "1.2.3.4"}, (1, 2, 3), False),
        (lambda n: {"NumberOfFrames": 0}, (1, 2, 3), False),
        (lambda n: {"ImageOrientationPatient": [0] * 6}, (1, 2, 3), False),
        (lambda n: {"HeartRate": "", "PixelAspectRatio": "", "RescaleSlope": ""}, (1, 2, 3), False),
    ],
)
def test_frames_that_can_be_read_without_a_guess_are_not_lost(tmp_path, own, order, noted):
    def change(data, number):
        fields(**own(number))(data, number)

    # Without a number, the names decide: 10 comes after 9.
    names = {1: "a9.dcm", 2: "a10.dcm", 3: "a11.dcm"}
    for number, name in names.items():
        data = dataset(number)
        change(data, number)
        save(tmp_path / name, data)
    (found,), damaged, skipped = opened(tmp_path)
    assert (damaged, skipped) == ([], [])
    np.testing.assert_array_equal(found.load().frames, [picture(n) for n in order])
    assert any("that of their names" in note for note in found.notes) == noted


def test_planes_without_a_position_are_told_apart_by_their_direction(tmp_path):
    def change(data, number):
        del data.ImagePositionPatient, data.SliceLocation
        data.ImageOrientationPatient = dicom_files.axes_of(["4ch", "sax"][number % 2])

    def with_location(data, number):
        data.SliceLocation = 0
        change(data, number)

    write_cine(tmp_path, frames=4, change=with_location)
    assert [len(f.paths) for f in opened(tmp_path)[0]] == [2, 2]


def test_a_series_of_planes_that_cross_is_a_localizer(tmp_path):
    def change(data, number):
        data.ImageOrientationPatient = dicom_files.axes_of(["2ch", "4ch", "sax"][number % 3])

    write_cine(tmp_path, frames=6, change=change)
    told = "IM-0001.dcm: 6 pictures of planes that cross, no cine, but localizers"
    assert opened(tmp_path) == ([], [], [told])


def colours(kind):
    """An object of grey ultrasound stored in colours, and its grey values."""
    data = dataset(1)
    grey = (picture(1) % 256).astype(np.uint8)
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    if kind.startswith("palette"):
        data.PhotometricInterpretation = "PALETTE COLOR"
        data.PixelData = grey.tobytes()
        table = np.arange(256)[::-1].astype("<u2") * 257
        for k, colour in enumerate(("Red", "Green", "Blue")):
            own = table if kind == "palette, grey" or k == 0 else table // 2
            setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(data, f"{colour}PaletteColorLookupTableData", own.tobytes())
        return data, table[grey]
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if "422" in kind else "YBR_FULL"
    pixels = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], axis=-1)
    if kind == "422":
        pairs = grey.reshape(24, 16, 2)
        pixels = np.concatenate([pairs, np.full_like(pairs, 128)], axis=-1)
    data.PixelData = pixels.tobytes()
    return data, grey


@pytest.mark.parametrize("kind", ["palette, grey", "full", "422", "422, not subsampled"])
def test_grey_values_stored_in_colours_are_read(tmp_path, kind):
    data, grey = colours(kind)
    path = save(tmp_path / "a.dcm", data)
    (found,), damaged, _ = opened(path)
    assert damaged == []
    np.testing.assert_array_equal(found.load().frames[0], grey)


def test_a_palette_of_colours_is_refused(tmp_path):
    path = save(tmp_path / "a.dcm", colours("palette, coloured")[0])
    with pytest.raises(files.BadInput, match=r"a\.dcm: a colour picture"):
        opened(path)[0][0].load()


def test_overlays_in_the_upper_bits_are_not_pixels(tmp_path):
    def change(data, number):
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = (picture(number) % 4096 | 0x8000).astype(np.uint16).tobytes()
        data.add_new(0x60000010, "US", 24)
        data.add_new(0x60000102, "US", 15)

    write_cine(tmp_path, change=change)
    cine = opened(tmp_path)[0][0].load()
    np.testing.assert_array_equal(cine.frames, [picture(n) % 4096 for n in (1, 2, 3)])


def test_people_who_share_an_id_and_studies_are_told_apart(tmp_path):
    def born(data, number):
        data.PatientBirthDate = "19990909"

    write_cine(tmp_path / "a", study="1.1", series="1.1.1", patient="ANONYMOUS")
    write_cine(tmp_path / "b", study="1.2", series="1.2.1", patient="ANONYMOUS", change=born)
    write_cine(tmp_path / "c", study="1.3", series="1.3.1", patient="P7")
    write_cine(tmp_path / "d", study="1.4", series="1.4.1", patient="P7", change=born)
    found = {f.source[0]: f for f in opened(tmp_path)[0]}
    assert found["a"].patient != found["b"].patient
    assert found["c"].patient == found["d"].patient
    assert len({f.study for f in found.values()}) == 4
    shared = "people with other dates of birth have the same patient id"
    assert [shared in found[k].notes for k in "abcd"] == [False, False, True, True]
    nifti = tmp_path / f"{found['c'].name}.nii"
    files.write_nifti(nifti, found["c"].load().frames, found["c"].load())
    (again,), _, _ = opened(nifti)
    assert (again.patient, again.study) == (found["c"].patient, found["c"].study[:4])
