"""Training: the loop around the steps of :mod:`jssm.training.steps`.

Every random number is a function of the seed, the step and the case's place in the batch. A run
that was stopped and started again is therefore bit-equal to one that was not, and the number of
devices does not matter. (On a GPU both hold but for rounding: its sums have no fixed order.)
"""

import gc
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
from jssm.dataset import Dataset
from jssm.image_path import from_uint8
from jssm.methods import registry
from jssm.shape import labels
from jssm.training.feed import AHEAD, Feed, place, replicate
from jssm.training.runlog import RunLog
from jssm.training.steps import (
    TrainState,
    eval_step,
    first_state,
    make_optimizer,
    parallel,
    train_step,
)

PICTURES = 8  # fixed validation cases drawn while training
SHEETS = 5  # times that they are drawn in a whole run
SAVE_S = 10.0  # between two checkpoints, at least; a quick GPU validates every second


@dataclass
class Progress:
    """Where the loop stands; travels with the latest checkpoint as JSON."""

    step: int = 0
    with_mask: bool = False  # the second part of the paper's training strategy has begun
    stale: int = 0  # validations since the point loss last improved
    least_points_loss: float = float("inf")
    best_dice: float = -1.0
    # Of each metric since the last validation: the sum and the number of steps that had it.
    sums: dict[str, list[float]] = field(default_factory=dict)


class Stopped(Exception):
    """Training was interrupted; everything is saved."""


def train(config: Config, run: str | Path) -> None:
    """Train as ``config`` says, and write everything to the directory ``run``.

    A run directory that holds a checkpoint of the same settings is continued. A method whose loss
    has no point term has no first part of the strategy, in which points are learned alone.

    Raises:
      ValueError: when the settings are wrong, do not suit the data, or differ from those of the
        run that is already in ``run``.
      FileNotFoundError: when the data set is not there.
      FloatingPointError: when the loss is not finite, naming the step.
      Stopped: after an interrupt (Ctrl-C or SIGTERM), with everything saved.
    """
    run = Path(run)
    config_lib.validate(config)
    data = dataset_lib.load(config.data)
    config = _settle(config, data)
    loop = _Loop(config, run, data)  # finds what is wrong before anything is written
    _claim(run, config)
    loop.run()


