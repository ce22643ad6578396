"""What a training starts from: a trained model, whole."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.config import Config, ModelConfig, TrainConfig
from jssm.dataset import load
from jssm.methods import model_file, registry, start
from jssm.methods.model import Model, weights_of
from jssm.networks.evidence import EvidenceNetwork
from jssm.training import loop, plan
from tests.conftest import random_variables, random_weights, write_dataset


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


def test_as_many_modes_go_on_as_the_settings_say(small_shape, eight_points, tmp_path):
    """Nothing in the network of the method evidence knows their number. More there are not."""
    settings = Config(data=str(eight_points), method="evidence", init_from=str(tmp_path / "m.npz"))
    settings.model = ModelConfig(size=32, depth=18, width=2, num_modes=2, searches=1)
    network = EvidenceNetwork(width=2, searches=1)
    variables = random_variables(network, small_shape)
    trained = Model(variables, small_shape, np.eye(2, 3), network, 32)
    model_file.write(tmp_path / "m.npz", settings, weights_of(trained))
    for wanted, kept in ((1, 1), (2, 2), (30, 2)):
        settings.model.num_modes = wanted
        found = start.of(settings)
        modes = found.constants["shape"]["modes"]
        np.testing.assert_array_equal(modes, small_shape.modes[:kept])
        assert plan.settle(settings, load(eight_points), found.constants).model.num_modes == kept
        found.into(variables)


def test_a_method_without_a_shape_model_goes_on_with_what_it_has(small_data, tmp_path):
    """TeTrIS with its template, which has to be as large as the images."""
    data, template = load(small_data), np.full((32, 32), 0.5, np.float32)
    settings = Config(data=str(small_data), method="tetris", init_from=str(tmp_path / "m.npz"))
    settings.model = ModelConfig(size=32, depth=18, width=2)
    how = registry.method_from(settings, {"mean_mask": template})
    variables = random_weights(lambda: how.init(jax.random.key(0)))
    model_file.write(tmp_path / "m.npz", settings, {"variables": variables, "mean_mask": template})
    found = start.of(settings)
    settled = plan.settle(settings, data, found.constants)
    how = registry.method_from(settled, found.constants)
    np.testing.assert_array_equal(found.constants["mean_mask"], template)
    plan.make_plan(how, data, settled, constants=found.constants, into=found.into)
    settled.model.size = 64
    with pytest.raises(ValueError, match="the template is 32 pixels wide but the images are 64"):
        registry.method_from(settled, found.constants)


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
