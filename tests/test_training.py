import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

import jssm
from jssm import checkpoint, dataset, rasterizer
from jssm.config import Augmentation, Config, ModelConfig, TrainConfig
from jssm.methods import registry
from jssm.methods.method import AXIS, mean_dice
from jssm.networks import resnet
from jssm.shape import labels, order
from jssm.training import feed, loop, steps, validation
from tests import toy
from tests.conftest import SIZE, write_dataset
from tests.runs import assert_same, fail_at, never, records, stop_at


def tiny(data, **train) -> Config:
    """The smallest run of the real network that has both parts of the training strategy."""
    options = {"batch_size": 4, "epochs": 4, "points_epochs": 2, "validate_every": 2} | train
    return Config(
        data=str(data),
        model=ModelConfig(depth=18, width=4, num_modes=3),
        train=TrainConfig(**options),
        augment=Augmentation(flip_left_right=True, rotation_degrees=10.0),
    )


@pytest.fixture(scope="module", autouse=True)
def _one_block():
    """One block of the ResNet is enough for the loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.STAGES, 18, (1,))
        yield


@pytest.fixture(scope="module")
def toy_run(small_data, tmp_path_factory):
    """A run of the toy, not interrupted."""
    run = tmp_path_factory.mktemp("runs") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch)
        loop.train(toy.config(small_data, ema=0.9), run)
    return run


def step_of(config, method, data):
    """A run's step, under the mapped axis of one device, its first state and its first batch."""
    optimizer, size = steps.make_optimizer(config.train, 1), config.train.batch_size
    step = partial(
        steps.train_step,
        method=method,
        optimizer=optimizer,
        augmentation=config.augment,
        ema=config.train.ema,
        seed=0,
    )
    mapped = jax.jit(jax.vmap(step, (None, 0), out_axes=(None, 0), axis_name=AXIS))
    (batch,) = dataset.batches(data, np.arange(size)[None])
    batch |= {"place": np.arange(size), "epoch": np.float32(0)}
    batch |= {"point_weight": np.float32(1), "mask_weight": np.float32(1)}
    split = {name: value[None] for name, value in batch.items()}
    return mapped, steps.first_state(method, optimizer, config), split


def test_training_in_bfloat16_learns_and_keeps_its_state_in_float32(small_data):
    """Every method's gradients are float32 then: see test_baselines and test_real_configs."""
    config, data = tiny(small_data, batch_size=16, ema=0.9), dataset.load(small_data)
    config.model = replace(config.model, size=SIZE, bfloat16=True)
    method = registry.method_from(config, registry.constants_of(config, data))
    step, (before, compute), batch = step_of(config, method, data)
    traced = step.trace(before, batch)
    after, metrics = traced.out_info
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), before
    )
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((after, metrics))} == {"float32", "int32"}
    assert "bf16" in str(traced.jaxpr)
    step, state, losses = traced.lower().compile(), compute(), []
    for _ in range(12):
        state, metrics = step(state, batch | {"mask_weight": np.zeros(1, np.float32)})
        losses.append(float(metrics["loss"][0]))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_stopped_run_of_the_real_network_continues_bit_for_bit(small_data, tmp_path):
    """Stopped by a signal in the middle of an epoch of four steps."""
    config = tiny(small_data, ema=0.9)
    loop.train(config, tmp_path / "whole")
    with pytest.raises(loop.Stopped, match="after step 7; the same command"):
        loop.train(config, tmp_path / "run", on_step=stop_at(5))
    loop.train(config, tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_the_average_of_few_steps_is_their_mean(small_data):
    """However slow it is later on, so that it forgets the first weights at once."""
    config = toy.config(small_data, ema=0.999)
    step, (_, compute), batch = step_of(config, toy.method(), dataset.load(small_data))
    state, seen = compute(), []
    for _ in range(3):
        state, _ = step(state, batch)
        seen.append(state.variables)
    mean = jax.tree.map(lambda *values: np.mean(values, axis=0), *seen)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), state.average, mean)


def test_a_run_may_be_stopped_again_and_again(toy_run, small_data, tmp_path, monkeypatch):
    """In the first epoch, at the end of one, and in the second part of the strategy."""
    toy.install(monkeypatch)
    for step, last in ((1, 3), (8, 8), (20, 22)):
        with pytest.raises(loop.Stopped, match=f"after step {last}; the same command"):
            loop.train(toy.config(small_data, ema=0.9), tmp_path / "run", on_step=stop_at(step))
    loop.train(toy.config(small_data, ema=0.9), tmp_path / "run")
    assert_same(toy_run, tmp_path / "run")


