"""``python -m prep import dicom``."""

import csv

import nibabel as nib
import numpy as np
import pytest

from jssm import files
from prep import importer
from prep.__main__ import main
from prep.dataset import images
from tests.dicom_files import SECRETS, picture, write_cine
from tests.leaks import leaks


def run(capsys, *words):
    code = main(["import", "dicom", *map(str, words)])
    return code, *capsys.readouterr()


def table(out):
    with open(out / "cines.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_each_cine_becomes_a_nifti_file_and_a_row(tmp_path, capsys):
    write_cine(tmp_path / "in" / "a")
    write_cine(tmp_path / "in" / "b", view="sax", series="1.2.4")
    code, out, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 0, err
    assert "2 cines" in out
    four, sax = table(tmp_path / "out")
    assert tuple(four) == importer.COLUMNS
    assert (four["view"], four["agree"], sax["view"]) == ("4ch", "yes", "sax")
    assert (four["frames"], four["rows"], four["columns"]) == ("3", "24", "32")
    assert (four["row_mm"], four["column_mm"], four["frame_time_s"]) == ("1.5", "1.25", "0.04")
    file = nib.load(tmp_path / "out" / "images" / f"{four['id']}.nii.gz")
    assert file.shape == (32, 24, 1, 3)
    np.testing.assert_array_equal(np.asarray(file.dataobj)[:, :, 0, 1].T, picture(2))
    np.testing.assert_allclose(file.header.get_zooms(), (1.25, 1.5, 8, 0.04), rtol=1e-6)
    again, _ = files.open_cines(tmp_path / "out" / "images")
    before, _ = files.open_cines(tmp_path / "in")
    for one, other in zip(again, before, strict=True):
        assert (one.name, one.patient, one.view) == (other.name, other.patient, other.view)


@pytest.mark.parametrize("keep", [False, True])
def test_no_name_of_a_patient_is_written_unless_asked_for(tmp_path, capsys, keep):
    write_cine(tmp_path / "in" / SECRETS[0])
    write_cine(tmp_path / "in" / SECRETS[1], series="1.2.4")
    code, out, _ = run(capsys, tmp_path / "in", "--out", tmp_path / "out", *["--keep-names"] * keep)
    assert code == 0
    (tmp_path / "out" / "said.txt").write_text(out)
    assert bool(leaks(tmp_path / "out", SECRETS)) == keep


def test_damage_is_listed_and_makes_the_exit_code_1(tmp_path, capsys):
    paths = write_cine(tmp_path / "in")
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:-300])
    write_cine(tmp_path / "in" / "good", series="1.2.4")
    (tmp_path / "in" / "readme.txt").write_text("a note")
    code, out, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1
    lines = err.splitlines()
    assert "damaged: IM-0001.dcm: the file is empty" in lines
    assert any("IM-0002.dcm" in line and "truncated?" in line for line in lines)
    assert "skipped: readme.txt: not a kind of file that is read here" in out
    assert len(table(tmp_path / "out")) == 1


def test_numbers_that_are_not_believed_are_told_in_the_table(tmp_path, capsys):
    def change(data, number):
        data.TriggerTime = 2000.0 * number

    write_cine(tmp_path / "in", change=change)
    code, out, _ = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert (code, row["frame_time_s"]) == (0, "")
    assert row["note"].startswith("TriggerTime gives 2 s from frame to frame")
    assert row["note"] in out


@pytest.mark.parametrize("there", [False, True])
def test_nothing_to_import_is_refused(tmp_path, capsys, there):
    if there:
        (tmp_path / "in").mkdir()
    code, _, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("prep: ")


def test_pixels_that_are_not_square_become_square_in_a_data_set():
    # A disc of 20 mm in pixels of 2 mm × 1 mm.
    rows, columns = np.mgrid[:40, :60]
    disc = ((rows - 19.5) * 2) ** 2 + (columns - 29.5) ** 2 < 20**2
    square = images.fit_mask(disc, 80, aspect=2.0)
    filled_rows, filled_columns = np.nonzero(square)
    assert np.ptp(filled_rows) == pytest.approx(np.ptp(filled_columns), abs=1)
    assert square.sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    grey = images.fit_image((disc * 200).astype(np.uint8), 80, aspect=2.0)
    assert ((grey > 100) == square).mean() > 0.99
