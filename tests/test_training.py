import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

import jssm
from jssm import dataset
from jssm.config import Augmentation, Config, ModelConfig, TrainConfig
from jssm.methods import registry
from jssm.methods.regression import method
from jssm.shape import labels
from jssm.training import feed, loop, steps
from tests.conftest import write_dataset


def tiny(data, **train) -> Config:
    """The smallest run that has both parts of the training strategy."""
    options = {"batch_size": 8, "epochs": 4, "points_epochs": 2} | train
    return Config(
        data=str(data),
        model=ModelConfig(depth=18, width=4, num_modes=3),
        train=TrainConfig(**options),
        augment=Augmentation(flip_left_right=True, rotation_degrees=10.0),
    )


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    loop.train(tiny(small_data, ema=0.9), run)
    return run, jssm.load(run)


def test_a_run_leaves_all_its_files(trained):
    run, _ = trained
    assert [r["epoch"] for r in records(run)] == [1, 2, 3, 4]
    assert [r["mask_weight"] for r in records(run)] == [0, 0, 0.5, 0.5]
    assert ["train_mask_loss" in r for r in records(run)] == [False, False, True, True]
    assert (run / "curves.png").is_file()
    assert sorted(p.name for p in (run / "overlays").iterdir())[-1] == "epoch_0004.png"
    assert list((run / "tensorboard").iterdir())


def test_the_checkpoint_needs_nothing_else(trained, small_data):
    _, loaded = trained
    images = dataset.load(small_data).images[:2]
    out = jax.jit(jssm.predict)(loaded, images)
    assert out.mask.shape == (2, 32, 32)
    assert out.beta.shape == (2, 3)


def test_best_is_the_best_validation_dice(trained, small_data):
    run, model = trained
    data = dataset.load(small_data)
    rows = data.rows("val")
    predicted = np.asarray(jax.jit(jssm.predict)(model, data.images[rows]).mask) > 0.5
    true = data.masks[rows] > 0
    dice = 2 * (predicted & true).sum((1, 2)) / (predicted.sum((1, 2)) + true.sum((1, 2)))
    assert dice.mean() == pytest.approx(max(r["val_dice"] for r in records(run)), abs=1e-3)


