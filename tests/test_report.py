"""Reports without a browser: what pages hold, and what is measured of the points that they save."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest

from jssm import __main__ as command
from jssm.cines import measuring
from jssm.cines.result import NAMES
from jssm.cines.summary import still_doubtful
from jssm.report import page, record
from tests import dicom_files, studies
from tests.leaks import leaks

WEB = sorted(page.WEB.glob("*.js"))
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
IMPORTED = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";$', re.MULTILINE)


@pytest.fixture(scope="module")
def study(tmp_path_factory, small_shape):
    return studies.write_study(tmp_path_factory.mktemp("study"), small_shape, chosen=NAMES)


@pytest.fixture(scope="module")
def content(study):
    return record.read(next(study.glob("*_4ch_*/report.json")))


def corrected(content, shape):
    """A record as a page saves it, with a frame that a reader moved by 2 px."""
    theta = np.array(content["theta"])
    theta[2, :, 2] += 2
    moved = [{"frame": 2, "point": 0, "x_px": 1.0, "y_px": 2.0}]
    return {**content, "theta": theta.tolist(), "corrections": moved}


def test_a_page_holds_all_and_asks_for_nothing(study):
    (path,) = study.glob("*_report.html")
    text = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [len(cine["frames"]) for cine in data["cines"]] == [studies.FRAMES] * 2
    assert len(data["shapes"]) == 1
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert len(text) - len(json.dumps(data)) < 250_000
    assert (
        "import " not in re.sub(r"//.*", "", text.split('type="module">')[1]).split("function")[0]
    )


def test_names_of_modules_do_not_collide():
    names = [name for path in WEB for name in DECLARED.findall(path.read_text())]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", WEB, ids=lambda path: path.name)
def test_modules_import_what_is_there_and_export_what_is_used(path):
    text, others = path.read_text(), {p.stem: p.read_text() for p in WEB if p != path}
    for names, module in IMPORTED.findall(text):
        wanted = {name.strip() for name in names.split(",") if name.strip()}
        assert wanted <= set(EXPORTED.findall(others[module]))
        for name in wanted:
            assert len(re.findall(rf"\b{name}\b", text)) > 1, name
    imported = {n.strip() for other in others.values() for names, module in IMPORTED.findall(other)
                if module == path.stem for n in names.split(",")}  # fmt: skip
    assert set(EXPORTED.findall(text)) <= imported
    for pattern in (r"\bvar ", r"[^=!]==[^=]", r"innerHTML", r"\beval\(", r"console\.", r"\t"):
        assert not re.search(pattern, text), pattern
    assert max(map(len, text.splitlines())) <= 100


def test_a_record_gives_the_same_measures_again(study, content, tmp_path):
    summary = measuring.measure(content, tmp_path, tmp_path / "headers")
    before = json.loads((study / content["id"] / "summary.json").read_text())
    told = {"corrected", "jssm_version"}
    trusted = [segment["strain_trusted"] for segment in summary["segments"]]
    assert trusted == [k != studies.DOUBTED for k in range(6)]
    assert any("may be off by more than 5" in sentence for sentence in summary["warnings"])
    for key in before.keys() - told - {"segments"}:
        is_number = isinstance(before[key], float)
        expected = pytest.approx(before[key], rel=1e-4) if is_number else before[key]
        assert summary[key] == expected, key
    assert summary["corrected"] is False
    written = {p.name for p in (study / content["id"]).iterdir()}
    assert {p.name for p in (tmp_path / content["id"]).iterdir()} == written
    assert "mask.seg.dcm" in written
    again = record.read(tmp_path / content["id"] / record.NAME)
    assert again["frames"] == content["frames"]
    np.testing.assert_allclose(again["theta"], content["theta"], rtol=1e-6)


def test_corrected_points_give_all_outputs_anew(study, content, small_shape, tmp_path):
    import nibabel as nib

    saved = tmp_path / "points.json"
    saved.write_text(json.dumps(corrected(content, small_shape)))
    out = shutil.copytree(study, tmp_path / "out")
    assert command.main(["measure", str(saved), "--out", str(out)]) == 0
    folder = out / content["id"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["corrected"] is True
    points = json.loads((folder / "points.json").read_text())["points_px"]
    old = json.loads((study / content["id"] / "points.json").read_text())["points_px"]
    moved = np.array(points) - np.array(old)
    np.testing.assert_allclose(moved[2], 2, atol=2e-3)
    np.testing.assert_allclose(np.delete(moved, 2, axis=0), 0, atol=2e-3)
    masks = [nib.load(d / content["id"] / "mask.nii.gz") for d in (out, study)]
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-5)
    arrays = [np.asarray(mask.dataobj)[:, :, 0] for mask in masks]
    np.testing.assert_array_equal(arrays[0][2:, 2:, 2], arrays[1][:-2, :-2, 2])
    for where, kind in ((out, "SEMIAUTOMATIC"), (study, "AUTOMATIC")):
        segmentation = pydicom.dcmread(where / content["id"] / "mask.seg.dcm")
        assert segmentation.SegmentSequence[0].SegmentAlgorithmType == kind
    (page_path,) = out.glob("*_report.html")
    assert "corrected" in page_path.read_text()
    table = pd.read_csv(out / "cines.csv").set_index("id")
    assert len(table) == 2
    assert table["ef_percent"][content["id"]] == summary["ef_percent"]
    (pair,) = pd.read_csv(out / "biplane.csv").to_dict("records")
    assert pair["cine_4ch"] == content["id"]
    assert pair["ed_volume_ml"] > pair["es_volume_ml"] > 0
    assert len(list(out.glob("biplane_*.sr.dcm"))) == 1
    assert leaks(out, dicom_files.SECRETS) == []


def test_a_refused_frame_that_was_corrected_is_used(content, small_shape, tmp_path):
    refused = {**content, "used": [frame not in (1, 2) for frame in range(studies.FRAMES)]}
    found = measuring.result_of(corrected(refused, small_shape), tmp_path)  # in frame 2
    assert np.flatnonzero(~found.segmented.used).tolist() == [1]
    assert np.flatnonzero(np.isnan(found.motion.volume_ml)).tolist() == [1]


def test_a_segment_is_doubted_until_both_frames_of_its_strain_are_corrected(content, tmp_path):
    moved = [{"frame": frame, "point": 0, "x_px": 1.0, "y_px": 2.0} for frame in (0, 3)]
    found = measuring.result_of({**content, "corrections": moved}, tmp_path)
    motion, doubtful = found.motion, np.arange(6) == studies.DOUBTED
    peaks = np.argmin(motion.mid.segment_strain_percent, axis=0)
    assert (motion.ed_frame, peaks[studies.DOUBTED]) == (0, 3)
    assert not found.segmented.doubted.any()
    assert not any("may be off" in sentence for sentence in found.warnings)
    for frames in ({0}, {3}, {1, 2}, set()):
        np.testing.assert_array_equal(still_doubtful(doubtful, motion, frames), doubtful)
    np.testing.assert_array_equal(still_doubtful(doubtful, None, {0, 3}), doubtful)


def test_a_record_of_an_older_version_tells_neither_doubts_nor_triggers(content, tmp_path):
    older = {key: content[key] for key in content.keys() - {"doubtful", "from_trigger_s"}}
    found = measuring.result_of(older, tmp_path)
    assert found.segmented.doubted is None
    assert np.isnan(found.cine.from_trigger_s).all()
    assert content["from_trigger_s"] == pytest.approx([0.04 * k for k in range(studies.FRAMES)])


def test_points_of_which_the_model_tells_nothing_may_be_off_by_a_part_of_the_shape():
    theta = np.array([[[10.0, 0, 3], [0, 10, 4]], [[0, -20, 5], [5, 0, 6]]])
    near = record.near_px(theta, np.array([[np.nan, 2.0], [np.nan, 0.5]]))
    np.testing.assert_allclose(near, [[0.6, 2.0], [0.6, 0.5]])


def test_what_is_no_saved_report_is_told(tmp_path, content, capsys):
    bad = {"a.json": "no json", "b.json": json.dumps({**content, "format": 99}), "c.json": "[]"}
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
        arguments = ["measure", str(tmp_path / name), "--out", str(tmp_path / "out")]
        assert command.main(arguments) == 2
        assert f"{name}: not what a report" in capsys.readouterr().err
    spoilt = {**content, "theta": content["theta"][1:]}
    (tmp_path / "d.json").write_text(json.dumps(spoilt))
    assert command.main(["measure", str(tmp_path / "d.json"), "--out", str(tmp_path / "o")]) == 2
    assert "do not belong to its frames" in capsys.readouterr().err
    assert command.main(["report", str(tmp_path)]) == 1
    assert "no results of jssm predict" in capsys.readouterr().err


def test_pages_are_written_again_from_the_results(study, capsys):
    (path,) = study.glob("*_report.html")
    before = path.read_text()
    path.unlink()
    assert command.main(["report", str(study)]) == 0
    assert path.read_text() == before
    assert str(path) in capsys.readouterr().out


def test_frames_come_back_from_jpegs():
    frames = np.random.default_rng(0).integers(0, 9, (2, 16, 16)).cumsum(axis=2) * 40
    back = record.from_jpegs(record.jpegs(frames))
    low, high = np.percentile(frames, [0.5, 99.5])
    expected = np.clip((frames - low) * 255 / (high - low), 0, 255)
    assert np.abs(back - expected).mean() < 5


def test_enhanced_groups_keep_no_dates():
    from pydicom import Dataset

    header, groups, content = Dataset(), Dataset(), Dataset()
    content.FrameAcquisitionDateTime = "20200102"
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [Dataset()]
    header.PerFrameFunctionalGroupsSequence = [groups]
    record._spare(header)
    assert [element.keyword for element in groups] == ["PlanePositionSequence"]
