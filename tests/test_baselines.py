"""The baselines: their sizes, their losses, and one of them from training to evaluation."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm import checkpoint, config, dataset, evaluation, labels, training
from jssm.augment import Augmentation
from jssm.baselines import BASELINES, segmenter, unet
from jssm.config import BaselineConfig, Config, ModelConfig, TrainConfig
from tests.conftest import SIZE, write_dataset

rng = np.random.default_rng(0)


def tiny(data, method="unet", **baseline) -> Config:
    """A run of two epochs of two steps."""
    return Config(
        data=str(data),
        method=method,
        model=ModelConfig(size=SIZE, depth=18, width=2),
        baseline=BaselineConfig(**baseline),
        train=TrainConfig(batch_size=8, epochs=2, learning_rate=0.01),
        augment=Augmentation(flip_left_right=True, rotation_degrees=10.0),
    )


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def parameters(network, size) -> int:
    images = jnp.zeros((1, size, size, 1))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


def fill(how):
    """Variables from numpy, which need no compilation."""
    shapes = jax.eval_shape(how.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            np.ones(leaf.shape, np.float32)
            if path[-1].key in ("scale", "var")
            else (0.3 * np.random.default_rng(1).normal(size=leaf.shape)).astype(np.float32)
        ),
        shapes,
    )


def batch_of(data, covers):
    """The first cases, with these codes of what their labels cover."""
    (batch,) = dataset.batches(data, np.arange(len(covers))[None])
    return {
        "image": batch["image"] / np.float32(255),
        "mask": batch["mask"].astype(np.float32),
        "covers": np.array(covers, np.int8),
        "epoch": np.float32(0),
    }


@pytest.fixture(scope="module")
def data(small_data):
    return dataset.load(small_data)


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """A U-Net's run, not interrupted."""
    run = tmp_path_factory.mktemp("baselines") / "whole"
    training.train(tiny(small_data), run)
    return run


def test_every_method_has_a_name_for_the_settings():
    assert {config.OURS, *BASELINES} == set(config.METHODS)


def test_the_u_net_has_the_published_size():
    assert parameters(unet.network_from(Config()), 32) == pytest.approx(31.0e6, rel=0.01)


def test_a_run_has_scores_of_masks_and_none_of_points(trained):
    assert [set(record) for record in records(trained)] == [
        {"epoch", "step", "train_loss", "val_dice", "images_per_second"}
    ] * 2
    assert (trained / "overlays").is_dir()


def test_a_stopped_baseline_continues_bit_for_bit(trained, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "AHEAD", 0)  # so that the signal comes where it is sent
    count = training._Loop._count_step

    def count_and_stop(self, metrics):
        count(self, metrics)
        if self.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(training._Loop, "_count_step", count_and_stop)
    with pytest.raises(training.Stopped, match="after step 3"):
        training.train(tiny(small_data), tmp_path / "run")
    monkeypatch.setattr(training._Loop, "_count_step", count)
    training.train(tiny(small_data), tmp_path / "run")
    weights = [checkpoint.read_weights(r, step="latest") for r in (trained, tmp_path / "run")]
    jax.tree.map(np.testing.assert_array_equal, *weights)


def test_a_baseline_is_evaluated_like_any_method(trained, small_data):
    how, variables = checkpoint.load_method(trained)
    images = dataset.load(small_data).images
    found = how.predict(variables, images[:2])
    assert found.mask.shape == (2, SIZE, SIZE)
    assert found.points is None
    script = Path(evaluation.__file__).parent.parent / "eval.py"
    done = subprocess.run(
        [sys.executable, str(script), "--ckpt", str(trained)],
        capture_output=True,
        text=True,
        cwd=script.parent,
        check=True,
    )
    assert "| whole " in done.stdout
    scores = json.loads((trained / "eval" / "metrics.json").read_text())
    best = max(record["val_dice"] for record in records(trained))
    assert scores["dice"]["mean"] == pytest.approx(best, abs=1e-3)
    assert scores["point_rmse_px"] is None
    assert scores["folded_share"] is None


def test_a_baseline_is_no_model(trained):
    with pytest.raises(ValueError, match=r"holds the method unet, which has no shape model"):
        jssm.load(trained)


def test_a_baseline_needs_whole_walls(tmp_path):
    directory = write_dataset(tmp_path / "data")
    table = (directory / "cases.csv").read_text().splitlines()
    kinds = ["covers", *["myocardium"] * 16, *["cavity"] * 4]
    lines = [f"{line},{kind}" for line, kind in zip(table, kinds, strict=True)]
    (directory / "cases.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"method unet needs cases .* the split val has none"):
        training.train(tiny(directory), tmp_path / "run")


def test_wrong_settings_are_named():
    wrong = Config(data="x", method="vnet", init_from="weights.pth")
    wrong.baseline.loss = "focal"
    with pytest.raises(ValueError, match=r"(?s)method: 'vnet'.*init_from.*baseline\.loss: 'focal'"):
        config.validate(wrong)


@pytest.mark.parametrize("method", BASELINES)
def test_only_whole_walls_count_and_gradients_are_finite(method, data):
    """A batch of whole walls and others has the loss of its walls; one without any has none."""
    how = BASELINES[method].method(tiny("x", method), BASELINES[method].constants(data))
    variables = fill(how)

    @jax.jit
    def objective(params, batch):
        def loss(params, batch):
            return how.loss(variables | {"params": params}, batch, jax.random.key(0))[0]

        split = {k: v if np.ndim(v) == 0 else v[None] for k, v in batch.items()}
        axes = {k: None if np.ndim(v) == 0 else 0 for k, v in batch.items()}
        return jax.vmap(jax.value_and_grad(loss), (None, axes), axis_name="batch")(params, split)

    batch = batch_of(data, [labels.MYOCARDIUM, labels.NONE, labels.CAVITY, labels.MYOCARDIUM])
    spoilt = batch | {"mask": batch["mask"] * (batch["covers"] == labels.MYOCARDIUM)[:, None, None]}
    losses = []
    for one in (batch, spoilt, batch | {"covers": np.zeros(4, np.int8)}):
        loss, gradient = objective(variables["params"], one)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        losses.append(float(loss[0]))
    assert losses[0] == losses[1] > 0
    assert losses[2] == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_cross_entropy_and_dice_of_the_u_net():
    logits, true = (
        rng.normal(size=(6, 5)).astype(np.float32),
        rng.integers(0, 2, (6, 5)).astype(np.float32),
    )
    chance = 1 / (1 + np.exp(-logits))
    entropy = -np.mean(true * np.log(chance) + (1 - true) * np.log(1 - chance))
    dice = 1 - 2 * (chance * true).sum() / (chance.sum() + true.sum())
    found = [
        float(unet.case_loss(logits, true, 0, kind=kind)) for kind in ("cross_entropy", "dice")
    ]
    assert found == pytest.approx([entropy, dice], rel=1e-5)
    far = jax.grad(segmenter.cross_entropy)(jnp.array([[1e4, -1e4]]), jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(far, [[0.5, -0.5]])