def test_a_run_that_is_stopped_while_it_compiles_begins_there_again(
    toy_run, small_data, tmp_path, monkeypatch
):
    toy.install(monkeypatch)
    compiled = loop._compile

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return compiled(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_compile", interrupted)
        with pytest.raises(loop.Stopped, match="after step 0; the same command"):
            loop.train(toy.config(small_data, ema=0.9), tmp_path / "run")
    loop.train(toy.config(small_data, ema=0.9), tmp_path / "run")
    assert_same(toy_run, tmp_path / "run")


def test_a_run_that_fails_leaves_its_best_and_can_begin_anew(
    toy_run, small_data, tmp_path, monkeypatch
):
    """Before any checkpoint was due."""
    toy.install(monkeypatch)
    monkeypatch.setattr(loop, "SAVE_S", np.inf)
    with pytest.raises(OSError, match="no space left"):
        loop.train(toy.config(small_data, ema=0.9), tmp_path / "run", on_step=fail_at(20))
    checkpoint.read_weights(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no latest checkpoint"):
        checkpoint.read_weights(tmp_path / "run", step="latest")
    loop.train(toy.config(small_data, ema=0.9), tmp_path / "run")
    assert_same(toy_run, tmp_path / "run")


def test_a_finished_run_is_not_trained_again(toy_run, small_data, monkeypatch):
    toy.install(monkeypatch, loss=never)
    before = {path: path.stat().st_mtime_ns for path in toy_run.rglob("*") if path.is_file()}
    loop.train(toy.config(small_data, ema=0.9), toy_run)
    (toy_run / "config.json").touch()
    after = {path: path.stat().st_mtime_ns for path in toy_run.rglob("*") if path.is_file()}
    before.pop(toy_run / "config.json")
    after.pop(toy_run / "config.json")
    assert after == before


def test_the_strategy_of_a_run(toy_run):
    assert [r["epoch"] for r in records(toy_run)] == [1, 2, 3, 4]
    assert [r["step"] for r in records(toy_run)] == [8, 16, 24, 32]
    assert [r["mask_weight"] for r in records(toy_run)] == [0, 0, 0.5, 0.5]
    assert ["train_mask_loss" in r for r in records(toy_run)] == [False, False, True, True]


def test_another_run_is_refused_before_anything_is_traced(
    toy_run, small_data, tmp_path, monkeypatch
):
    toy.install(monkeypatch, init=never, loss=never)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        loop.train(toy.config(small_data, epochs=5), toy_run)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match=r"holds checkpoints but no config\.json"):
        loop.train(toy.config(small_data), tmp_path)


def test_the_hook_gets_every_step_with_its_metrics(small_data, tmp_path, monkeypatch):
    toy.install(monkeypatch)
    seen = []
    loop.train(
        toy.config(small_data, epochs=3, points_epochs=1, validate_every=3),
        tmp_path / "run",
        on_step=lambda step, metrics: seen.append((step, metrics)),
    )
    assert [step for step, _ in seen] == list(range(1, 25))
    assert ["mask_loss" in metrics for _, metrics in seen] == [False] * 8 + [True] * 16
    (record,) = records(tmp_path / "run")
    for name in ("loss", "mask_loss"):
        values = [metrics[name] for _, metrics in seen if name in metrics]
        assert record[f"train_{name}"] == pytest.approx(np.mean(values))


def test_a_loss_that_is_not_finite_names_the_step(small_data, tmp_path, monkeypatch):
    toy.install(monkeypatch)
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at step \d"):
        loop.train(toy.config(small_data, learning_rate=1e30), tmp_path / "run")


def test_validation_takes_every_case_once(small_data):
    """In batches of one shape, the last of which is filled with cases that do not count twice."""
    data = dataset.load(small_data)
    method = toy.method()
    variables = method.init(jax.random.key(0))
    source = feed.Feed(data, jax.devices()[:1])
    scores = validation.Validation(method, data, source, batch_size=3).scores(variables)
    (whole,) = dataset.batches(data, data.rows("val")[None])
    for name, values in validation.case_scores(method, variables, whole).items():
        assert scores[name] == pytest.approx(float(np.mean(values)), rel=1e-5)


def test_half_labelled_cases_choose_the_best_as_much_as_whole_ones():
    assert mean_dice({"dice": 0.8, "cavity_dice": 0.4, "points_loss": 9.0}) == pytest.approx(0.6)
    assert mean_dice({"cavity_dice": 0.4}) == 0.4


def test_validation_of_half_labelled_cases(small_data):
    """Each label gives its own scores, and the others are NaN; here all is found as it is."""
    data = dataset.load(small_data)
    (batch,) = dataset.batches(data, np.arange(3)[None])
    true = np.array(batch["points"])
    cavity = rasterizer.rasterize(true[1, order.cavity_strip(true.shape[1])], (SIZE, SIZE)) > 0.5
    batch["covers"] = np.array([labels.MYOCARDIUM, labels.CAVITY, labels.NONE], np.int8)
    batch["mask"] = np.stack([batch["mask"][0], cavity, np.zeros_like(cavity)])
    batch["points"] = np.where(np.arange(3)[:, None, None] == 2, np.nan, true)
    seen = SimpleNamespace(mask=(data.masks[:3] > 0).astype(np.float32), points=true)
    perfect = toy.method()._replace(predict=lambda *_: seen, scores=None)
    scores = jax.jit(partial(validation.case_scores, perfect))({}, batch)
    np.testing.assert_allclose(scores["dice"], [1, np.nan, np.nan])
    np.testing.assert_allclose(scores["cavity_dice"], [np.nan, 1, np.nan])
    np.testing.assert_allclose(scores["points_loss"], [0, 0, np.nan], atol=1e-6)


def test_what_is_wrong_is_found_before_anything_is_written(small_data, tmp_path, monkeypatch):
    toy.install(monkeypatch, loss=never, clip=3)
    config, run = toy.config(small_data), tmp_path / "run"
    for wrong, error, message in (
        (replace(config, model=ModelConfig(size=64)), ValueError, r"size is 64 .* are 32 pixels"),
        (replace(config, data=str(tmp_path / "nowhere")), FileNotFoundError, "not a data set"),
        (toy.config(small_data, batch_size=4), ValueError, "not made of whole clips of 3 frames"),
    ):
        with pytest.raises(error, match=message):
            loop.train(wrong, run)
        assert not run.exists()


def test_validation_needs_a_label(tmp_path):
    directory = write_dataset(tmp_path / "data")
    table = (directory / "cases.csv").read_text().splitlines()
    kinds = ["covers", *["myocardium"] * 16, *["none"] * 4]
    lines = [f"{line},{kind}" for line, kind in zip(table, kinds, strict=True)]
    (directory / "cases.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="no validation case has a label"):
        loop.train(tiny(directory), tmp_path / "run")


def test_load_of_a_run_without_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="no training run there"):
        jssm.load(tmp_path)
    (tmp_path / "config.json").write_text(loop.config_lib.to_json(tiny("x")))
    with pytest.raises(FileNotFoundError, match="no best checkpoint"):
        jssm.load(tmp_path)
    with pytest.raises(ValueError, match="expected one of best, latest"):
        jssm.load(tmp_path, step="first")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"learning_rate": 0.1}, [0.1, 0.1, 0.1]),
        ({"learning_rate": 0.1, "warmup_epochs": 1, "epochs": 3}, [0.0, 0.1, 0.1]),
    ],
)
def test_the_optimizer_is_adam_with_its_schedule(options, expected):
    """Adam's step has the size of the learning rate when the gradient is constant."""
    optimizer = steps.make_optimizer(TrainConfig(**options), steps_per_epoch=1)
    params = {"w": np.zeros(1, np.float32)}
    state = optimizer.init(params)
    sizes = []
    for _ in expected:
        updates, state = optimizer.update({"w": np.ones(1, np.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        sizes.append(-float(updates["w"][0]))
    np.testing.assert_allclose(sizes, expected, rtol=1e-4)


def test_eight_devices_train_as_one(small_data, tmp_path):
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    }
    command = [sys.executable, "-m", "tests.eight_devices", str(small_data), str(tmp_path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    assert found["moved"] > 1e-3, "the step did nothing"
    assert found["difference"] < 1e-5
    assert found["devices_of_validation"] == 1  # spread over several it has hung
    assert [record["step"] for record in records(tmp_path)] == [2, 4]
    assert len(jax.devices()) == 1  # here, where what was saved there loads all the same
    assert np.isfinite(checkpoint.read_weights(tmp_path)["variables"]["params"]["slope"])
