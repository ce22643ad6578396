"""The exported model, in a process that cannot import this package."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

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

for folder in sys.argv[1:]:
    exported = export.deserialize(bytearray(open(folder + "/model.jax", "rb").read()))
    images = np.load(folder + "/images.npy")
    for count in {1, len(images)}:
        out = exported.call(images[:count])
    np.savez(folder + "/out.npz", **out)
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


def test_the_artifact_runs_without_this_package(run_directory, model, evidence, tmp_path):
    """For one image of the model's own size, and for three of a size that is asked for, of the
    network that tells how sure it is."""
    of_evidence = write_run(tmp_path / "run", evidence, method="evidence")
    seen = {}
    for name, run, of, shape in (
        ("own", run_directory, model, ()),
        ("asked", of_evidence, evidence, (40, 24)),
    ):
        folder, more = tmp_path / name, ["--shape", *map(str, shape)] if shape else []
        folder.mkdir()
        words = ["--ckpt", str(run), "--out", str(folder / "model.jax"), *more]
        assert main(["export", *words]) == 0
        size = (3 if shape else 1, *(shape or (SIZE, SIZE)))
        images = np.random.default_rng(0).uniform(0, 900, size).astype(np.float32)
        np.save(folder / "images.npy", images)
        seen[folder] = (of, images)
    command = [sys.executable, "-c", PROGRAM, *map(str, seen)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for folder, (of, images) in seen.items():
        expected = jssm.predict(of, images)
        with np.load(folder / "out.npz") as out:
            fields = {name for name, value in vars(expected).items() if value is not None}
            fields -= {"integrity"}
            assert set(out) == fields | {f"integrity.{name}" for name in vars(expected.integrity)}
            assert ("spread" in fields) == (of is evidence)
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
