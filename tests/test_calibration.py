"""The temperature of the covariances, and how many points their ellipses hold."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jssm
from jssm import config
from jssm.__main__ import main
from jssm.evaluation import calibration, doubt, reliability
from jssm.methods import model_file
from jssm.methods.model import Model, confidence_of, weights_of
from jssm.networks.evidence import EvidenceNetwork
from jssm.shape.pose import Pose
from tests.conftest import SIZE, random_variables, write_dataset

rng = np.random.default_rng(0)


def test_the_temperature_undoes_what_was_too_sure():
    """Deviations twice as large as told: the covariance is to be four times as large."""
    squares = ((2 * rng.normal(size=(400, 88, 2))) ** 2).sum(-1)
    assert calibration.temperature(squares) == pytest.approx(4, rel=0.05)
    held = calibration.crossed_coverage(squares, np.repeat(np.arange(100), 4))
    np.testing.assert_allclose(held, reliability.SHARES, atol=0.01)


def test_each_half_of_the_patients_is_judged_by_the_other():
    """Of two patients, one with errors twice as large, neither is held as it should be."""
    squares = np.array([[1.0] * 100, [4.0] * 100]) * (rng.normal(size=(2, 100, 2)) ** 2).sum(-1)
    held = calibration.crossed_coverage(squares, np.array(["a", "b"]))
    own = [squares[i] / calibration.temperature(squares[1 - i]) for i in (0, 1)]
    assert held[0] == np.mean(np.concatenate(own) <= reliability.ellipse(0.5))


def test_one_patient_is_too_few():
    with pytest.raises(ValueError, match="one patient is too few"):
        calibration.crossed_coverage(np.ones((3, 8)), np.array(["a"] * 3))


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "data", num_points=8)


@pytest.fixture
def model(small_shape):
    """A model of the method evidence with random weights."""
    network = EvidenceNetwork(width=2, searches=1)
    return Model(random_variables(network, small_shape), small_shape, np.eye(2, 3), network, SIZE)


@pytest.fixture
def settings():
    """The settings of this model."""
    found = config.Config(data="data", method="evidence")
    found.model = config.ModelConfig(size=SIZE, depth=18, width=2, num_modes=2, searches=1)
    return found


def test_what_was_found_goes_into_the_file(model, settings, data, tmp_path, capsys, monkeypatch):
    """And then the ellipses hold 95 % of these points."""
    monkeypatch.setattr(doubt, "LOOKS", {doubt.AS_THEY_ARE: config.Augmentation()})
    model = model.replace(temperature=np.float32(9))  # of an earlier calibration: it does not count
    file = tmp_path / "m.npz"
    model_file.write(file, settings, weights_of(model))
    assert main(["calibrate", str(file), "--data", str(data)]) == 0
    told = capsys.readouterr().out
    assert "| 95%" in told
    assert "refused below a confidence of" in told
    calibrated = jssm.load(file)
    assert float(calibrated.temperature) != 9
    found = jssm.load_dataset(data)
    squares = calibration.distances(calibrated, found, found.rows("val"))
    assert np.mean(squares <= reliability.ellipse(0.95)) == pytest.approx(0.95, abs=0.05)
    sure = jssm.predict(calibrated, found.images[found.rows("val")]).confidence
    assert np.isfinite(sure).all()
    assert np.ptp(sure) > 0
    pose = Pose(np.zeros((3, 2, 3)), np.zeros((3, 2)), cues=np.zeros((3, 15)))
    assert np.isnan(confidence_of(model, pose)).all()  # it has not learned it


def test_a_model_sees_grey_values_from_0_to_1(model, data, monkeypatch):
    """Here it finds every point at the largest one."""

    def at_the_largest(model, images):
        points = jnp.full((len(images), 8, 2), jnp.max(images))
        return points, jnp.broadcast_to(jnp.eye(2), (len(images), 8, 2, 2))

    monkeypatch.setattr(calibration, "_points", at_the_largest)
    found = jssm.load_dataset(data)
    rows = found.rows("val")
    offsets = found.points[rows] - found.images[rows].max() / 255
    squares = calibration.distances(model, found, rows)
    np.testing.assert_allclose(squares, (offsets**2).sum(-1), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 8, "size": 48}, "images are 32 pixels wide but those of DATA are 48"),
        ({"num_points": 16}, "shapes have 8 points but those of DATA have 16"),
    ],
)
def test_a_data_set_has_to_suit_the_model(model, settings, tmp_path, capsys, options, message):
    file, other = tmp_path / "m.npz", write_dataset(tmp_path / "other", **options)
    model_file.write(file, settings, weights_of(model))
    assert main(["calibrate", str(file), "--data", str(other)]) == 1
    assert f"{file}: its {message.replace('DATA', str(other))}\n" in capsys.readouterr().err


def test_a_split_needs_whole_walls(model, settings, data, tmp_path, capsys):
    file, cases = tmp_path / "m.npz", data / "cases.csv"
    model_file.write(file, settings, weights_of(model))
    table = pd.read_csv(cases)
    kinds = table["split"].map({"train": "myocardium", "val": "cavity"})
    table.assign(covers=kinds).to_csv(cases, index=False)
    assert main(["calibrate", str(file), "--data", str(data)]) == 1
    told = capsys.readouterr().err
    assert "the split val has no case whose label covers the myocardium" in told


def test_what_cannot_be_calibrated_says_why(small_model, data, tmp_path, capsys):
    settings = config.Config(data="data")
    settings.model = config.ModelConfig(size=SIZE, depth=18, width=4, num_modes=2)
    file = tmp_path / "m.npz"
    model_file.write(file, settings, weights_of(small_model))
    for words, message in (
        ([str(file), "--data", str(data)], "does not tell how sure it is"),
        ([str(file), "--data", "nowhere"], "nowhere: not a data set directory"),
        (["nowhere.npz", "--data", str(data)], "nowhere.npz: no such file"),
    ):
        assert main(["calibrate", *words]) == 1
        assert message in capsys.readouterr().err
