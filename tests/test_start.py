"""What a training starts from: a trained model, whole."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.config import Config, ModelConfig, TrainConfig
from jssm.methods import model_file, start
from jssm.methods.model import weights_of
from jssm.training import loop
from tests.conftest import write_dataset


@pytest.fixture(scope="module")
def eight_points(tmp_path_factory):
    """A data set whose shapes have as many points as those of the model."""
    return write_dataset(tmp_path_factory.mktemp("data") / "eight", num_points=8)


@pytest.fixture(scope="module")
def packed(small_model, tmp_path_factory):
    """A trained model of a narrow network, as one file."""
    path = tmp_path_factory.mktemp("packed") / "model.npz"
    options = ModelConfig(size=32, depth=18, width=4, num_modes=2)
    model_file.write(path, Config(data="none", model=options), weights_of(small_model))
    return path


def test_training_goes_on_from_a_trained_model(small_model, packed):
    """With its weights, in half precision, and its shape model."""
    settings = Config(
        data="data", init_from=str(packed), model=ModelConfig(depth=18, width=4, num_modes=2)
    )
    found = start.of(settings)
    variables = found.into(small_model.variables)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
        variables,
        small_model.variables,
    )
    np.testing.assert_array_equal(found.constants["shape"]["mean"], small_model.shape.mean)
    assert "temperature" not in found.constants
    with jax.transfer_guard("disallow"):  # as where a training is stopped, and saves them
        jax.tree.map(jnp.copy, found.constants)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model": ModelConfig(depth=18, width=8, num_modes=2)},
            "another network.*width=4",
        ),
        ({"method": "evidence"}, "a model of the method jssm"),
        ({"init_from": "nobody"}, "no training run there.*echo"),
    ],
)
def test_what_a_training_cannot_start_from(packed, eight_points, tmp_path, changes, sentence):
    settings = Config(
        data=str(eight_points),
        init_from=str(packed),
        model=ModelConfig(depth=18, width=4, num_modes=2),
        train=TrainConfig(batch_size=16, epochs=1),
    )
    settings = replace(settings, **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){sentence}"):
        loop.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_shapes_of_a_trained_model_need_as_many_points(packed, small_data, tmp_path):
    """Eight points, but the data set has sixteen."""
    settings = Config(data=str(small_data), init_from=str(packed))
    settings.model = ModelConfig(depth=18, width=4, num_modes=2)
    with pytest.raises(ValueError, match=r"shapes have 8 points but those of .* have 16"):
        loop.train(settings, tmp_path / "run")
