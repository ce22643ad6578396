"""The evaluation with methods whose scores are known, and eval.py on a small run."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jssm import checkpoint, config, dataset, rasterizer
from jssm.evaluation import report, scores
from jssm.methods import registry
from jssm.methods.model import Model, weights_of
from jssm.methods.regression import network_from
from jssm.shape import labels, order
from tests import reference
from tests.conftest import random_variables, write_dataset

SIZE, FRAMES = 32, 6
KEYS = {
    *("dice", "hd_mm", "hd_px", "hd95_mm", "assd_mm", "components", "point_rmse_px"),
    "folded_share",
}


@pytest.fixture
def data():
    """A cine of six frames and two single images: squares, with the points of a horseshoe."""
    cases = FRAMES + 2
    masks = np.zeros((cases, SIZE, SIZE), np.uint8)
    masks[:, 10:20, 8:18] = 1
    images = np.random.default_rng(0).integers(0, 255, masks.shape).astype(np.uint8)
    images[:, 0, 0] = range(cases)  # by which the fake methods know the case
    points = reference.horseshoe(16, center=(16, 16), inner=6, outer=10).astype(np.float32)
    points = np.repeat(points[None], cases, axis=0)
    table = pd.DataFrame(
        {
            "case": [f"case{k}" for k in range(cases)],
            "patient": ["a/cine"] * FRAMES + ["b", "c"],
            "frame": [*reversed(range(FRAMES)), 0, 0],
            "time_s": [*(0.04 * k for k in reversed(range(FRAMES))), 0, 0],
        }
    )
    return SimpleNamespace(
        images=images,
        masks=masks,
        points=points,
        truth_points=None,
        spacing_mm=np.full((cases, 2), 2.0, np.float32),
        cases=table,
        covers=np.full(cases, labels.MYOCARDIUM, np.int8),
        shape_model=SimpleNamespace(closed=False),
    )


def rows_of(images):
    """The rows of the cases that images in 0..1 show."""
    return np.rint(255 * images[:, 0, 0]).astype(int)


def shifted(data, by=3, *, with_points=True, empty=(), folded=()):
    """A method that gives the truth, moved right by some px, with some cases spoilt."""
    sizes = set()

    def predict(images):
        sizes.add(len(images))
        rows = rows_of(images)
        mask = np.roll(data.masks[rows], by, axis=2).astype(np.float32)
        points = data.points[rows] + np.float32([by, 0])
        for row in empty:
            mask[rows == row] = 0
        for row in folded:
            points[rows == row, 8] = points[rows == row, 15]
        return SimpleNamespace(mask=mask, points=points if with_points else None)

    predict.sizes = sizes
    return predict


def run(data, predict, **options):
    rows = np.arange(len(data.images))
    return scores.evaluate(predict, data, rows, progress=False, **options)


def test_known_scores_in_batches_of_one_size(data):
    predict = shifted(data)
    found = run(data, predict, batch_size=3)
    assert predict.sizes == {3}
    assert len(found.table) == found.summary["cases"] == 8
    assert found.table["case"].tolist() == data.cases["case"].tolist()
    assert found.summary["dice"] == pytest.approx({"mean": 0.7, "std": 0.0})
    assert found.summary["hd_px"] == pytest.approx({"mean": 3.0, "std": 0.0})
    assert found.summary["hd_mm"]["mean"] == pytest.approx(6.0)
    assert found.summary["point_rmse_px"]["mean"] == pytest.approx(3.0)
    assert found.summary["components"] == {"mean": 1.0, "std": 0.0}
    assert found.summary["folded_share"] == found.summary["failed_share"] == 0
    assert found.summary["correspondence_px"] is None
    assert set(found.summary) >= KEYS


def test_an_empty_prediction_stays_in_the_mean(data):
    found = run(data, shifted(data, 0, empty=[2]))
    diagonal = SIZE * np.sqrt(2)
    assert found.summary["dice"]["mean"] == pytest.approx(7 / 8)
    assert found.summary["dice"]["std"] == pytest.approx(np.sqrt(7) / 8)  # ddof = 0
    assert found.summary["hd_px"]["mean"] == pytest.approx(diagonal / 8, rel=1e-6)
    assert found.summary["hd_mm"]["mean"] == pytest.approx(2 * diagonal / 8, rel=1e-6)
    assert found.summary["components"]["mean"] == 7 / 8
    assert found.summary["failed_share"] == 1 / 8
    assert report.problems(found.table) == "failed: case2\n"


def test_points_that_are_not_finite_are_failures(data):
    def predict(images):
        prediction = shifted(data, 0)(images)
        prediction.points[rows_of(images) == 5, 3] = np.nan
        return prediction

    found = run(data, predict)
    assert found.table["failed"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert found.table["point_rmse_px"][5] == pytest.approx(SIZE * np.sqrt(2))
    assert found.table["folded"][5] == 1


def test_folded_cases_are_counted_and_named(data):
    found = run(data, shifted(data, folded=[1, 4]))
    assert found.summary["folded_share"] == 2 / 8
    assert found.table.loc[found.table["folded"] == 1, "case"].tolist() == ["case1", "case4"]
    assert (found.table["flipped_triangles"][[1, 4]] > 0).all()
    assert report.problems(found.table, limit=1) == "folded: case1 and 1 more\n"


def test_correspondence_with_material_points(data):
    data.truth_points = data.points + np.float32([0, 4])
    data.spacing_mm = np.full((8, 2), [0.5, 1.0], np.float32)
    found = run(data, shifted(data, 3))
    assert found.summary["correspondence_px"]["mean"] == pytest.approx(5)
    assert found.summary["correspondence_mm"]["mean"] == pytest.approx(np.hypot(3, 2))


def test_unknown_spacings_and_a_method_without_points_give_null(data, tmp_path):
    data.spacing_mm[:] = np.nan
    found = run(data, shifted(data, with_points=False))
    paths = report.write(found, data, tmp_path, name="unet", progress=False)
    written = json.loads((tmp_path / "metrics.json").read_text())
    for key in ("hd_mm", "hd95_mm", "assd_mm", "point_rmse_px", "folded_share"):
        assert written[key] is None
    assert written["myocardium_cases_with_spacing"] == 0
    assert written["hd_px"]["mean"] == 3
    assert not [path for path in paths if path.suffix == ".gif"]
    table = (tmp_path / "table.md").read_text()
    assert "HD (px)" in table
    assert "(mm)" not in table


def test_some_unknown_spacings_show_both_units(data):
    data.spacing_mm[0] = np.nan
    summary = run(data, shifted(data)).summary
    assert summary["myocardium_cases_with_spacing"] == 7
    assert summary["hd_mm"]["mean"] == pytest.approx(6)
    table = report.format_table({"one": summary, "two": summary})
    assert "HD (mm)" in table
    assert "HD (px)" in table
    assert len(table.splitlines()) == 4


@pytest.mark.usefixtures("drawn")
def test_all_files_are_written(data, tmp_path):
    found = run(data, shifted(data, empty=[7]))
    paths = report.write(found, data, tmp_path, name="ours", progress=False)
    names = ["best.png", "cases.csv", "cine_a_cine.gif", "median.png", "metrics.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "table.md", "worst.png"]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    per_case = pd.read_csv(tmp_path / "cases.csv")
    assert len(per_case) == 8
    assert per_case["dice"].mean() == pytest.approx(found.summary["dice"]["mean"])
    with Image.open(tmp_path / "cine_a_cine.gif") as cine:
        assert cine.n_frames == FRAMES
        assert cine.info["duration"] == 40
    assert "0.612 ± 0.232" in (tmp_path / "table.md").read_text()


@pytest.mark.usefixtures("drawn")
def test_what_a_method_says_of_itself_is_held_against_the_truth(data, tmp_path):
    """Points 3 px beside the true ones, by deviations of 1 px once and of 3 px else."""
    beside = shifted(data)

    def predict(images):
        found = beside(images)
        deviation = np.where(rows_of(images) == 0, 1.0, 3.0)
        spread = deviation[:, None, None, None] * np.ones((16, 1, 1)) * np.eye(2)
        return SimpleNamespace(**vars(found), spread=spread, confidence=0.9 - 0.1 * deviation)

    found = run(data, predict)
    away = 9 / np.where(np.arange(8) == 0, 1.0, 9.0)
    np.testing.assert_allclose(found.squares, np.repeat(away[:, None], 16, axis=1), rtol=1e-4)
    assert found.table["in_95_ellipse"].tolist() == [0, *[1] * 7]
    assert found.summary["ellipses_hold"]["95%"] == pytest.approx(7 / 8)
    error = np.abs(found.table["confidence"] - found.table["dice"]).mean()
    assert found.summary["confidence_mean_absolute_error"] == pytest.approx(error)
    report.write(found, data, tmp_path, name="ours", progress=False)
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.width > 1000


def test_sheets_are_ordered_by_dice():
    table = pd.DataFrame({"dice": np.linspace(0, 1, 21), "cavity_dice": np.nan})
    sheets = dict(report._sheets(table))
    assert sheets["best.png"][0] == 20
    assert sheets["worst.png"][0] == 0
    assert 10 in sheets["median.png"]
    assert len(sheets) == 3
    assert all(len(places) == 8 for places in sheets.values())


def test_cavities_have_scores_and_sheets_of_their_own(data, tmp_path):
    """Two cavity cases, one of them met exactly and one by points that are not there; one image
    without a label; the others are whole walls."""
    strip = data.points[0][order.cavity_strip(16)]
    data.masks[:2] = np.asarray(rasterizer.rasterize(strip, (SIZE, SIZE))) > 0.5
    data.covers[:3] = labels.CAVITY, labels.CAVITY, labels.NONE
    data.masks[2] = 0
    data.spacing_mm[0] = np.nan

    def predict(images):
        points = np.array(data.points[rows_of(images)])
        points[rows_of(images) == 1, 2] = np.nan
        mask = np.zeros(images.shape, np.float32)
        mask[:, 10:20, 8:18] = 1
        return SimpleNamespace(mask=mask, points=points)

    found = run(data, predict)
    summary, table = found.summary, found.table
    assert table["covers"].tolist() == ["cavity", "cavity", "none", *["myocardium"] * 5]
    assert (summary["myocardium_cases"], summary["cavity_cases"]) == (5, 2)
    assert summary["cavity_cases_with_spacing"] == 1
    assert summary["dice"]["mean"] == 1
    assert table["dice"].isna().tolist() == [True] * 3 + [False] * 5
    assert table["cavity_dice"].tolist()[:2] == [1, 0]
    assert table["cavity_dice"].isna().tolist() == [False] * 2 + [True] * 6
    assert table["cavity_hd_px"].tolist()[:2] == [0, pytest.approx(SIZE * np.sqrt(2))]
    assert table["cavity_hd_mm"][1] == pytest.approx(2 * SIZE * np.sqrt(2))
    assert np.isnan(table["cavity_hd_mm"][0])
    assert table["failed"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    report.write(found, data, tmp_path, name="half", progress=False)
    assert {"cavity_best.png", "cavity_median.png", "cavity_worst.png", "best.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    text = (tmp_path / "table.md").read_text()
    for column in ("HD (mm)", "Cavity Dice", "Cavity HD (mm)", "Cavity HD (px)"):
        assert column in text
    assert " HD (px)" not in text.replace("Cavity HD (px)", "")
    assert json.loads((tmp_path / "metrics.json").read_text())["cavity_dice"]["mean"] == 0.5


def test_cine_frames_are_in_order_and_three_patients_at_most():
    table = pd.DataFrame({"patient": [*("dcba" * 5), "e"], "frame": [*range(20, 0, -1), 1]})
    cines = report._cines(table)
    assert list(cines) == ["cine_a.gif", "cine_b.gif", "cine_c.gif"]
    for patient, places in cines.values():
        assert set(table["patient"][places]) == {patient}
        assert table["frame"][places].is_monotonic_increasing


def test_masks_and_points_of_another_shape_and_no_rows_are_errors(data):
    def small(images):
        return SimpleNamespace(mask=np.ones((len(images), 8, 8)), points=None)

    def few(images):
        prediction = shifted(data)(images)
        return SimpleNamespace(mask=prediction.mask, points=prediction.points[:, :8])

    for predict, message in ((small, "masks have shape"), (few, "points have shape")):
        with pytest.raises(ValueError, match=message):
            run(data, predict)
    with pytest.raises(ValueError, match="no cases"):
        scores.evaluate(small, data, np.zeros(0, int), progress=False)


def random_model(settings, shape):
    """A model of these settings with random weights."""
    network = network_from(settings)
    mean_theta = 8 * np.eye(2, 3, dtype=np.float32)
    return Model(random_variables(network), shape, mean_theta, network, SIZE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_shape):
    """A run directory with a model of eight points and random weights, and its data set."""
    root = tmp_path_factory.mktemp("evaluated")
    write_dataset(root / "data", num_points=8)
    settings = config.Config(data=str(root / "data"))
    settings.model = config.ModelConfig(size=SIZE, depth=18, width=4, num_modes=2)
    (root / "run").mkdir()
    (root / "run" / "config.json").write_text(config.to_json(settings))
    with checkpoint.Checkpoints(root / "run") as files:
        files.save_best(1, weights_of(random_model(settings, small_shape)))
    return root


def test_a_run_is_evaluated_with_its_own_data(trained):
    printed = report.evaluate_run(str(trained / "run"))
    out = trained / "run" / "eval"
    assert "| run " in printed
    assert f"wrote {out / 'metrics.json'}" in printed
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["cases"] == len(dataset.load(trained / "data").rows("val"))
    assert summary["seconds_per_image"] > 0


def test_what_is_missing_is_said_in_one_sentence(trained, tmp_path):
    run_dir = str(trained / "run")
    with pytest.raises(FileNotFoundError, match="no latest checkpoint"):
        report.evaluate_run(run_dir, step="latest")
    with pytest.raises(FileNotFoundError, match="not a data set"):
        report.evaluate_run(run_dir, data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="test"):
        report.evaluate_run(run_dir, split="test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 8, "size": 48}, "images are 32 pixels wide but those of .* are 48"),
        ({"num_points": 16}, "shapes have 8 points but those of .* have 16"),
    ],
)
def test_a_data_set_has_to_suit_the_model(trained, tmp_path, options, message):
    other = write_dataset(tmp_path / "other", **options)
    with pytest.raises(ValueError, match=f"run: its {message}$"):
        report.evaluate_run(trained / "run", tmp_path / "out", data_dir=str(other))
    assert not (tmp_path / "out").exists()


def test_rings_are_not_judged_by_open_shapes(trained):
    data = dataset.load(trained / "data")
    settings, arrays = registry.read(trained / "run")
    rings = replace(data, shape_model=data.shape_model.replace(closed=True))
    with pytest.raises(ValueError, match=r"run: of its shapes and those of rings one alone is a"):
        scores.check_suits(settings, arrays, rings, source="run", directory="rings")


def test_a_movie_shows_one_cine():
    """Of a patient with several slices."""
    names = [f"p_sax_{level}_frame{k:02d}" for k in range(5) for level in ("mid", "basal")]
    table = pd.DataFrame({"case": names, "patient": "p", "frame": np.repeat(range(5), 2)})
    ((file, (patient, places)),) = report._cines(table).items()
    assert (file, patient) == ("cine_p.gif", "p")
    assert [names[k] for k in places] == [f"p_sax_basal_frame{k:02d}" for k in range(5)]
