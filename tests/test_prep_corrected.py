"""Frames that a reader corrected join a data set: ``prep extend --points``."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jssm import dataset, warp
from jssm.report import record
from jssm.shape import labels
from prep.__main__ import main
from prep.dataset.verify import check
from prep.shapes import point_cloud
from tests.prep_shapes import SIZE, write_data_set


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("base"))


@pytest.fixture
def saved(base, tmp_path):
    """A report's file: a cine of two frames of a wall like those of the base, one corrected."""
    data = dataset.load(base)
    shape = {name: np.asarray(value).tolist() for name, value in vars(data.shape_model).items()}
    beta = [data.shape_model.project(points) for points in data.canonical_points[:2]]
    picture = 60 + 90 * np.asarray(data.masks[:2]) + np.arange(SIZE)
    content = dict.fromkeys(record.KEYS) | {
        "format": record.FORMAT,
        "id": "p0123456789_4ch_0123456789ab",
        "patient": "p0123456789",
        "aspect": 1.0,
        "spacing_mm": [1.5, 1.5],
        "time_s": [0.0, None],
        "shape": shape,
        "theta": np.asarray(data.thetas[:2]).tolist(),
        "beta": np.array(beta).tolist(),
        "frames": record.jpegs(picture),
        "corrections": [{"frame": 1, "point": 3, "x_px": 0.0, "y_px": 0.0}],
    }
    path = tmp_path / "points.json"
    record.write(path, content)
    return path


def test_corrected_frames_join_the_data_set(base, saved, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["extend", str(base), "--points", str(saved), "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    assert check(out) == []
    before, data, content = dataset.load(base), dataset.load(out), record.read(saved)
    old = len(before.images)
    assert len(data.images) == old + 1
    assert data.cases["case"].tolist()[old:] == ["p0123456789_4ch_0123456789ab_frame01"]
    assert data.covers[old] == labels.MYOCARDIUM
    expected = warp(
        np.array(content["theta"][1]), before.shape_model.deform(np.array(content["beta"][1]))
    )
    np.testing.assert_allclose(data.points[old], expected, atol=1e-3)
    assert point_cloud.dice(data.masks[old] > 0, before.masks[1] > 0) > 0.8
    np.testing.assert_array_equal(data.spacing_mm[old], [1.5, 1.5])
    brightness = [data.images[old][before.masks[1] == value].mean() for value in (0, 1)]
    assert brightness[1] > brightness[0] + 50
    assert extend_again(out, saved, tmp_path) == 2  # its name is taken
    assert "has a case p0123456789_4ch_0123456789ab_frame01 already" in capsys.readouterr().err


def test_only_phantoms_have_true_points(base, saved, tmp_path):
    """Those of a model, though corrected, are none; a case has all or none."""
    phantoms, out = shutil.copytree(base, tmp_path / "base"), tmp_path / "out"
    points = np.load(base / "points.npy")
    np.save(phantoms / "truth_points.npy", points)
    assert main(["extend", str(phantoms), "--points", str(saved), "--out", str(out)]) == 0
    truth = np.load(out / "truth_points.npy")
    np.testing.assert_array_equal(truth[: len(points)], points)
    assert np.isnan(truth[len(points) :]).all()
    assert check(out) == []
    truth[-1, 0] = 0
    np.save(out / "truth_points.npy", truth)
    assert any("truth_points.npy has a NaN" in sentence for sentence in check(out))


def test_one_correction_of_a_frame_is_taken(base, saved, tmp_path, capsys):
    paths = [str(tmp_path / reader / "points.json") for reader in ("reader1", "reader2")]
    for path in paths:
        Path(path).parent.mkdir()
        shutil.copy(saved, path)
    words = ["extend", str(base), "--points", *paths, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    both = f"two cases are named p0123456789_4ch_0123456789ab_frame01: {paths[0]} and {paths[1]}"
    assert both in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames": ["AAAA", "AAAA"]}, "p01_frame01: UnidentifiedImageError: "),
        ({"frames": ["A", "A"]}, "p01_frame01: Error: "),
        ({"corrections": [{"frame": 7}]}, "p01_frame07: ValueError: "),
        ({"corrections": [{"frame": "1"}]}, "p01.json: not what a report saved"),
        ({"corrections": [{}]}, "p01.json: not what a report saved"),
        ({"frames": None}, "p01.json: not what a report saved"),
    ],
)
def test_damaged_points_are_listed_and_the_rest_goes_on(
    base, saved, tmp_path, capsys, change, sentence
):
    bad, out = tmp_path / "p01.json", tmp_path / "out"
    record.write(bad, record.read(saved) | {"id": "p01"} | change)
    words = ["extend", str(base), "--points", str(bad), str(saved), "--out", str(out)]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "1 of " in told.out
    assert sentence in told.err
    assert check(out) == []


def extend_again(base, saved, folder):
    return main(["extend", str(base), "--points", str(saved), "--out", str(folder / "again")])


def test_points_that_cannot_join_are_told(base, saved, tmp_path, capsys):
    content = record.read(saved)
    record.write(saved, {**content, "corrections": []})
    assert extend_again(base, saved, tmp_path) == 2
    assert "no point was corrected in it" in capsys.readouterr().err
    fewer = content["shape"] | {
        "mean": content["shape"]["mean"][:-2],
        "modes": [mode[:-2] for mode in content["shape"]["modes"]],
    }
    record.write(saved, {**content, "shape": fewer})
    assert extend_again(base, saved, tmp_path) == 1
    assert "points, the data set" in capsys.readouterr().err
    assert main(["extend", str(base), "--out", str(tmp_path / "neither")]) == 2
    assert "either --images or --points" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--cavities", "cavities"], ["--walls", "mri"]])
def test_corrected_walls_are_whole(base, saved, tmp_path, capsys, more):
    words = ["--points", str(saved), *more, "--out", str(tmp_path / "out")]
    assert main(["extend", str(base), *words]) == 2
    assert "--cavities and --walls go with --images" in capsys.readouterr().err
