"""Torchvision's weights in our backbone, against torch's own arithmetic where torch is there."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from jssm import config
from jssm.config import Config, ModelConfig, TrainConfig
from jssm.methods import start
from jssm.methods.regression import method, network_from
from jssm.networks import pretrained
from jssm.networks.cascade import Cascade
from jssm.networks.resnet import STAGES, ResNet
from jssm.training import loop, steps

pytestmark = pytest.mark.usefixtures("four_stages")  # so that all of torchvision's names are met


def torchvision_weights(depth: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights with torchvision's names and shapes, its classifier included."""
    rng = np.random.default_rng(seed)
    expansion, kernels = (4, (1, 3, 1)) if depth == 50 else (1, (3, 3))
    weights: dict[str, np.ndarray] = {}

    def conv(name, out, into, side):
        scale = np.sqrt(2 / (into * side**2))
        weights[f"{name}.weight"] = rng.normal(0, scale, (out, into, side, side))

    def norm(name, out):
        weights[f"{name}.weight"] = rng.uniform(0.5, 1, out)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, out)
        weights[f"{name}.running_mean"] = rng.normal(0, 0.1, out)
        weights[f"{name}.running_var"] = rng.uniform(0.5, 1.5, out)
        weights[f"{name}.num_batches_tracked"] = np.array(7)

    conv("conv1", width, 3, 7)
    norm("bn1", width)
    into = width
    for stage, blocks in enumerate(STAGES[depth]):
        inner = width * 2**stage
        for i in range(blocks):
            name, last = f"layer{stage + 1}.{i}", into
            for k, side in enumerate(kernels, start=1):
                out = inner * (expansion if k == len(kernels) else 1)
                conv(f"{name}.conv{k}", out, last, side)
                norm(f"{name}.bn{k}", out)
                last = out
            if into != last:
                conv(f"{name}.downsample.0", last, into, 1)
                norm(f"{name}.downsample.1", last)
            into = last
    weights["fc.weight"], weights["fc.bias"] = rng.normal(size=(10, into)), rng.normal(size=10)
    return {name: np.asarray(array, np.float32) for name, array in weights.items()}


def variables_of(network) -> dict:
    """Zeros in the shapes of a network's variables."""
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64)), jnp.eye(2, 3), train=False)
    )
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def torch_features(torch, weights, images: np.ndarray, depth: int) -> np.ndarray:
    """Torchvision's ResNet up to its average pooling, written plainly, of (N, 3, H, W) images."""
    functional = torch.nn.functional
    w = {name: torch.from_numpy(array) for name, array in weights.items()}

    def norm(x, name):
        parts = [w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, training=False, eps=1e-5)

    def conv(x, name, stride=1, padding=0):
        return functional.conv2d(x, w[f"{name}.weight"], stride=stride, padding=padding)

    x = norm(conv(torch.from_numpy(images), "conv1", 2, 3), "bn1").relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate(STAGES[depth]):
        for i in range(blocks):
            name, stride = f"layer{stage + 1}.{i}", 2 if stage and not i else 1
            if depth == 50:
                y = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
                y = norm(conv(y, f"{name}.conv2", stride, 1), f"{name}.bn2").relu()
                y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            else:
                y = norm(conv(x, f"{name}.conv1", stride, 1), f"{name}.bn1").relu()
                y = norm(conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in w:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
    return x.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("size", [(64, 96), (75, 53)])
def test_the_features_are_those_of_torch(depth, size):
    """Even and odd sizes, since padding differs there; a grey image as three equal colours."""
    torch = pytest.importorskip("torch")
    weights = torchvision_weights(depth, 8)
    images = np.random.default_rng(1).normal(size=(2, *size)).astype(np.float32)
    expected = torch_features(torch, weights, np.repeat(images[:, None], 3, axis=1), depth)
    network = Cascade(num_modes=2, depth=depth, width=8)
    variables = pretrained.into_backbones(
        variables_of(network), weights, depth=depth, source="weights"
    )
    of_backbone = {part: variables[part]["locate"]["backbone"] for part in variables}
    backbone = ResNet(depth, 8)
    features = jax.jit(lambda v, x: backbone.apply(v, x, train=False))(
        of_backbone, images[..., None]
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features / scale, expected / scale, atol=1e-5)


def test_a_torch_file_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    weights = torchvision_weights(18, 4)
    path = tmp_path / "resnet18.pth"
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)
    found = pretrained.read(path)
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"resnet18\.pth: not a sound \.pth file"):
        pretrained.read(path)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_every_variable_of_every_backbone_is_replaced(depth):
    network = Cascade(num_modes=2, depth=depth, width=4, refinements=1, view_size=32)
    variables = variables_of(network)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, np.float32), variables)
    weights = torchvision_weights(depth, 4)
    loaded = pretrained.into_backbones(variables, weights, depth=depth, source="w")
    flat = traverse_util.flatten_dict(loaded)
    for path, leaf in flat.items():
        assert np.isfinite(leaf).all() == ("backbone" in path), path
    stem = flat["params", "refine_0", "backbone", "stem", "kernel"]
    np.testing.assert_allclose(
        stem[:, :, 0], weights["conv1.weight"].sum(1).transpose(1, 2, 0), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("depth", "width", "missing", "message"),
    [
        (34, 4, "", "those of a ResNet34, but model.depth is 18"),
        (50, 4, "", "those of a ResNet50, but model.depth is 18"),
        (18, 4, "layer", "not those of a ResNet18, 34 or 50"),
        (18, 4, "layer2.0.bn1.bias", r"the first is layer2\.0\.bn1"),
        (18, 6, "", r"--config\.model\.width=6"),
    ],
)
def test_weights_that_do_not_suit_say_why(depth, width, missing, message):
    weights = torchvision_weights(depth, width)
    if missing:
        weights = {name: x for name, x in weights.items() if not name.startswith(missing)}
    variables = variables_of(Cascade(num_modes=2, depth=18, width=4))
    with pytest.raises(ValueError, match=message):
        pretrained.into_backbones(variables, weights, depth=18, source="w.safetensors")