class _Loop:
    """One training run: owns its state, its progress and its files."""

    def __init__(self, config: Config, run: Path, data: Dataset):
        self.config, self.directory, self.data = config, run, data
        self.constants = registry.constants_of(config, data)
        self.how = registry.method_from(config, self.constants)
        self.clips = data.clips("train", self.how.clip)
        size = config.train.batch_size
        self.steps_per_epoch = max(len(self.clips) // size, 1)
        optimizer = make_optimizer(config.train, self.steps_per_epoch)
        devices = _devices_for(size, self.how.clip)
        self.devices, self.feed = devices, Feed(data, devices)
        self.progress = Progress(with_mask=not self.how.learns_points)
        self.pending: deque = deque()  # metrics of the last steps, still being computed
        self.best: tuple[int, Any] | None = None  # the best step's weights, when not yet saved
        self.saved_s = time.monotonic()

        def step(state: TrainState, batch: dict[str, jax.Array]):
            return train_step(
                state,
                batch,
                how=self.how,
                optimizer=optimizer,
                augmentation=config.augment,
                ema=config.train.ema,
                seed=config.seed,
            )

        first = dataset_lib.epoch_order(self.clips, size, seed=config.seed, epoch=0)[:1]
        batch = next(self.feed.batches(first)) | self._of_epoch(0)
        with _no_collection():
            shapes, compute = first_state(self.how, optimizer, config)
            with ThreadPoolExecutor(1) as beside:  # both programs take long to compile
                state = beside.submit(compute)
                self.step = parallel(step, devices).lower(shapes, batch).compile()
        self.state = replicate(state.result(), devices)
        self.evaluate = jax.jit(lambda variables, batch: eval_step(self.how, variables, batch))
        self.predict = jax.jit(self.how.predict)

    def run(self) -> None:
        options = self.config.train
        sizes = [leaf.size for leaf in jax.tree.leaves(self.state.variables["params"])]
        tqdm.write(f"{self.config.method}: {sum(sizes):,} parameters")
        with checkpoint.Checkpoints(self.directory) as self.files, _interrupts() as self.stopping:
            self._restore()
            total = options.epochs * self.steps_per_epoch
            first = self.progress.step // self.steps_per_epoch
            with (
                RunLog(self.directory, step=self.progress.step) as self.log,
                tqdm(
                    total=total,
                    initial=self.progress.step,
                    unit_scale=options.batch_size,
                    unit="image",
                    desc="train",
                ) as self.bar,
            ):
                try:
                    for epoch in range(first, options.epochs):
                        self._train_epoch(epoch)
                        self._epoch_ended(epoch + 1)
                finally:
                    self._save_best()
                self.log.curves()

    def _train_epoch(self, epoch: int) -> None:
        options, progress = self.config.train, self.progress
        order = dataset_lib.epoch_order(
            self.clips, options.batch_size, seed=self.config.seed, epoch=epoch
        )
        done = progress.step - epoch * self.steps_per_epoch
        if not progress.with_mask and epoch >= options.points_epochs:
            progress.with_mask = True
        self._epoch_started, self._epoch_first = time.perf_counter(), done
        same = self._of_epoch(epoch)
        # A transfer that nobody asked for would make every step wait for it.
        with jax.transfer_guard("disallow"):
            for batch in self.feed.batches(order[done:]):
                if self.stopping.is_set:
                    self._count(keep=0)
                    self._save()
                    raise Stopped(
                        f"stopped after step {progress.step}; the same command continues it"
                    )
                self.state, metrics = self.step(self.state, batch | same)
                self.pending.append(metrics)
                self._count(keep=AHEAD)
            self._count(keep=0)

    def _of_epoch(self, epoch: int) -> dict[str, jax.Array]:
        """What the batches of an epoch have in common."""
        options = self.config.train
        common = {
            "place": np.arange(options.batch_size),
            "point_weight": np.float32(options.point_weight),
            "mask_weight": np.float32(options.mask_weight * self.progress.with_mask),
            "epoch": np.float32(epoch),
        }
        return place(common, self.devices)

    def _count(self, *, keep: int) -> None:
        """Take in the metrics of all but the last ``keep`` steps, on which devices still work."""
        while len(self.pending) > keep:
            metrics = jax.device_get(self.pending.popleft())
            self._count_step({name: float(value) for name, value in metrics.items()})

    def _count_step(self, metrics: dict[str, float]) -> None:
        progress = self.progress
        progress.step += 1
        if not np.isfinite(metrics["loss"]):
            raise FloatingPointError(f"the loss is {metrics['loss']} at step {progress.step}")
        without = () if progress.with_mask else ("mask_loss",)  # it was not computed
        known = {name: value for name, value in metrics.items() if name not in without}
        for name, value in known.items():
            total, count = progress.sums.get(name, (0.0, 0))
            progress.sums[name] = [total + value, count + 1]
        shown = {name: f"{value:.4f}" for name, value in known.items()}
        best = f"{progress.best_dice:.3f} best" if progress.best_dice >= 0 else "-"
        self.bar.update()
        self.bar.set_postfix(shown | {"val_dice": best}, refresh=False)

    def _epoch_ended(self, epoch: int) -> None:
        options = self.config.train
        is_last = epoch == options.epochs
        if is_last or epoch % options.validate_every == 0:
            self._validate(epoch)
            if is_last or time.monotonic() - self.saved_s >= SAVE_S:
                self._save()
            if is_last or epoch % max(options.epochs // SHEETS, 1) == 0:
                self._draw(epoch)

    def _validate(self, epoch: int) -> None:
        options, progress = self.config.train, self.progress
        seconds = time.perf_counter() - self._epoch_started
        steps = self.steps_per_epoch - self._epoch_first
        scores = self._scores(self.data.rows("val"))
        weight = {"mask_weight": progress.with_mask * options.mask_weight}
        self.log.record(
            {"epoch": epoch, "step": progress.step}
            | (weight if self.how.learns_points else {})
            | {f"train_{name}": total / count for name, (total, count) in progress.sums.items()}
            | {f"val_{name}": value for name, value in scores.items()}
            | {"images_per_second": steps * options.batch_size / seconds}
        )
        progress.sums = {}
        # Half-labelled cases count as much as whole ones, whatever their numbers.
        dice = float(np.mean([scores[k] for k in ("dice", "cavity_dice") if k in scores]))
        if dice > progress.best_dice:
            progress.best_dice = dice
            self.best = progress.step, self._weights()
        if not progress.with_mask:
            self._watch_convergence(scores.get("points_loss", float("inf")))

    def _watch_convergence(self, points_loss: float) -> None:
        """Begin with the mask loss once the point loss has stopped improving (Appendix C)."""
        progress = self.progress
        improved = points_loss < progress.least_points_loss
        progress.stale = 0 if improved else progress.stale + 1
        progress.least_points_loss = min(points_loss, progress.least_points_loss)
        progress.with_mask = progress.stale >= self.config.train.patience

    def _scores(self, rows: np.ndarray) -> dict[str, float]:
        """Mean scores over the cases of ``rows`` that have them, in batches of one shape."""
        size = min(self.config.train.batch_size, len(rows))
        padded = np.resize(rows, (-(-len(rows) // size), size))
        variables = self._on_one_device()
        parts = [self.evaluate(variables, batch) for batch in self.feed.whole_batches(padded)]
        stacked = {k: np.concatenate([p[k] for p in parts])[: len(rows)] for k in parts[0]}
        known = {name: values[~np.isnan(values)] for name, values in stacked.items()}
        return {name: float(np.mean(values)) for name, values in known.items() if len(values)}

    def _draw(self, epoch: int) -> None:
        rows = self.data.rows("val")
        rows = rows[np.linspace(0, len(rows) - 1, min(PICTURES, len(rows))).astype(int)]
        images, masks = self.data.images[rows], self.data.masks[rows]
        prediction = jax.tree.map(
            np.asarray, self.predict(self._on_one_device(), from_uint8(images))
        )
        titles = self.data.cases["case"].iloc[rows].tolist()
        self.log.overlays(self.progress.step, epoch, images, masks, prediction, titles)

    def _on_one_device(self) -> Any:
        """The weights to predict with. With those on all devices XLA spreads the validation over
        them too, and it has hung."""
        return jax.device_put(self.state.best_variables, self.devices[0])

    def _weights(self) -> dict[str, Any]:
        """Copies, since the next step reuses the memory while files are still being written."""
        variables = jax.tree.map(jnp.copy, self.state.best_variables)
        return {"variables": variables, **self.constants}

    def _training(self) -> dict[str, Any]:
        kept = {"step": self.state.step, "opt_state": self.state.opt_state}
        # Without a moving average the weights are the variables themselves.
        if self.state.average is not None:
            kept |= {"variables": self.state.variables}
        return jax.tree.map(jnp.copy, kept)

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        self._save_best()
        self.files.save_latest(
            self.progress.step, self._weights(), self._training(), asdict(self.progress)
        )

    def _save_best(self) -> None:
        if self.best is not None:
            self.files.save_best(*self.best)
            self.best = None

    def _restore(self) -> None:
        restored = self.files.restore_latest(self._weights(), self._training())
        if restored is None:
            return
        weights, training, progress = restored
        has_average = self.state.average is not None
        self.state = TrainState(
            step=training["step"],
            variables=training["variables"] if has_average else weights["variables"],
            opt_state=training["opt_state"],
            average=weights["variables"] if has_average else None,
        )
        self.progress = Progress(**progress)


def _settle(config: Config, data: Dataset) -> Config:
    """Fill in what the data decides, and check that the rest suits it."""
    size = config.model.size or data.size
    modes = min(config.model.num_modes, data.shape_model.num_modes)
    if size != data.size:
        raise ValueError(
            f"model.size is {size} but the images of {config.data} are {data.size} pixels wide"
        )
    if (data.covers[data.rows("val")] == labels.NONE).all():
        raise ValueError(f"{config.data}: no validation case has a label, so none can be the best")
    if config.method != config_lib.OURS:
        for split in dataset_lib.SPLITS:
            if not (data.covers[data.rows(split)] == labels.MYOCARDIUM).any():
                raise ValueError(
                    f"{config.data}: the method {config.method} needs cases whose label covers the "
                    f"myocardium, but the split {split} has none"
                )
    return replace(config, model=replace(config.model, size=size, num_modes=modes))


def _claim(run: Path, config: Config) -> None:
    """Write the settings to the run directory, or check that they are those of the run there."""
    path = run / "config.json"
    if path.is_file() and config_lib.load(run) != config:
        raise ValueError(f"{run}: holds a run with other settings; choose another --workdir")
    if (run / "checkpoints").exists() and not path.is_file():
        raise ValueError(f"{run}: holds checkpoints but no config.json; choose another --workdir")
    run.mkdir(parents=True, exist_ok=True)
    path.write_text(config_lib.to_json(config))


def _devices_for(batch_size: int, clip: int) -> list[jax.Device]:
    """All local devices.

    Raises:
      ValueError: when they cannot share a batch evenly, in whole clips.
    """
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise ValueError(
            f"train.batch_size {batch_size} cannot be shared evenly by {len(devices)} devices"
        )
    if batch_size // len(devices) % clip:
        raise ValueError(
            f"train.batch_size {batch_size} on {len(devices)} device(s) is not made of whole clips "
            f"of {clip} frames (baseline.clip_frames)"
        )
    return devices


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for cyclic garbage, a sixth of the time that it takes to trace."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Flag:
    is_set = False


@contextmanager
def _interrupts() -> Iterator[_Flag]:
    """A flag that Ctrl-C and SIGTERM set, so that a step is never cut in two."""
    flag = _Flag()

    def set_flag(*_: Any) -> None:
        flag.is_set = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, set_flag) for kind in kinds]
    try:
        yield flag
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
