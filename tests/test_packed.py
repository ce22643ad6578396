"""Models as single files, and those that come with the package."""

import hashlib
from pathlib import Path

import jax
import numpy as np
import pytest

import jssm
from jssm import checkpoint, config, weights
from jssm.__main__ import main
from jssm.methods import model_file
from jssm.methods.model import weights_of
from tests.conftest import SIZE

IMAGES = np.random.default_rng(0).uniform(0, 900, (3, SIZE, SIZE)).astype(np.float32)
predict = jax.jit(jssm.predict)


@pytest.fixture(scope="module")
def settings():
    found = config.Config(data="data")
    found.model = config.ModelConfig(size=SIZE, depth=18, width=4, num_modes=2)
    return found


@pytest.fixture
def run(small_model, settings, tmp_path):
    """A run directory with the small model."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(config.to_json(settings))
    with checkpoint.Checkpoints(run) as files:
        files.save_best(1, weights_of(small_model))
    return run


def test_a_packed_model_gives_the_same_points(small_model, run, tmp_path, capsys):
    file = tmp_path / "small.npz"
    assert main(["pack", "--ckpt", str(run), "--out", str(file)]) == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() in capsys.readouterr().out
    found = jssm.load(file)
    assert found.network == small_model.network
    assert found.size == SIZE
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
    expected = predict(small_model, IMAGES).points
    np.testing.assert_allclose(predict(found, IMAGES).points, expected, atol=0.05)
    np.testing.assert_array_equal(found.shape.modes, small_model.shape.modes)


def test_the_mean_with_another_model(small_model, settings, run, tmp_path, capsys):
    other = weights_of(small_model)
    other["variables"] = jax.tree.map(lambda leaf: 3 * np.asarray(leaf), other["variables"])
    other["temperature"] = np.float32(7.0)
    model_file.write(tmp_path / "other.npz", settings, other)
    words = ["pack", "--ckpt", str(run), "--mean-with", str(tmp_path / "other.npz"), "--out"]
    assert main([*words, str(tmp_path / "mean.npz")]) == 0
    _, found = model_file.read(tmp_path / "mean.npz")
    assert "temperature" not in found
    expected = weights_of(small_model)
    for leaf, half in zip(
        jax.tree.leaves(found["variables"]), jax.tree.leaves(expected["variables"]), strict=True
    ):
        np.testing.assert_allclose(leaf, 2 * np.asarray(half), rtol=2e-3, atol=1e-6)
    np.testing.assert_array_equal(found["shape"]["mean"], expected["shape"]["mean"])

    other["variables"] = jax.tree.map(lambda leaf: 5 * leaf / 3, other["variables"])
    model_file.write(tmp_path / "third.npz", settings, other)
    words.insert(-1, str(tmp_path / "third.npz"))
    assert main([*words, str(tmp_path / "three.npz")]) == 0  # of 1, 3 and 5
    _, found = model_file.read(tmp_path / "three.npz")
    for leaf, half in zip(
        jax.tree.leaves(found["variables"]), jax.tree.leaves(expected["variables"]), strict=True
    ):
        np.testing.assert_allclose(leaf, 3 * np.asarray(half), rtol=2e-3, atol=1e-6)

    other["shape"]["mean"] = np.asarray(other["shape"]["mean"]) + 1
    model_file.write(tmp_path / "other.npz", settings, other)
    assert main([*words, str(tmp_path / "none.npz")]) == 1
    assert "another network or shape model" in capsys.readouterr().err
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ckpt", "nowhere", "--out", "m.npz"], "nowhere: no training run there"),
        (["--ckpt", "run", "--out", "m.bin"], "a name that ends in .npz"),
        (["--ckpt", "run", "--step", "latest", "--out", "m.npz"], "no latest checkpoint"),
        (["--ckpt", "run", "--out", "nowhere/m.npz"], "nowhere/m.npz"),
    ],
)
def test_what_cannot_be_packed_says_why(run, monkeypatch, capsys, words, message):
    monkeypatch.chdir(run.parent)
    assert main(["pack", *words]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_weights_beyond_half_precision_are_refused(small_model, settings, tmp_path):
    arrays = weights_of(small_model)
    arrays["variables"] = {"params": {"wide": np.array([70_000.0])}}
    with pytest.raises(ValueError, match="variables/params/wide: not a finite number in half"):
        model_file.write(tmp_path / "m.npz", settings, arrays)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK?"])
def test_a_damaged_file_is_told(small_model, settings, tmp_path, damage):
    file = tmp_path / "m.npz"
    model_file.write(file, settings, weights_of(small_model))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"m\.npz: no model file, or a damaged one"):
        jssm.load(file)


def test_an_array_file_of_others_is_no_model(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npz: no model file"):
        jssm.load(tmp_path / "a.npz")


@pytest.mark.parametrize("name", weights.RELEASED)
def test_each_model_of_the_package_loads_and_has_its_papers(name, capsys):
    model = jssm.load(name)
    assert model.shape.mean.shape == (88, 2)
    file = weights.file_of(name)
    assert file.stat().st_size < 8 * 2**20
    assert weights.RELEASED[name].licence in file.with_name(f"{name}.LICENSE.txt").read_text()
    assert weights.RELEASED[name].licence in Path(f"docs/models/{name}.md").read_text()
    assert main(["models"]) == 0
    assert f"| {name} " in capsys.readouterr().out


def test_a_file_that_is_not_the_released_one_is_refused(monkeypatch):
    other = weights.RELEASED["echo"]._replace(sha256="0")
    monkeypatch.setitem(weights.RELEASED, "echo", other)
    with pytest.raises(ValueError, match=r"echo\.npz: is damaged; install jssm anew"):
        jssm.load("echo")


def test_a_released_file_that_is_missing_is_told(monkeypatch):
    monkeypatch.setitem(weights.RELEASED, "lost", weights.RELEASED["echo"])
    with pytest.raises(ValueError, match=r"lost\.npz: is missing; install jssm anew"):
        jssm.load("lost")


def test_one_file_has_no_other_checkpoint(small_model, settings, tmp_path):
    file = tmp_path / "m.npz"
    model_file.write(file, settings, weights_of(small_model))
    for source in (file, "echo"):
        with pytest.raises(ValueError, match="no run directory, so it has no latest checkpoint"):
            jssm.load(source, step="latest")


def test_a_model_is_named_once(capsys):
    predict = ["predict", "scans", "--out", "results"]
    twice = [*predict, "--model", "echo", "--ckpt", "runs/x"]
    for words in (twice, [*predict, "--model", "eco"], ["export", "--out", "x"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "--model" in capsys.readouterr().err