def test_a_stopped_run_continues_bit_for_bit(trained, small_data, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch, by a signal, twice."""
    whole, model = trained
    run, config = tmp_path / "stopped", tiny(small_data, ema=0.9)
    monkeypatch.setattr(training, "AHEAD", 0)  # so that the signal comes where it is sent
    count = loop._Loop._count_step
    for stop_after in (3, 6):

        def count_and_stop(self, metrics, stop_after=stop_after):
            count(self, metrics)
            if self.progress.step == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(loop._Loop, "_count_step", count_and_stop)
        with pytest.raises(loop.Stopped, match=f"after step {stop_after}; the same command"):
            loop.train(config, run)
    monkeypatch.setattr(loop._Loop, "_count_step", count)
    loop.train(config, run)
    jax.tree.map(np.testing.assert_array_equal, jssm.load(run), model)
    latest = [registry.load(r, step="latest") for r in (whole, run)]
    jax.tree.map(np.testing.assert_array_equal, *latest)
    without_speed = [
        [{k: v for k, v in r.items() if k != "images_per_second"} for r in records(path)]
        for path in (whole, run)
    ]
    assert without_speed[0] == without_speed[1]


def test_a_finished_run_is_not_trained_again(trained, small_data):
    run, model = trained
    before = (run / "metrics.jsonl").read_text()
    loop.train(tiny(small_data, ema=0.9), run)
    jax.tree.map(np.testing.assert_array_equal, jssm.load(run), model)
    assert (run / "metrics.jsonl").read_text() == before


def test_another_configuration_does_not_overwrite_a_run(trained, small_data):
    run, _ = trained
    with pytest.raises(ValueError, match="holds a run with other settings"):
        loop.train(tiny(small_data, epochs=5), run)


def test_the_mask_loss_begins_when_the_points_have_converged():
    run = loop._Loop.__new__(loop._Loop)
    run.config, run.progress = tiny("x", patience=2), loop.Progress()
    seen = []
    for loss in (3.0, 2.0, 2.5, 1.0, 1.5, 1.2):
        run._watch_convergence(loss)
        seen.append(run.progress.with_mask)
    assert seen == [False] * 5 + [True]


def test_validation_of_half_labelled_cases(small_model, small_data):
    """Each label gives its own scores, and the others are NaN."""
    data = dataset.load(small_data)
    (batch,) = dataset.batches(data, np.arange(3)[None])
    batch["covers"] = np.array([labels.MYOCARDIUM, labels.CAVITY, labels.NONE], np.int8)
    batch["points"] = np.array(batch["points"])[:, ::2]  # the small model has eight points
    batch["points"][2] = np.nan
    scores = jax.jit(lambda b: steps.eval_step(method(small_model), small_model.variables, b))(
        batch
    )
    known = {name: np.isfinite(values).tolist() for name, values in scores.items()}
    assert known == {
        "dice": [True, False, False],
        "cavity_dice": [False, True, False],
        "points_loss": [True, True, False],
    }


def test_a_loss_that_is_not_finite_names_the_step(small_data, tmp_path):
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at step \d"):
        loop.train(tiny(small_data, learning_rate=1e30), tmp_path / "run")


def test_a_run_that_fails_leaves_its_best_and_can_begin_anew(
    trained, small_data, tmp_path, monkeypatch
):
    """Before any checkpoint was due."""
    whole, model = trained
    run, config = tmp_path / "failed", tiny(small_data, ema=0.9)
    monkeypatch.setattr(training, "SAVE_S", np.inf)
    count = loop._Loop._count_step

    def count_and_fail(self, metrics):
        count(self, metrics)
        if self.progress.step == 6:
            raise FloatingPointError("the loss is nan at step 6")

    monkeypatch.setattr(loop._Loop, "_count_step", count_and_fail)
    with pytest.raises(FloatingPointError):
        loop.train(config, run)
    jssm.load(run)
    with pytest.raises(FileNotFoundError):
        registry.load(run, step="latest")
    monkeypatch.setattr(loop._Loop, "_count_step", count)
    loop.train(config, run)
    jax.tree.map(np.testing.assert_array_equal, jssm.load(run), model)
    assert [r["val_dice"] for r in records(run)] == [r["val_dice"] for r in records(whole)]


def test_settings_must_suit_the_data(small_data, tmp_path):
    config = tiny(small_data)
    config.model.size = 64
    with pytest.raises(ValueError, match=r"model\.size is 64 but the images of .* are 32"):
        loop.train(config, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="not a data set directory"):
        loop.train(replace(config, data=str(tmp_path / "nowhere")), tmp_path / "run")


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


def test_eight_devices_give_the_gradients_of_one(small_data):
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    }
    command = [sys.executable, "-m", "tests.eight_devices", str(small_data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5


def test_two_devices_train_and_validate(small_data, tmp_path):
    """The whole loop, from the compiled step to the last validation."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    }
    code = (
        "import jax; from jssm.training import loop; from tests.test_training import tiny; "
        f"loop.train(tiny({str(small_data)!r}, epochs=1, points_epochs=0), {str(tmp_path)!r}); "
        "assert len(jax.devices()) == 2"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path)) == 1
    assert len(jax.devices()) == 1  # here, where what was saved there loads all the same
    assert np.isfinite(jssm.load(tmp_path).mean_theta).all()


def test_data_that_does_not_fit_is_streamed(small_data, monkeypatch):
    """The same batches in the same order, and no more than a few of them at a time."""
    data = dataset.load(small_data)
    order = dataset.epoch_order(data.rows("train"), 4, seed=0, epoch=0)
    resident = list(feed.Feed(data, jax.devices()[:1]).batches(order))
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    streamed = list(feed.Feed(data, jax.devices()[:1]).batches(order))
    expected = list(dataset.batches(data, order))
    assert len(resident) == len(streamed) == len(expected) == 4
    for batch in (resident, streamed):
        for found, true in zip(batch, expected, strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), found, true)


def test_an_error_while_streaming_is_not_lost(small_data, monkeypatch):
    data = dataset.load(small_data)
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    with pytest.raises(IndexError):
        list(feed.Feed(data, jax.devices()[:1]).batches(np.array([[10**6]])))
