"""The exported model, in a process that cannot import this package."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import deserialize

import jssm
from jssm import checkpoint, config
from jssm.__main__ import main
from jssm.methods import export
from jssm.methods.model import Model, weights_of
from jssm.networks.evidence import EvidenceNetwork
from tests.conftest import SIZE, random_variables
from tests.runs import never

pytestmark = pytest.mark.usefixtures("real_rasterizer")

PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jssm", "flax", "optax", "orbax"):
            raise ImportError(name + " is not there")

sys.meta_path.insert(0, Refuse())
import jax, numpy as np
from jax import export

exported = export.deserialize(bytearray(open("model.jax", "rb").read()))
images = np.load("images.npy")
np.savez("out.npz", **exported.call(images))
"""


@pytest.fixture(scope="module")
def model(small_model):
    """A model of random weights, with a search, whose least squares have to be exported too."""
    network = small_model.network.clone(searches=1)
    variables = random_variables(network, small_model.shape)
    return small_model.replace(network=network, variables=variables)


def write_run(run, model, **settings):
    """A run directory with this model, of images of :data:`SIZE`."""
    run.mkdir()
    more = config.ModelConfig(size=SIZE, depth=18, num_modes=2, searches=1)
    more.width = model.network.width
    (run / "config.json").write_text(
        config.to_json(config.Config(data="data", model=more, **settings))
    )
    with checkpoint.Checkpoints(run) as files:
        files.save_best(1, weights_of(model))
    return run


@pytest.fixture(scope="module")
def run_directory(model, tmp_path_factory):
    """A run with that model."""
    return write_run(tmp_path_factory.mktemp("runs") / "cascade", model)


@pytest.fixture(scope="module")
def evidence(small_shape):
    """A model of the other network of ours."""
    network = EvidenceNetwork(width=2, searches=1)
    mean_theta = jnp.array([[8.0, 0.0, 16.0], [0.0, 8.0, 15.0]])
    return Model(random_variables(network, small_shape), small_shape, mean_theta, network, SIZE)


def test_the_artifact_runs_without_this_package(evidence, tmp_path):
    """For images of a size that is asked for."""
    run = write_run(tmp_path / "run", evidence, method="evidence")
    words = ["--ckpt", str(run), "--out", str(tmp_path / "model.jax"), "--shape", "40", "24"]
    assert main(["export", *words]) == 0
    images = np.random.default_rng(0).uniform(0, 900, (3, 40, 24)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = jssm.predict(evidence, images)
    with np.load(tmp_path / "out.npz") as out:
        fields = {name for name, value in vars(expected).items() if value is not None}
        fields -= {"integrity"}
        assert set(out) == fields | {f"integrity.{name}" for name in vars(expected.integrity)}
        assert "spread" in fields
        for name in fields:
            np.testing.assert_allclose(out[name], getattr(expected, name), atol=2e-3)
        np.testing.assert_array_equal(out["integrity.ok"], expected.integrity.ok)


def test_a_cascade_is_exported_at_its_own_size(run_directory, tmp_path):
    """With the least squares of its search, for any number of images, for all platforms."""
    out = tmp_path / "model.jax"
    assert main(["export", "--ckpt", str(run_directory), "--out", str(out)]) == 0
    exported = deserialize(bytearray(out.read_bytes()))
    (images,) = exported.in_avals
    assert str(images.shape) == f"(batch, {SIZE}, {SIZE})"
    assert exported.platforms == ("cpu", "cuda")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ckpt", "nowhere"), "nowhere: no training run there"),
        (("--step", "latest"), "no latest checkpoint"),
        (("--shape", "0", "8"), "two positive numbers were expected"),
        (("--out", "nowhere/model.jax"), "nowhere/model.jax"),
    ],
)
def test_what_cannot_be_exported_says_why(
    run_directory, tmp_path, capsys, monkeypatch, words, message
):
    """Before the model is traced."""
    monkeypatch.setattr(export, "serialize", never)
    usual = ["export", "--ckpt", str(run_directory), "--out", str(tmp_path / "model.jax")]
    assert main([*usual, *words]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_subcommand_is_needed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err
