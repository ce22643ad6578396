"""The exported model, in a process that cannot import this package."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import jssm
from jssm import checkpoint, config
from jssm.__main__ import main
from jssm.methods.model import weights_of
from tests.conftest import random_variables

PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jssm", "flax", "optax", "orbax"):
            raise ImportError(name + " is not there")

sys.meta_path.insert(0, Refuse())
import jax, numpy as np
from jax import export

exported = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
images = np.load(sys.argv[2])
for count in (1, len(images)):
    out = exported.call(images[:count])
np.savez(sys.argv[3], **out)
"""


@pytest.fixture(scope="module")
def model(small_model):
    """A model of random weights, with a search, whose least squares have to be exported too."""
    network = small_model.network.clone(searches=1)
    variables = random_variables(network, small_model.shape)
    return small_model.replace(network=network, variables=variables)


@pytest.fixture(scope="module")
def run_directory(model, tmp_path_factory):
    """A run with that model."""
    run = tmp_path_factory.mktemp("run")
    settings = config.Config(data="data")
    settings.model = config.ModelConfig(size=32, depth=18, width=4, num_modes=2, searches=1)
    (run / "config.json").write_text(config.to_json(settings))
    with checkpoint.Checkpoints(run) as files:
        files.save_best(1, weights_of(model))
    return run


@pytest.mark.parametrize("shape", [(), (40, 24)])
def test_the_artifact_runs_without_this_package(run_directory, model, tmp_path, shape):
    more = ["--shape", *map(str, shape)] if shape else []
    file = tmp_path / "model.jax"
    assert main(["export", "--ckpt", str(run_directory), "--out", str(file), *more]) == 0
    size = shape or (32, 32)
    images = np.random.default_rng(0).uniform(0, 900, (3, *size)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    names = [str(tmp_path / name) for name in ("model.jax", "images.npy", "out.npz")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    expected = jax.jit(jssm.predict)(model, images)
    with np.load(tmp_path / "out.npz") as out:
        fields = set(vars(expected)) - {"integrity"}
        assert set(out) == fields | {f"integrity.{name}" for name in vars(expected.integrity)}
        for name in fields:
            np.testing.assert_allclose(out[name], getattr(expected, name), atol=2e-3)
        np.testing.assert_array_equal(out["integrity.ok"], expected.integrity.ok)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ckpt", "nowhere"), "nowhere: no training run there"),
        (("--step", "latest"), "no latest checkpoint"),
        (("--shape", "0", "8"), "two positive numbers were expected"),
        (("--out", "nowhere/model.jax"), "nowhere/model.jax"),
    ],
)
def test_what_cannot_be_exported_says_why(run_directory, tmp_path, capsys, words, message):
    usual = ["export", "--ckpt", str(run_directory), "--out", str(tmp_path / "model.jax")]
    assert main([*usual, *words]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_subcommand_is_needed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err
