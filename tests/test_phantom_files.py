"""The phantom cohort on disk: its files are what they say, and the command says what is wrong."""

import argparse
import csv
import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from prep.phantom import patient as patient_module
from prep.phantom.anatomy import KINDS, VIEWS
from prep.phantom.cli import add_parser
from prep.phantom.cohort import write_cohort
from prep.phantom.patient import Options, make_patient


def main(*words):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["phantom", *map(str, words)])
    return args.run(args)


def digests(folder: Path, pattern: str = "*.n*"):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
    }


def test_bytes_do_not_depend_on_jobs_or_patients(tmp_path):
    small = {"seed": 3, "frames": 2, "size": 64}
    assert write_cohort(Options("4ch", 2, **small), tmp_path / "a", jobs=1) == []
    assert write_cohort(Options("4ch", 2, **small), tmp_path / "b", jobs=2) == []
    assert write_cohort(Options("4ch", 1, **small), tmp_path / "c", jobs=1) == []
    first, second, third = (digests(tmp_path / name) for name in "abc")
    assert len(first) == 6
    assert first == second
    assert third.items() <= first.items()
    tables = [(tmp_path / name / "cohort.csv").read_bytes() for name in "ab"]
    assert tables[0] == tables[1]
    assert write_cohort(Options("4ch", 1, **{**small, "seed": 4}), tmp_path / "d", jobs=1) == []
    assert not set(digests(tmp_path / "d").values()) & set(first.values())


@pytest.mark.usefixtures("drawn")
def test_files_hold_what_they_say(tmp_path, capsys):
    out = tmp_path / "cohort"
    words = ("--view", "3ch", "--patients", 2, "--seed", 1, "--frames", 4, "--size", 72)
    assert main(*words, "--jobs", 1, "--out", out) == 0
    assert "2 cines of 2" in capsys.readouterr().out
    patient = make_patient(Options("3ch", 2, 1, 4, 72), 2)
    image = nibabel.Nifti1Image.from_filename(out / "images" / "phantom0002.nii")
    mask = nibabel.Nifti1Image.from_filename(out / "masks" / "phantom0002.nii")
    with np.load(out / "truth" / "phantom0002.npz") as file:
        truth = {name: file[name] for name in file.files}
    assert image.shape == mask.shape == (72, 72, 1, 4)
    assert (image.get_data_dtype(), mask.get_data_dtype()) == (np.uint16, np.uint8)
    spacing, frame = truth["spacing_mm"], truth["time_s"][1]
    np.testing.assert_allclose(
        image.header.get_zooms(), (spacing[1], spacing[0], 1, frame), rtol=1e-6
    )
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T, patient.images)
    np.testing.assert_array_equal(np.asarray(mask.dataobj)[:, :, 0].T, patient.masks)
    assert truth["points"].shape == (4, 88, 2)
    assert truth["points"].dtype == np.float32
    assert truth["wall_thickness_mm"].shape == (4, 44)
    for name in ("gls_endo", "gls_mid", "gls_epi", "radial_strain", "volume_ml", "time_s"):
        assert truth[name].shape == (4,)
    assert str(truth["kind"]) in KINDS
    with open(out / "cohort.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient"] for row in rows] == ["phantom0001", "phantom0002"]
    assert (rows[1]["kind"], rows[1]["view"]) == (str(truth["kind"]), "3ch")
    assert (out / "contact_sheet.png").stat().st_size > 10_000
    before = (out / "images" / "phantom0001.nii").stat().st_mtime_ns
    assert main(*words, "--jobs", 1, "--out", out) == 0  # a whole cohort is left as it is
    assert (out / "images" / "phantom0001.nii").stat().st_mtime_ns == before
    (out / "cohort.csv").unlink()  # as if it had been stopped: made again
    assert main(*words, "--jobs", 1, "--out", out) == 0
    assert (out / "cohort.csv").is_file()
    assert main(*words, "--jobs", 1, "--seed", 99, "--out", out) == 2  # old and new must not mix
    assert "already holds a cohort of other options" in capsys.readouterr().err


def test_all_views_of_each_patient_in_one_cohort(tmp_path):
    small = {"seed": 3, "frames": 2, "size": 64}
    assert write_cohort(Options("all", 1, **small), tmp_path / "all", jobs=1) == []
    assert write_cohort(Options("3ch", 1, **small), tmp_path / "one", jobs=1) == []
    names = sorted(path.stem for path in (tmp_path / "all" / "images").iterdir())
    assert names == ["phantom0001_2ch", "phantom0001_3ch", "phantom0001_4ch"]
    for part, kind in (("images", "nii"), ("masks", "nii"), ("truth", "npz")):
        of_all = tmp_path / "all" / part / f"phantom0001_3ch.{kind}"
        alone = tmp_path / "one" / part / f"phantom0001.{kind}"
        assert of_all.read_bytes() == alone.read_bytes()
    with open(tmp_path / "all" / "cohort.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["view"] for row in rows] == list(VIEWS)
    assert {row["patient"] for row in rows} == {"phantom0001"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--patients", 0), "--patients is 0, expected at least 1"),
        (("--size", 63), "--size is 63, expected at least 64"),
        (("--frames", 1), "--frames is 1, expected at least 2"),
        (("--points", 87), "--points is 87, expected an even number"),
        (("--seed", -1), "--seed is -1, expected at least 0"),
        (("--jobs", 0), "--jobs is 0"),
    ],
)
def test_wrong_options_say_what_was_expected(tmp_path, capsys, words, message):
    good = ("--view", "4ch", "--patients", 1, "--out", tmp_path / "x")
    assert main(*good, *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_unknown_view_names_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main("--view", "5ch", "--patients", 1, "--out", tmp_path)
    assert "2ch" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"5ch.*2ch, 3ch, 4ch"):
        Options("5ch", 1)
    with pytest.raises(ValueError, match=r"odd.*real, random"):
        Options("4ch", 1, looks="odd")


def test_a_patient_that_fails_does_not_lose_the_others(tmp_path, monkeypatch):
    def broken(options, number):
        if number == 2:
            raise RuntimeError("boom")
        return make_patient(options, number)

    monkeypatch.setattr(patient_module, "make_patient", broken)
    failures = write_cohort(Options("2ch", 3, frames=2, size=64), tmp_path / "x", jobs=1)
    assert failures == ["phantom0002: RuntimeError: boom"]
    assert len(list((tmp_path / "x" / "images").iterdir())) == 2
