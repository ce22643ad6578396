"""``jssm predict`` on made-up files with a model of random weights: every file is read again."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jax
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

import jssm
from jssm import __main__ as command
from jssm import files
from jssm.cines import segmenting
from jssm.cines.result import Result
from jssm.pictures import movies
from jssm.shape import affine
from tests import dicom_files, predicting
from tests.leaks import leaks
from tests.predicting import BATCH_SIZE, FRAMES


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    with predicting.shared_programs():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_model):
    return predicting.write_run(tmp_path_factory.mktemp("runs") / "tiny", small_model)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return predicting.write_scans(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def done(run, scans, tmp_path_factory):
    """The exit status, the output folder, and the folders of the cines by view."""
    out = tmp_path_factory.mktemp("out")
    arguments = ["predict", str(scans), "--batch-size", str(BATCH_SIZE)]
    status = command.main([*arguments, "--ckpt", str(run), "--out", str(out)])
    return status, out, {p.name.split("_")[1]: p for p in out.iterdir() if p.is_dir()}


@pytest.fixture(scope="module")
def cine(scans):
    """The 4ch cine as it is read."""
    found, _ = files.open_cines(scans / "Doe^Jane")
    return found[0].load()


@pytest.fixture(scope="module")
def expected(small_model, cine):
    """What ``jssm.predict_cine`` says of the 4ch cine."""
    frames, aspect = cine.frames.astype(np.float32), affine.aspect_of(cine.spacing_mm)
    return jax.tree.map(np.asarray, jssm.predict_cine(small_model, frames, aspect=aspect))


def test_good_cines_are_written_and_damage_is_told_by_the_status(done):
    status, out, folders = done
    assert status == 1
    assert sorted(folders) == ["2ch", "4ch"]
    assert {p.name for p in out.iterdir()} - {p.name for p in folders.values()} == {
        "cines.csv",
        "biplane.csv",
        f"biplane_{folders['2ch'].name}_{folders['4ch'].name}.sr.dcm",
        f"{folders['4ch'].name.split('_')[0]}_report.html",
    }
    assert {p.name for p in folders["4ch"].iterdir()} == {
        *("mask.nii.gz", "mask.seg.dcm", "points.csv", "points.json", "points.pvd", "vtk"),
        *("overlay.mp4", "curves.png", "curves.csv", "thickness.csv"),
        *("report.sr.dcm", "report.json", "summary.json"),
    }


def test_nothing_written_tells_who_the_patient_is(done):
    _, out, _ = done
    words = [*dicom_files.SECRETS, "Doe", "ACC-4711", "20200102", "Secret Hospital"]
    assert leaks(out, words) == []


def test_names_are_kept_where_asked(run, scans, tmp_path):
    arguments = ["predict", str(scans / "b" / "IM-0001.dcm"), "--keep-names"]
    assert command.main([*arguments, "--ckpt", str(run), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*/mask.seg.dcm")
    segmentation = pydicom.dcmread(path)
    assert str(segmentation.PatientName) == dicom_files.SECRETS[0]
    assert segmentation.AccessionNumber == "ACC-4711"


def test_the_mask_comes_back_on_the_pixels_of_the_source(done, cine, expected):
    import nibabel as nib

    mask = nib.load(done[2]["4ch"] / "mask.nii.gz")
    np.testing.assert_allclose(mask.affine, files.nifti_affine(cine), atol=1e-4)
    stored = np.asarray(mask.dataobj)[:, :, 0].transpose(2, 1, 0)
    assert set(np.unique(stored)) == {0, 1}
    np.testing.assert_array_equal(stored == 1, expected.mask > 0.5)


def test_the_dicom_segmentation_refers_to_its_sources(done, cine, expected):
    import highdicom as hd

    segmentation = hd.seg.segread(done[2]["4ch"] / "mask.seg.dcm")
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path, _ in cine.sources]
    pixels = segmentation.get_pixels_by_source_instance([h.SOPInstanceUID for h in headers])
    np.testing.assert_array_equal(pixels[..., 0] == 1, expected.mask > 0.5)
    assert segmentation.StudyInstanceUID == headers[0].StudyInstanceUID
    assert segmentation.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert segmentation.SeriesInstanceUID != headers[0].SeriesInstanceUID
    for k, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        assert groups.FrameContentSequence[0].TemporalPositionIndex == k + 1
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(position, cine.to_patient_mm[:, 2], atol=1e-5)


def test_an_enhanced_object_gives_a_segmentation_of_its_frames(tmp_path, small_model):
    import highdicom as hd

    data = dicom_files.enhanced()
    data.FrameOfReferenceUID = "1.2.9"
    shared = data.SharedFunctionalGroupsSequence[0]
    assert "PlaneOrientationSequence" in shared
    path = dicom_files.save(tmp_path / "a.dcm", data)
    found, _ = files.open_cines(path)
    cine = found[1].load()
    masks = np.random.default_rng(0).random(cine.frames.shape) > 0.5
    from jssm.files.segmentation import write_segmentation

    out = tmp_path / "a.seg.dcm"
    write_segmentation(out, masks, cine, patient="p", model="m", version="1")
    segmentation = hd.seg.segread(out)
    numbers = [number + 1 for _, number in cine.sources]
    pixels = segmentation.get_pixels_by_source_frame(data.SOPInstanceUID, numbers)
    np.testing.assert_array_equal(pixels[..., 0] == 1, masks)


def test_points_agree_in_all_formats(done, cine, expected):
    folder = done[2]["4ch"]
    table = pd.read_csv(folder / "points.csv")
    nested = json.loads((folder / "points.json").read_text())
    points = np.array(nested["points_px"])
    np.testing.assert_allclose(points, expected.points, atol=2e-3)
    np.testing.assert_allclose(table[["x_px", "y_px"]], points.reshape(-1, 2), atol=2e-3)
    places = files.patient_mm(cine, expected.points)
    np.testing.assert_allclose(nested["points_patient_mm"], places, atol=5e-3)
    axes = ["left_mm", "posterior_mm", "superior_mm"]
    np.testing.assert_allclose(table[axes], places.reshape(-1, 3), atol=5e-3)
    assert table["wall"].tolist() == (["endo"] * 4 + ["epi"] * 4) * FRAMES
    np.testing.assert_allclose(nested["time_s"], cine.time_s)
    for k, path in enumerate(sorted((folder / "vtk").iterdir())):
        piece = ET.parse(path).find("PolyData/Piece")
        values = np.array(piece.find("Points/DataArray").text.split(), float).reshape(-1, 3)
        np.testing.assert_allclose(values, places[k], rtol=1e-5, atol=1e-3)
    listed = ET.parse(folder / "points.pvd").findall("Collection/DataSet")
    assert [(folder / item.get("file")).is_file() for item in listed] == [True] * FRAMES
    np.testing.assert_allclose([float(i.get("timestep")) for i in listed], cine.time_s)


def test_vtk_itself_reads_the_polydata(done, cine, expected):
    vtk = pytest.importorskip("vtk")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(done[2]["4ch"] / "vtk" / "frame_01.vtp"))
    reader.Update()
    data = reader.GetOutput()
    places = [data.GetPoint(k) for k in range(data.GetNumberOfPoints())]
    np.testing.assert_allclose(places, files.patient_mm(cine, expected.points[1]), atol=1e-3)
    assert (data.GetNumberOfLines(), data.GetNumberOfPolys()) == (2, 6)
    fields = data.GetPointData()
    names = [fields.GetArrayName(k) for k in range(fields.GetNumberOfArrays())]
    assert names == ["point", "is_epi", "displacement", "wall_thickness"]


def test_the_summary_holds_the_numbers_of_the_motion(done, cine, expected):
    folder = done[2]["4ch"]
    summary = json.loads((folder / "summary.json").read_text())
    motion = jssm.measure_motion(
        expected.points, spacing_mm=cine.spacing_mm, frame_time_s=files.frame_time_s(cine)
    )
    assert summary["ef_percent"] == pytest.approx(float(motion.ejection_fraction_percent), rel=1e-3)
    assert summary["gls_endo_percent"] == pytest.approx(float(motion.endo.gls_percent), rel=1e-3)
    assert (summary["ed_frame"], summary["es_frame"]) == (
        int(motion.ed_frame),
        int(motion.es_frame),
    )
    assert summary["model_run"] == "tiny"
    assert [s["name"] for s in summary["segments"]] == list(
        jssm.segment_names("4ch", mirrored=summary["display_mirrored"])
    )
    curves = pd.read_csv(folder / "curves.csv")
    np.testing.assert_allclose(curves["volume_ml"], motion.volume_ml, rtol=1e-3)
    thickness = pd.read_csv(folder / "thickness.csv")
    np.testing.assert_allclose(thickness.iloc[:, 2:], motion.wall_thickness_mm, rtol=1e-3)


def test_every_key_of_a_summary_is_documented(done):
    summary = json.loads((done[2]["4ch"] / "summary.json").read_text())
    text = (Path(__file__).parents[1] / "docs/PREDICT.md").read_text()
    assert [key for key in (*summary, *summary["segments"][0]) if f"`{key}`" not in text] == []


def test_the_tables_list_all_cines_and_the_pair(done):
    _, out, folders = done
    with (out / "cines.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == sorted(path.name for path in folders.values())
    pairs = pd.read_csv(out / "biplane.csv")
    assert pairs["cine_2ch"].tolist() == [folders["2ch"].name]
    assert np.isfinite(pairs["ed_volume_ml"]).all()


def test_the_reports_hold_the_numbers_of_the_tables(done):
    import highdicom as hd

    def values(path):
        (group,) = hd.sr.srread(path).content.get_image_measurement_groups()
        return [item[0].value for item in group.get_measurements()]

    _, out, folders = done
    (path,) = out.glob("biplane_*.sr.dcm")
    row = pd.read_csv(out / "biplane.csv").iloc[0]
    columns = ["ejection_fraction_percent", "ed_volume_ml", "es_volume_ml"]
    assert values(path) == pytest.approx(row[columns].tolist(), rel=1e-4)
    summary = json.loads((folders["4ch"] / "summary.json").read_text())
    names = ["ef_percent", "ed_volume_ml", "es_volume_ml"]
    names += [f"gls_{line}_percent" for line in ("endo", "mid", "epi")]
    expected = [summary[name] for name in names]
    expected += [segment["mid_strain_peak_percent"] for segment in summary["segments"]]
    assert values(folders["4ch"] / "report.sr.dcm") == pytest.approx(expected, rel=1e-4)


def test_pairs_are_of_one_examination(run, tmp_path, capsys):
    for name, view, study in (("a", "2ch", "1.1"), ("b", "4ch", "1.2")):
        dicom_files.write_cine(
            tmp_path / name, view=view, series=f"{study}.1", study=study, frames=FRAMES
        )
    arguments = ["predict", str(tmp_path), "--ckpt", str(run), "--out", str(tmp_path / "out")]
    for turn in range(2):  # the results of the first are no input of the second
        assert command.main(arguments) == 0
        assert len(pd.read_csv(tmp_path / "out" / "cines.csv")) == 2
        assert not (tmp_path / "out" / "biplane.csv").exists()
        told = capsys.readouterr().out
        assert "no biplane volumes, as its 2ch and 4ch cines are of different exam" in told, turn
        assert ("a folder of results, not of images" in told) == (turn == 1)


@pytest.mark.parametrize("blank", [[2], [0, 1, 3]])
def test_frames_in_which_nothing_is_to_be_seen_are_refused(run, tmp_path, blank):
    """And where too few are left, nothing is measured."""
    import nibabel as nib

    frames = np.random.default_rng(0).integers(0, 99, (FRAMES, 24, 32))
    frames[blank] = 7
    array = frames.transpose(2, 1, 0)[:, :, None].astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([-1.4, -1.4, 8, 1])), tmp_path / "a_4ch.nii")
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "a_4ch.nii"), "--ckpt", str(run), "--out", str(out)]
    assert command.main(arguments) == 0
    summary = json.loads((out / "a_4ch" / "summary.json").read_text())
    for name in ("ef_percent", "ed_volume_ml", "ed_frame", "gls_endo_percent"):
        assert (summary[name] is None) == (len(blank) > 1), name
    assert summary["refused_frames"] == blank
    assert summary["used"] == [k not in blank for k in range(FRAMES)]
    curves = pd.read_csv(out / "a_4ch" / "curves.csv")
    assert curves["strain_mid_percent"].isna().tolist() == (
        [k in blank or len(blank) > 1 for k in range(FRAMES)]
    )
    assert ("too few frames are left: nothing is measured" in summary["warnings"]) == (
        len(blank) > 1
    )
    assert f"{len(blank)} of 4 frames are refused" in str(summary["warnings"])
    assert any("which no cine of a heart has" in warning for warning in summary["warnings"])


def test_the_movies_have_every_frame(done):
    import av

    folder = done[2]["4ch"]
    with av.open(str(folder / "overlay.mp4")) as movie:
        pictures = [f.to_ndarray(format="rgb24") for f in movie.decode(video=0)]
    assert len(pictures) == 76  # at least three seconds at 25 per second, in whole cycles
    np.testing.assert_array_equal(pictures[0], pictures[FRAMES])
    with Image.open(folder / "curves.png") as picture:
        assert picture.size == (800, 512)


def test_the_overlay_lies_where_the_points_are():
    """A bright pixel under a point is under it in the picture too, whatever the pixels' aspect."""
    frames = np.zeros((1, 40, 60), np.float32)
    frames[0, 30, 20] = 100
    points = np.array([[[10.0, 10], [15, 30], [20, 10], [8, 8], [20, 30], [22, 8]]])
    for aspect in (1.0, 1.5):
        (bare,) = movies.draw(frames, np.full((1, 4, 2), np.nan), aspect=aspect)
        bright = np.argwhere(np.asarray(bare) == np.asarray(bare)[: movies.SIDE_PX].max())
        row, column = bright.mean(axis=0)
        scale = movies.SIDE_PX / max(40 * aspect, 60)
        assert column == pytest.approx((20 + 0.5) * scale - 0.5, abs=0.6)
        assert row == pytest.approx((30 * aspect + 0.5) * scale - 0.5, abs=0.6 + aspect)
    (drawn,) = movies.draw(frames, points)
    assert (np.asarray(drawn) >= movies.GREYS).sum() > 100


