"""``jssm predict`` as a command: what it takes, refuses and chooses, and how it stops."""

import runpy
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jssm import __main__ as command
from jssm import weights
from jssm.cines import one_cine, outputs
from jssm.pictures import movies
from tests import dicom_files, predicting
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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--ckpt", "nowhere"], "nowhere"),
        (["INPUT"], "no such file or folder"),
        (["--smooth", "-1"], "--smooth -1"),
        (["--patient-regex", "p"], "a group"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--outputs", "mask,masks"], "--outputs masks: expected some of mask,seg,"),
        (["--jobs", "-1"], "--jobs -1"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(run, scans, tmp_path, capsys, change, sentence):
    arguments = ["predict", "--ckpt", str(run), "--out", str(tmp_path / "o"), *change]
    assert command.main([*arguments, *([] if change == ["INPUT"] else [str(scans)])]) == 2
    assert sentence in capsys.readouterr().err


def test_an_out_that_is_a_file_is_refused(run, scans, tmp_path, capsys):
    out = tmp_path / "taken"
    out.write_text("")
    assert command.main(["predict", str(scans), "--ckpt", str(run), "--out", str(out)]) == 2
    assert "taken" in capsys.readouterr().err


def test_the_model_is_chosen_by_what_made_the_images(run, scans, tmp_path, capsys, monkeypatch):
    """Without one asked for; files that do not say what made them are passed over."""
    Image.fromarray(dicom_files.picture(1).astype(np.uint8)).save(tmp_path / "picture.png")
    monkeypatch.setattr(weights, "for_modality", {"MR": str(run)}.get)
    out = tmp_path / "out"
    arguments = ["predict", str(scans), str(tmp_path / "picture.png"), "--view", "4ch", "other"]
    assert command.main([*arguments, "--out", str(out)]) == 1  # some files are damaged
    table = pd.read_csv(out / "cines.csv")
    assert table["model_run"].unique().tolist() == ["tiny"]
    assert table["view"].tolist() == ["4ch"]
    told = capsys.readouterr().out
    assert "picture.png: its file tells no modality, so --model or --ckpt has to be given" in told


def test_each_modality_has_its_model():
    assert weights.for_modality("US") == "echo"
    assert weights.for_modality("MR") == "mri"
    assert weights.for_modality("CT") is None


def test_an_empty_folder_gives_nothing(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["predict", str(tmp_path / "empty"), "--ckpt", str(run)]
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "0 cines" in capsys.readouterr().out


def test_the_module_is_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jssm", "predict", "--help"])
    monkeypatch.delitem(sys.modules, "jssm.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("jssm", run_name="__main__")
    assert ended.value.code == 0
    assert "--half-cycle" in capsys.readouterr().out


def test_a_bad_cine_in_the_middle_does_not_stop_the_rest(run, tmp_path, capsys, monkeypatch):
    import nibabel as nib

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c", "d"):
        pixels = np.random.default_rng(ord(name)).integers(0, 99, (32, 24, 1)).astype(np.uint8)
        nib.save(nib.Nifti1Image(pixels, np.eye(4)), folder / f"{name}.nii")
    (folder / "b.nii").write_bytes((folder / "b.nii").read_bytes()[:400])
    real = outputs.write

    def write(target, *arguments, **options):
        if target.name == "c":
            raise OSError(28, "No space left on device")
        return real(target, *arguments, **options)

    monkeypatch.setattr(outputs, "write", write)
    assert command.main(["predict", str(folder), "--ckpt", str(run), "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert "damaged: b.nii: " in told.err
    assert "damaged: c.nii: [Errno 28] No space left on device" in told.err
    assert "2 cines" in told.out
    assert "s per frame in all" in told.out
    assert pd.read_csv(out / "cines.csv")["id"].tolist() == ["a", "d"]


def tables_of(folder):
    """What tells of points and mask, as bytes."""
    return [(folder / name).read_bytes() for name in ("points.csv", "mask.nii.gz", "curves.csv")]


def test_other_processes_write_the_same_and_tell_of_what_they_cannot(
    run, scans, tmp_path_factory, tmp_path, capsys
):
    out = tmp_path_factory.mktemp("out")
    here = ["predict", str(scans), "--batch-size", str(BATCH_SIZE), "--ckpt", str(run)]
    command.main([*here, "--jobs", "0", "--out", str(out)])
    folders = {p.name.split("_")[1]: p for p in out.iterdir() if p.is_dir()}
    (tmp_path / folders["2ch"].name).write_text("in the way")
    capsys.readouterr()
    assert command.main([*here, "--jobs", "1", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert f"damaged: b/IM-0001.dcm: [Errno 17] File exists: '{tmp_path}/" in told.err
    assert "1 cines" in told.out
    assert tables_of(tmp_path / folders["4ch"].name) == tables_of(folders["4ch"])


def test_only_what_is_asked_for_is_written_and_nothing_of_an_earlier_run_stays(
    run, scans, tmp_path, monkeypatch
):
    arguments = ["predict", str(scans / "b"), "--ckpt", str(run), "--out", str(tmp_path)]
    command.main(arguments)
    monkeypatch.setattr(movies, "can_write_mp4", lambda: False)
    command.main([*arguments, "--outputs", "movie,mask"])
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    assert {p.name for p in folder.iterdir()} == {"mask.nii.gz", "overlay.gif", "summary.json"}
    with Image.open(folder / "overlay.gif") as gif:
        assert gif.n_frames == FRAMES
        assert gif.info["duration"] == 40


def test_what_is_finished_is_in_the_tables_when_it_is_stopped(run, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(dicom_files.picture(1).astype(np.uint8)).save(folder / f"{name}_4ch.png")
    real = one_cine.Result

    def stopped_at_the_third(item, *arguments, **options):
        if item.name.startswith("c"):
            raise KeyboardInterrupt
        return real(item, *arguments, **options)

    monkeypatch.setattr(one_cine, "Result", stopped_at_the_third)
    assert command.main(["predict", str(folder), "--ckpt", str(run), "--out", str(out)]) == 130
    assert "stopped; what is finished is in" in capsys.readouterr().err
    assert pd.read_csv(out / "cines.csv")["id"].tolist() == ["a_4ch", "b_4ch"]