def test_weights_of_something_else_are_refused():
    variables = variables_of(Cascade(num_modes=2, depth=18, width=4))
    with pytest.raises(ValueError, match="not those of a ResNet18, 34 or 50"):
        pretrained.into_backbones(variables, {"weight": np.zeros(3)}, depth=18, source="w.pth")


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        pretrained.read(tmp_path / "none.safetensors")
    for name, message in (
        ("w.safetensors", r"not a sound \.safetensors file"),
        ("w.npz", r"expected weights in a \.safetensors or \.pth file"),
    ):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ValueError, match=message):
            pretrained.read(tmp_path / name)


@pytest.mark.parametrize(
    ("library", "name", "message"),
    [
        ("torch", "w.pth", r"install it, or convert the file with it: .*'w\.safetensors'"),
        ("safetensors", "w.safetensors", "pip install safetensors"),
    ],
)
def test_a_library_that_is_missing_is_named(library, name, message, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(ValueError, match=message):
        pretrained.read(tmp_path / name)


def test_training_starts_from_the_file(small_model, tmp_path):
    path = tmp_path / "resnet18.safetensors"
    weights = torchvision_weights(18, 4)
    save_file(weights, path)
    settings = Config(
        data="data", init_from=str(path), model=ModelConfig(depth=18, width=4, num_modes=2)
    )
    assert config.from_json(config.to_json(settings)) == settings
    how = method(small_model.replace(network=network_from(settings)))
    _, compute = steps.first_state(how, optax.sgd(1.0), settings, into=start.of(settings).into)
    state = compute()
    kernel = state.variables["params"]["locate"]["backbone"]["BasicBlock_0"]["Conv_0"]["kernel"]
    expected = weights["layer1.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)


def test_a_wrong_file_leaves_no_run_behind(small_data, tmp_path):
    path = tmp_path / "resnet34.safetensors"
    save_file(torchvision_weights(34, 4), path)
    settings = Config(data=str(small_data), init_from=str(path))
    settings.model = ModelConfig(depth=18, width=4, num_modes=3)
    settings.train = TrainConfig(batch_size=16, epochs=1)
    with pytest.raises(ValueError, match="those of a ResNet34"):
        loop.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