def test_pictures_without_geometry(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(dicom_files.picture(1).astype(np.uint8)).save(folder / "heart_4ch.png")
    (folder / "other.png").write_text("no picture")
    out = tmp_path / "out"
    assert command.main(["predict", str(folder), "--ckpt", str(run), "--out", str(out)]) == 1
    written = {p.name for p in (out / "heart_4ch").iterdir()}
    assert written == {
        *("mask.nii.gz", "points.csv", "points.json", "points.pvd", "vtk", "overlay.png"),
        *("report.json", "summary.json"),
    }
    summary = json.loads((out / "heart_4ch" / "summary.json").read_text())
    assert summary["row_mm"] is None
    assert "ef_percent" not in summary


def test_a_mirrored_plane_exchanges_the_walls(cine, expected):
    segmented = segmenting.Segmented(
        expected.points, expected.mask > 0.5, expected.integrity, motion=None, poses=None,
        confidence=np.full(FRAMES, np.nan), used=np.ones(FRAMES, bool),
    )  # fmt: skip
    found = files.Found("a", "p", (), "a.nii", load=lambda: cine, view="4ch")
    result = Result(found, cine, segmented)
    there = result.mirrored
    flip = cine.to_patient_mm * [-1, 1, 1] + cine.to_patient_mm[:, :1] * [0, 0, 31]
    assert replace(result, cine=replace(cine, to_patient_mm=flip)).mirrored is (not there)
    assert replace(result, cine=replace(cine, to_patient_mm=None)).mirrored is None
