import csv
import json
import shutil

import numpy as np
import pytest

from prep.__main__ import main
from prep.dataset.verify import check
from tests.prep_shapes import write_data_set


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "set")


def _edit(name, function):
    def plant(folder):
        array = np.load(folder / f"{name}.npy")
        changed = function(array)
        np.save(folder / f"{name}.npy", array if changed is None else changed)

    return plant


def _set(name, where, value):
    def change(array):
        array[where] = value

    return _edit(name, change)


def _cell(line, column, value):
    def plant(folder):
        with open(folder / "cases.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        rows[line][column] = value
        with open(folder / "cases.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    return plant


def _meta(field, value):
    def plant(folder):
        meta = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps(meta | {field: value}))

    return plant


def _model(name, function):
    def plant(folder):
        with np.load(folder / "shape_model.npz") as file:
            arrays = dict(file)
        np.savez(folder / "shape_model.npz", **arrays | {name: function(arrays[name])})

    return plant


def _swap_halves(points):
    points[2] = np.roll(points[2], 12, axis=0)


def _reverse_order(points):
    points[2] = np.concatenate([points[2, :12][::-1], points[2, 12:][::-1]])


def _remove(name):
    return lambda folder: (folder / name).unlink()


DEFECTS = {
    "shape": (_edit("images", lambda a: a[:, :-1]), r"images: the shape is \(6, 63, 64\)"),
    "count": (_edit("thetas", lambda a: a[:-1]), r"thetas\.npy: the shape is \(5, 2, 3\)"),
    "type": (_edit("points", lambda a: a.astype(np.float64)), r"points\.npy: the type is float64"),
    "missing": (_remove("masks.npy"), r"masks: cannot be read \(.*masks\.npy"),
    "nan": (_set("points", (3, 4, 1), np.nan), r"p01_b \(row 3\): points\.npy has a NaN"),
    "empty mask": (_set("masks", 1, 0), r"p00_b \(row 1\): the mask is empty"),
    "mask value": (_set("masks", (1, 0, 0), 7), r"the mask has the value 7"),
    "two pieces": (_set("masks", (1, 0, 0), 1), r"the mask has 2 pieces"),
    "grey": (_set("images", 0, 9), r"p00_a \(row 0\): the image is of one grey value"),
    "spacing": (_set("spacing_mm", (2, 0), -1), r"spacing_mm\.npy has \[-1\.0, 1\.25\]"),
    "half spacing": (_set("spacing_mm", (2, 0), np.nan), r"spacing_mm\.npy has \[nan, 1\.25\]"),
    "order": (_edit("points", _reverse_order), r"p01_a \(row 2\): .*inner boundary in the wrong"),
    "halves": (_edit("points", _swap_halves), r"p01_a .*in each other's place"),
    "outside": (_set("points", (0, 0), -99), r"far outside the image"),
    "theta": (_set("thetas", (0, 0, 2), 5), r"thetas\.npy maps canonical_points\.npy .* px away"),
    "mirror": (_set("thetas", (0, 0), (-9, 0, 5)), r"mirrors or collapses"),
    "leak": (_cell(1, "split", "train"), r"the patient p00 is in both train and val"),
    "split": (_cell(1, "split", "test"), r"p00_b has the split 'test'"),
    "rows": (_cell(1, "row", "4"), r"rows of included cases are not 0 to 5"),
    "twice": (_cell(1, "case", "p00_a"), r"the case p00_a is listed twice"),
    "dice": (_cell(1, "point_mask_dice", "0.5"), r"included with the point-mask Dice 0\.5"),
    "other dice": (_cell(1, "point_mask_dice", "0.91"), r"but cases\.csv says 0\.91"),
    "reason": (_cell(1, "split", "excluded"), r"p00_b is excluded, so it needs a reason"),
    "path": (_cell(1, "image", "/elsewhere/a.png"), r"has an absolute path"),
    "column": (lambda f: (f / "cases.csv").write_text("case,row\na,0\n"), r"columns patient"),
    "meta": (_meta("size", "64"), r"dataset\.json: size is '64'"),
    "format": (_meta("format", 2), r"dataset\.json: format 2"),
    "no json": (lambda f: (f / "dataset.json").write_text("{"), r"dataset\.json: cannot be read"),
    "modes": (_model("modes", lambda a: 2 * a), r"modes are not orthonormal"),
    "variances": (_model("variances", lambda a: a[::-1]), r"variances are not positive and fall"),
    "mean": (_model("mean", lambda a: a + np.float32(0.1)), r"the mean's centroid is not 0"),
    "other mean": (_model("mean", lambda a: a[::-1]), r"not that of the training cases"),
    "model type": (_model("mean", np.float64), r"mean is float64"),
    "model nan": (_model("modes", lambda a: a * np.nan), r"modes has a NaN"),
    "no model": (_remove("shape_model.npz"), r"shape_model\.npz: cannot be read"),
}


def test_a_sound_data_set_has_no_findings(sound, capsys):
    assert check(sound) == []
    assert main(["verify", str(sound)]) == 0
    assert capsys.readouterr().out.endswith(": good\n")


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(copy, name):
    plant, message = DEFECTS[name]
    plant(copy)
    findings = check(copy)
    import re

    assert any(re.search(message, line) for line in findings), findings


def test_all_defects_are_listed_in_one_pass(copy, capsys):
    for name in ("nan", "empty mask", "spacing", "halves", "leak", "modes"):
        DEFECTS[name][0](copy)
    assert main(["verify", str(copy)]) == 1
    lines = capsys.readouterr().out
    for text in ("NaN", "empty", "spacing_mm", "each other's place", "both train", "orthonormal"):
        assert text in lines


def test_no_folder_is_a_finding(tmp_path):
    assert check(tmp_path / "nothing")[0].endswith("a data set directory was expected")
