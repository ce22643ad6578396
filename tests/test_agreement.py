"""Ejection fraction and strain of predicted against true pairs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import agreement
from benchmarks.__main__ import main
from jssm import dataset
from jssm.methods import registry, regression
from tests import reference
from tests.conftest import write_dataset
from tests.prep_shapes import Horseshoe

ENDS = reference.horseshoe(88, center=(0, 0), inner=20.0, outer=26.0)


def test_a_heart_that_shrinks_evenly():
    """By a tenth: strain −10 %, and an ejection fraction of 1 − 0.9³."""
    found = agreement.measures(np.stack([[ENDS, 0.9 * ENDS], [ENDS, ENDS]]))
    np.testing.assert_allclose(found["gls_percent"], [-10, 0], atol=1e-3)
    np.testing.assert_allclose(found["ef_percent"], [27.1, 0], atol=1e-3)


def test_bias_and_limits_are_those_of_the_differences():
    measured = pd.DataFrame(
        {"true_ef_percent": [50.0, 60, 70, 40], "predicted_ef_percent": [52.0, 58, 75, 43]}
    )
    row = agreement.agreement(measured, "ef_percent")
    deviation = np.std([2, -2, 5, 3], ddof=1)
    assert row["bias"] == pytest.approx(2)
    assert row["lower limit"] == pytest.approx(2 - 1.96 * deviation)
    assert row["upper limit"] == pytest.approx(2 + 1.96 * deviation)
    assert row["mean absolute error"] == pytest.approx(3)


@pytest.fixture
def paired(tmp_path):
    """A data set whose validation cases are two pairs, one of them named the wrong way round."""
    directory = write_dataset(tmp_path / "data")
    table = pd.read_csv(directory / "cases.csv")
    table["case"] = [f"t{i}" for i in range(16)] + ["a_ED", "a_ES", "b_ES", "b_ED"]
    table.to_csv(directory / "cases.csv", index=False)
    return directory


def test_pairs_are_told_by_their_names(paired):
    data = dataset.load(paired)
    found = agreement.pairs_of(data, data.rows("val"), agreement.PAIRS)
    assert found == {"a": (16, 17), "b": (19, 18)}
    with pytest.raises(ValueError, match="no two cases are a pair"):
        agreement.pairs_of(data, data.rows("train"), agreement.PAIRS)


@pytest.mark.usefixtures("drawn")
def test_the_command_writes_table_and_plot(paired, tmp_path, small_model, monkeypatch, capsys):
    """Of a method that finds the true points."""

    def perfect(_, data, rows):
        return SimpleNamespace(points=data.points[rows])

    monkeypatch.setattr(agreement, "evaluate", perfect)
    monkeypatch.setattr(registry, "load_method", lambda _: (regression.method(small_model), {}))
    words = ["agreement", "--ckpt", "x", "--data", str(paired), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "| Ejection fraction (%)" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    np.testing.assert_array_equal(table["true_ef_percent"], table["predicted_ef_percent"])
    with Image.open(tmp_path / "out" / "bland_altman.png") as picture:
        assert min(picture.size) > 300


def test_what_is_missing_is_said_in_a_sentence(tmp_path, capsys):
    assert main(["agreement", "--ckpt", "nowhere", "--data", "x", "--out", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == "agreement: nowhere: no training run there (config.json is missing); "
        "models of the package: echo, mri\n"
    )


def test_a_method_of_masks_is_measured_on_their_boundaries():
    """Each end of the inner boundary within two pixels; of an empty mask nothing is known."""
    wall = Horseshoe()
    masks = np.stack([wall.mask(), np.zeros((64, 64), bool)])
    points = agreement.points_of(SimpleNamespace(points=None, masks=masks), 88)
    assert np.abs(points[0, [0, 44, 43, 87]] - wall.corners()).max() < 2
    assert np.isnan(points[1]).all()
