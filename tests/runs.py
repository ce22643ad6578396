"""What tests of training share: a step, its log, hooks that interrupt it, and two runs compared."""

import json
import signal
from collections.abc import Callable

import jax
import numpy as np
import optax

from jssm import checkpoint
from jssm.config import Config
from jssm.methods.method import Method
from jssm.training import steps


def records(run, *, without=()):
    """The lines of its log."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in without} for line in lines]


def stop_at(step):
    """A hook that sends the signal when the metrics of a step are known."""
    return lambda number, _: signal.raise_signal(signal.SIGTERM) if number == step else None


def fail_at(step):
    """A hook that fails when the metrics of a step are known."""

    def fail(number, _):
        if number == step:
            raise OSError("no space left")

    return fail


def descent(config: Config, method: Method) -> tuple[Callable, steps.TrainState]:
    """A step of plain descent, whose update is the gradient itself, and its first state."""
    optimizer = optax.sgd(1.0)

    def step(state, batch):
        return steps.train_step(
            state,
            batch,
            method=method,
            optimizer=optimizer,
            augmentation=config.augment,
            ema=0.0,
            seed=0,
        )

    _, compute = steps.first_state(method, optimizer, config)
    return step, compute()


def never(*_):
    """A function that is not to be called."""
    raise AssertionError("nothing was to be traced or trained")


def assert_same(one, other):
    """Two runs ended with the same bits, and wrote the same log but for its speed."""
    for step in ("best", "latest"):
        weights = [checkpoint.read_weights(run, step=step) for run in (one, other)]
        jax.tree.map(np.testing.assert_array_equal, *weights)
    logs = [records(run, without=["images_per_second"]) for run in (one, other)]
    assert logs[0] == logs[1]
