"""Shared fixtures: a small data set and a small model, made of horseshoes."""

import gc
import json
import os

# Tests compile much and compute little; so they compile twice as fast. JAX reads it when it is
# imported.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
# Hardly a program is compiled twice, and to look for each on the disk costs more than that.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jssm import rasterizer
from jssm.cines import programs, writing
from jssm.methods.model import Model
from jssm.networks import resnet
from jssm.networks.cascade import Cascade
from jssm.rasterizer import loops
from jssm.shape import shape_model
from tests import dense, reference, shallow

gc.set_threshold(100_000)  # tracing makes objects by the million, few of them garbage

SIZE = 32
WHOLE_18, TURNS = resnet.STAGES[18], loops.TURNS
shallow.install()


@pytest.fixture
def whole_resnets(monkeypatch):
    """The ResNet18 that it is, for tests of this network itself."""
    monkeypatch.setitem(resnet.STAGES, 18, WHOLE_18)


@pytest.fixture
def drawn():
    """Figures that are drawn, for tests of pictures."""
    with shallow.drawn():
        yield


@pytest.fixture(scope="module")
def real_rasterizer():
    """The rasterizer that it is, for tests of the rasterizer itself."""
    with dense.absent():
        yield


@pytest.fixture(scope="module")
def whole_turns(real_rasterizer):
    """Its loops too as they are, for tests of these themselves."""
    jax.clear_caches()  # what was traced before is of shorter ones
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "TURNS", TURNS)
        yield


@pytest.fixture(scope="module")
def four_stages():
    """A ResNet18 with a block in each of its stages, for tests that need all of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.STAGES, 18, (1, 1, 1, 1))
        yield


@pytest.fixture(scope="session")
def small_shape() -> shape_model.ShapeModel:
    """Eight points, two modes; centroid 0, RMS radius 1."""
    mean = reference.horseshoe(8, center=(0, 0), inner=0.7, outer=1.2)
    mean = (mean - mean.mean(0)) / np.sqrt(((mean - mean.mean(0)) ** 2).sum(1).mean())
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 2)))[0].T
    return shape_model.ShapeModel(
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(basis.reshape(2, 8, 2), jnp.float32),
        jnp.array([0.04, 0.01]),
    )


@pytest.fixture(scope="session")
def small_model(small_shape) -> Model:
    """A model of the smallest width with random weights, for 32×32 images."""
    with pytest.MonkeyPatch.context() as patch:  # whatever the test that asks first has
        patch.setitem(resnet.STAGES, 18, shallow.SHORT_18)
        return random_model(small_shape)


def random_model(shape: shape_model.ShapeModel) -> Model:
    """Such a model, of the ResNet18 as it is at the time."""
    network = Cascade(num_modes=2, depth=18, width=4)
    mean_theta = jnp.array([[8.0, 0.0, 16.0], [0.0, 8.0, 15.0]])
    return Model(random_variables(network), shape, mean_theta, network, SIZE)


def random_variables(network: Cascade, shape: shape_model.ShapeModel | None = None):
    """Weights of our networks for such images."""
    return random_weights(
        lambda: network.init(
            jax.random.key(0), jnp.zeros((1, SIZE, SIZE)), jnp.eye(2, 3), shape, train=False
        )
    )


def random_weights(init):
    """Weights from numpy, of the shapes that ``init()`` would have: to compile a network's own
    initializers takes many times longer."""
    shapes, rng = jax.eval_shape(init), np.random.default_rng(0)

    def fill(path, leaf):
        name = path[-1].key
        if name == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            return rng.normal(scale=0.5 / np.sqrt(fan_in), size=leaf.shape).astype(np.float32)
        return np.full(leaf.shape, name in ("scale", "var"), np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def write_dataset(directory, *, cases=20, num_points=16, size=SIZE, seed=0):
    """A data set directory of noisy horseshoes; the last fifth are validation cases."""
    rng = np.random.default_rng(seed)
    base = reference.horseshoe(num_points, center=(0, 0), inner=0.8, outer=1.2)
    canonical = base + 0.03 * rng.normal(size=(cases, 1, 2)) * base
    angle, scale = rng.uniform(-0.3, 0.3, cases), size * rng.uniform(0.22, 0.28, cases)
    linear = scale[:, None, None] * np.stack(
        [
            np.stack([np.cos(angle), -np.sin(angle)], -1),
            np.stack([np.sin(angle), np.cos(angle)], -1),
        ],
        axis=1,
    )
    thetas = np.concatenate([linear, np.full((cases, 2, 1), size / 2)], axis=2)
    points = np.stack(
        [reference.affine_apply(t, c) for t, c in zip(thetas, canonical, strict=True)]
    )
    masks = jax.vmap(lambda p: rasterizer.rasterize(p, (size, size)))(jnp.asarray(points)) > 0.5
    images = np.clip(60 + 120 * np.asarray(masks) + 20 * rng.normal(size=masks.shape), 0, 255)
    train = cases - cases // 5
    flat = (canonical[:train] - canonical[:train].mean(0)).reshape(train, -1)
    _, singular, rows = np.linalg.svd(flat, full_matrices=False)
    shape = shape_model.ShapeModel(
        canonical[:train].mean(0),
        rows[:4].reshape(4, num_points, 2),
        np.maximum(singular[:4] ** 2 / (train - 1), 1e-6),
    )
    directory.mkdir(parents=True, exist_ok=True)
    arrays = {
        "images": images.astype(np.uint8),
        "masks": np.asarray(masks, np.uint8),
        "points": points.astype(np.float32),
        "canonical_points": canonical.astype(np.float32),
        "thetas": thetas.astype(np.float32),
        "spacing_mm": np.full((cases, 2), 1.5, np.float32),
    }
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    shape_model.save(directory / "shape_model.npz", shape)
    table = pd.DataFrame(
        {
            "case": [f"case{i:02d}" for i in range(cases)],
            "patient": [f"patient{i:02d}" for i in range(cases)],
            "frame": 0,
            "split": ["train"] * train + ["val"] * (cases - train),
            "row": range(cases),
        }
    )
    table.to_csv(directory / "cases.csv", index=False)
    (directory / "dataset.json").write_text(json.dumps({"format": 1, "view": "4ch", "size": size}))
    return directory


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """The directory of a data set of 20 cases of 32×32."""
    return write_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """`jssm predict` writes in the process under test, unless it is told otherwise; and it keeps no
    traced programs, for tests change what is traced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "usual_number", lambda: 0)
        patch.setattr(programs, "folder", lambda: None)
        patch.setattr(programs, "COMPILER_OPTIONS", {})  # those above
        yield


SLOWEST = ("test_rasterizer", "test_training", "test_cli", "test_benchmarks", "test_motion")


def pytest_collection_modifyitems(items):
    """Files that take long go first, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.path.stem not in SLOWEST)


def pytest_sessionfinish():
    """Pytest ends with five full collections, each of seconds: there is nothing left to collect."""
    gc.freeze()
