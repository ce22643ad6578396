"""Training: the loop around the steps of :mod:`jssm.training.steps`.

Every random number is a function of the seed, the step and the case's place in the batch. A run
that was stopped and started again is therefore bit-equal to one that was not, and the number of
devices and processes does not matter. (On a GPU both hold but for rounding: its sums have no fixed
order.)
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jssm import checkpoint
from jssm import config as config_lib
from jssm import dataset as dataset_lib
from jssm.config import Config
from jssm.files.whole import alone, write_whole
from jssm.methods import registry, start
from jssm.methods.method import AXIS
from jssm.training import convergence, hosts, steps
from jssm.training.convergence import Progress
from jssm.training.feed import AHEAD, Feed, place, replicate
from jssm.training.plan import Plan, check_free, make_plan, settle
from jssm.training.runlog import RunLog
from jssm.training.steps import TrainState
from jssm.training.validation import Validation

SHEETS = 5  # times that pictures are drawn in a whole run
DATA = "data"  # in the saved progress: which data set it is
STOP = "stop"  # in batches and metrics of several processes: whether one of them is to stop
SAVE_S = 10.0  # between two checkpoints, at least; a quick GPU validates every second

# Gets the number of each step and its metrics, when they are known: up to AHEAD steps later.
OnStep = Callable[[int, dict[str, float]], None]


class Stopped(Exception):
    """Training was interrupted; everything is saved."""


def train(config: Config, run: str | Path, *, on_step: OnStep | None = None) -> None:
    """Train as ``config`` says, and write everything to the directory ``run``.

    A run directory that holds a checkpoint of the same settings is continued. A method whose loss
    has no point term has no first part of the strategy, in which points are learned alone.

    Raises:
      ValueError: when the settings are wrong, do not suit the data, or differ from those of the
        run that is already in ``run``.
      FileNotFoundError: when the data set is not there.
      FloatingPointError: when the loss is not finite, naming the step.
      OSError: when nothing can be written, or another training is at work in ``run``.
      Stopped: after an interrupt (Ctrl-C or SIGTERM), with everything saved.
      hosts.Alone: when one of several processes cannot go on.
    """
    run = Path(run)
    with hosts.all_or_none():
        config_lib.validate(config)
        data = dataset_lib.load(config.data)
        begin = start.of(config)
        config = settle(config, data, begin.constants)
        check_free(run, config)
        constants = begin.constants or registry.constants_of(config, data)
        method = registry.method_from(config, constants)
        plan = make_plan(method, data, config, constants=constants, into=begin.into)
    hosts.check_same(settings=config_lib.to_json(config), data=data.digest)
    with ExitStack() as held:
        with hosts.all_or_none():
            if hosts.is_first():
                held.enter_context(alone(run))
                write_whole(run / "config.json", config_lib.to_json(config))
        follow(plan, run, on_step=on_step)


def follow(plan: Plan, run: Path, *, on_step: OnStep | None = None) -> None:
    """Train as planned, from where the directory ``run`` stands, and write everything to it.

    Of several processes the first alone reads and writes there.

    Raises:
      FloatingPointError: when the loss is not finite, naming the step.
      Stopped: after an interrupt (Ctrl-C or SIGTERM), with everything saved.
      hosts.Alone: when one of several processes cannot go on.
    """
    # An interrupt is kept from here on, for one that cuts the compiler short can crash the process.
    with hosts.on_first(lambda: checkpoint.Checkpoints(run)) as files, _interrupts() as stopping:
        progress, state_of = _start(files, plan)
        if progress.step == plan.steps:
            return
        feed = Feed(plan.data, plan.devices)
        size = plan.config.train.batch_size
        validation = Validation(plan.method, plan.data, feed, batch_size=size)
        with ThreadPoolExecutor(1) as beside:  # both programs take long to compile
            state = beside.submit(state_of)
            step = _compile(plan, feed)
        with (
            hosts.together(FloatingPointError, Stopped),
            hosts.on_first(lambda: RunLog(run, step=progress.step)) as log,
            _bar(plan, progress) as bar,
        ):
            _Loop(
                plan=plan,
                step=step,
                feed=feed,
                validation=validation,
                files=files,
                log=log,
                bar=bar,
                on_step=on_step,
                stopping=stopping,
                state=state.result(),
                progress=progress,
            ).run()


@dataclass
class _Loop:
    """A run at work: what it works with, and where it stands.

    files, log: None in all processes but the first. pending: the metrics of the last steps, still
    being computed. unsaved_best: the step and the weights of the best validation, when they are not
    on the disk yet. saved_s: when it last saved.
    """

    plan: Plan
    step: Callable[[TrainState, dict[str, jax.Array]], Any]
    feed: Feed
    validation: Validation
    files: checkpoint.Checkpoints | None
    log: RunLog | None
    bar: tqdm
    on_step: OnStep | None
    stopping: "_Flag"
    state: TrainState
    progress: Progress
    pending: deque = field(default_factory=deque)
    unsaved_best: tuple[int, Any] | None = None
    saved_s: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        first = self.progress.step // self.plan.steps_per_epoch
        try:
            for epoch in range(first, self.plan.config.train.epochs):
                images_per_second = self._train_epoch(epoch)
                self._epoch_ended(epoch + 1, images_per_second)
        finally:
            self._save_best()

    def _train_epoch(self, epoch: int) -> float:
        """What is left of an epoch, counted from 0; gives the images per second."""
        plan, options = self.plan, self.plan.config.train
        self.progress = convergence.begin_epoch(
            self.progress, epoch, points_epochs=options.points_epochs
        )
        order = plan.order(epoch)[self.progress.step - epoch * plan.steps_per_epoch :]
        same = _common(plan, epoch, with_mask=self.progress.with_mask)
        began = time.perf_counter()
        # A transfer that nobody asked for would make every step wait for it.
        with jax.transfer_guard("disallow"):
            for batch in self.feed.batches(order):
                if self.stopping.is_set:
                    self._stop()
                self.state, metrics = self.step(self.state, batch | same | self._request())
                self.pending.append(metrics)
                self._count(keep=AHEAD)
            self._count(keep=0)
        return order.size / (time.perf_counter() - began)

    def _request(self) -> dict[str, jax.Array]:
        """What tells the other processes, with the next step, that this one is to stop."""
        if hosts.number() == 1:
            return {}
        return place({STOP: np.float32(self.stopping.is_asked)}, self.plan.devices)

    def _count(self, *, keep: int) -> None:
        """Take in the metrics of all but the last ``keep`` steps, on which devices still work."""
        while len(self.pending) > keep:
            fetched = jax.device_get(self.pending.popleft())
            self.stopping.is_agreed |= bool(fetched.pop(STOP, 0.0))
            without = () if self.progress.with_mask else ("mask_loss",)  # it was not computed
            metrics = {name: float(v) for name, v in fetched.items() if name not in without}
            self.progress = convergence.count(self.progress, metrics)
            self._show(metrics)
            if self.on_step:
                self.on_step(self.progress.step, metrics)

    def _show(self, metrics: dict[str, float]) -> None:
        best = f"{self.progress.best:.3f} best" if np.isfinite(self.progress.best) else "-"
        shown = {name: f"{value:.4f}" for name, value in metrics.items()}
        self.bar.update()
        self.bar.set_postfix(shown | {"validation": best}, refresh=False)

    def _stop(self) -> None:
        self._count(keep=0)
        self._save()
        raise Stopped(f"stopped after step {self.progress.step}; the same command continues it")

    def _epoch_ended(self, epoch: int, images_per_second: float) -> None:
        options = self.plan.config.train
        is_last = epoch == options.epochs
        if not is_last and epoch % options.validate_every:
            return
        self._validate(epoch, images_per_second)
        if self.log and (is_last or epoch % max(options.epochs // SHEETS, 1) == 0):
            variables = self.state.best_variables
            self.validation.draw(variables, self.log, step=self.progress.step, epoch=epoch)
        if self.log and is_last:
            self.log.curves()
        if is_last or time.monotonic() - self.saved_s >= SAVE_S:
            self._save()

    def _validate(self, epoch: int, images_per_second: float) -> None:
        options, method, progress = self.plan.config.train, self.plan.method, self.progress
        scores = self.validation.scores(self.state.best_variables)
        weight = {"mask_weight": progress.with_mask * options.mask_weight}
        if self.log:
            self.log.record(
                {"epoch": epoch, "step": progress.step}
                | (weight if method.learns_points else {})
                | {f"train_{name}": value for name, value in progress.means.items()}
                | {f"val_{name}": value for name, value in scores.items()}
                | {"images_per_second": images_per_second}
            )
        self.progress, is_best = convergence.judge(
            progress,
            merit=method.merit(scores),
            points_loss=scores.get("points_loss", float("inf")),
            patience=options.patience,
        )
        if is_best and self.files:
            self.unsaved_best = progress.step, _copy(_weights(self.state, self.plan.constants))

    def _save(self) -> None:
        if self.files is None:
            return
        self.saved_s = time.monotonic()
        self._save_best()
        weights = _copy(_weights(self.state, self.plan.constants))
        training = _copy(_training(self.state))
        progress = asdict(self.progress) | {DATA: self.plan.data.digest}
        self.files.save_latest(self.progress.step, weights, training, progress)

    def _save_best(self) -> None:
        if self.files and self.unsaved_best is not None:
            self.files.save_best(*self.unsaved_best)
            self.unsaved_best = None


def _compile(plan: Plan, feed: Feed) -> Callable[[TrainState, dict[str, jax.Array]], Any]:
    """The training step on all devices."""
    config, closed = plan.config, plan.data.shape_model.closed

    def step(state: TrainState, batch: dict[str, jax.Array]) -> Any:
        state, metrics = steps.train_step(
            state,
            batch,
            method=plan.method,
            optimizer=plan.optimizer,
            augmentation=config.augment,
            ema=config.train.ema,
            seed=config.seed,
            closed=closed,
        )
        if STOP in batch:
            metrics = metrics | {STOP: jax.lax.pmax(batch[STOP], AXIS)}
        return state, metrics

    mapped = steps.parallel(step, plan.devices)
    if hosts.number() > 1:
        return mapped  # compiled when it is called: what pmap lowers takes no arrays of one process
    batch = next(feed.batches(plan.order(0)[:1])) | _common(plan, 0, with_mask=False)
    with steps.no_collection():
        return mapped.lower(plan.shapes, batch).compile()


def _common(plan: Plan, epoch: int, *, with_mask: bool) -> dict[str, jax.Array]:
    """What the batches of an epoch have in common."""
    options = plan.config.train
    common = {
        "place": np.arange(options.batch_size)[hosts.part(options.batch_size)],
        "point_weight": np.float32(options.point_weight),
        "mask_weight": np.float32(options.mask_weight * with_mask),
        "epoch": np.float32(epoch),
    }
    return place(common, plan.devices)


def _start(
    files: checkpoint.Checkpoints | None, plan: Plan
) -> tuple[Progress, Callable[[], TrainState]]:
    """Where a run stands, by its latest checkpoint if any, and what gives its state there."""
    with hosts.all_or_none():
        like = _weights(plan.shapes, plan.constants), _training(plan.shapes)
        weights, training, values = (files and files.restore_latest(*like)) or (None, None, None)
    values = hosts.everyones(values)[0]
    state = partial(_state, plan, weights, training) if values else plan.first_state

    def on_devices() -> TrainState:
        return replicate(hosts.from_first(state, plan.shapes), plan.devices)

    if values is None:
        return Progress(with_mask=not plan.method.learns_points), on_devices
    if values.pop(DATA, plan.data.digest) != plan.data.digest:  # older checkpoints have none
        raise ValueError(
            f"{plan.config.data}: the data set is not that with which this run began; bring "
            "that back, or choose another --workdir"
        )
    return convergence.from_json(values), on_devices


def _state(plan: Plan, weights: Any, training: Any) -> TrainState:
    """The state of which :func:`_weights` and :func:`_training` are these."""
    averaged = plan.shapes.average is not None
    return TrainState(
        step=training["step"],
        variables=training["variables"] if averaged else weights["variables"],
        opt_state=training["opt_state"],
        average=weights["variables"] if averaged else None,
    )


def _weights(state: TrainState, constants: dict[str, Any]) -> dict[str, Any]:
    """What a prediction needs."""
    return {"variables": state.best_variables, **constants}


def _training(state: TrainState) -> dict[str, Any]:
    """What training needs beside the weights to go on."""
    kept = {"step": state.step, "opt_state": state.opt_state}
    # Without a moving average the weights are the variables themselves.
    return kept if state.average is None else kept | {"variables": state.variables}


def _copy(tree: Any) -> Any:
    """Copies, since the next step reuses the memory while files are still being written."""
    copies = jax.tree.map(jnp.copy, tree)
    # Orbax takes no array for whole that lies on the devices of one of several processes.
    return copies if hosts.number() == 1 else jax.device_get(copies)


def _bar(plan: Plan, progress: Progress) -> tqdm:
    """A progress bar that counts images; says how large the network is."""
    sizes = [leaf.size for leaf in jax.tree.leaves(plan.shapes.variables["params"])]
    if hosts.is_first():
        tqdm.write(f"{plan.config.method}: {sum(sizes):,} parameters")
    return tqdm(
        total=plan.steps,
        initial=progress.step,
        unit_scale=plan.config.train.batch_size,
        unit="image",
        desc="train",
        disable=not hosts.is_first(),
    )


class _Flag:
    """is_asked: this process is to stop. is_agreed: one of several is, as all of them know."""

    is_asked = False
    is_agreed = False

    @property
    def is_set(self) -> bool:
        return self.is_asked if hosts.number() == 1 else self.is_agreed


@contextmanager
def _interrupts() -> Iterator[_Flag]:
    """A flag that Ctrl-C and SIGTERM set, so that a step is never cut in two."""
    flag = _Flag()

    def set_flag(*_: Any) -> None:
        flag.is_asked = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, set_flag) for kind in kinds]
    try:
        yield flag
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
