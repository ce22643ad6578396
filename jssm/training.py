"""Training: the jitted step under pmap, and the loop around it.

Every random number is a function of the seed, the step and the case's place in the batch. A run
that was stopped and started again is therefore bit-equal to one that was not, and the number of
devices does not matter.
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from tqdm import tqdm

from jssm import checkpoint, labels, losses, pretrained
from jssm import config as config_lib
from jssm import dataset as dataset_lib
from jssm.augment import Augmentation, augment
from jssm.config import Config, TrainConfig
from jssm.dataset import Dataset
from jssm.feed import AHEAD, AXIS, Feed, place, replicate
from jssm.metrics import THRESHOLD
from jssm.model import Method
from jssm.rasterizer import rasterize
from jssm.runlog import RunLog

PICTURES = 8  # fixed validation cases drawn while training
SHEETS = 5  # times that they are drawn in a whole run


class TrainState(struct.PyTreeNode):
    """What a step changes: its number, the Linen variables, the optimizer's state, and the moving
    average of the variables (None where it is off)."""

    step: jax.Array
    variables: Any
    opt_state: Any
    average: Any

    @property
    def best_variables(self) -> Any:
        """The variables to predict with."""
        return self.variables if self.average is None else self.average


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


def make_optimizer(options: TrainConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """Adam (with decoupled weight decay, a warm-up, a cosine and clipping where asked for)."""
    steps = options.epochs * steps_per_epoch
    warmup = options.warmup_epochs * steps_per_epoch
    decay = (
        optax.cosine_decay_schedule(options.learning_rate, max(steps - warmup, 1))
        if options.cosine
        else optax.constant_schedule(options.learning_rate)
    )
    ramp = optax.linear_schedule(0.0, options.learning_rate, warmup)
    schedule = optax.join_schedules([ramp, decay], [warmup]) if warmup else decay
    return optax.chain(
        optax.clip_by_global_norm(options.clip_norm) if options.clip_norm else optax.identity(),
        optax.adamw(schedule, weight_decay=options.weight_decay),
    )


def init_state(how: Method, optimizer: optax.GradientTransformation, config: Config) -> TrainState:
    """The state before the first step, with pretrained backbones where the settings name some.

    Raises:
      FileNotFoundError: when the file of weights is not there.
      ValueError: when it does not suit the network.
    """

    def fresh(key: jax.Array) -> TrainState:
        variables = how.init(key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            opt_state=optimizer.init(variables["params"]),
            average=variables if config.train.ema else None,
        )

    # One program for all of it compiles faster than one for each array.
    state = jax.jit(fresh)(jax.random.key(config.seed, impl="rbg"))
    if config.init_from:
        weights = pretrained.read(config.init_from)
        variables = pretrained.into_backbones(
            state.variables, weights, depth=config.model.depth, source=config.init_from
        )
        average = jax.tree.map(jnp.copy, variables) if config.train.ema else None
        state = state.replace(variables=variables, average=average)
    return state


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    how: Method,
    optimizer: optax.GradientTransformation,
    augmentation: Augmentation,
    ema: float,
    seed: int,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step on this device's part of the batch, under the mapped axis "batch".

    ``batch`` has image (n, S, S) uint8, mask (n, S, S) uint8, points (n, T, 2), covers (n,), the
    place (n,) of each case in the whole batch, and the scalars point_weight, mask_weight and
    epoch, of which a method takes what it needs.
    Gradients and metrics are means over all devices.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["place"])
    image, mask, points = jax.vmap(lambda *case: augment(*case, options=augmentation))(
        keys, batch["image"] / 255.0, batch["mask"].astype(jnp.float32), batch["points"]
    )
    batch = batch | {"image": image, "mask": mask, "points": points}

    def objective(params: Any) -> tuple[jax.Array, Any]:
        return how.loss(state.variables | {"params": params}, batch, key)

    params = state.variables["params"]
    grads, (metrics, batch_stats) = jax.grad(objective, has_aux=True)(params)
    grads, metrics = jax.lax.pmean((grads, metrics), AXIS)
    updates, opt_state = optimizer.update(grads, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
    average = state.average
    if average is not None:
        # Early on the plain mean of the weights so far, so that the start is soon forgotten.
        rate = jnp.maximum(1 - ema, 1 / (state.step + 1.0))
        average = optax.incremental_update(variables, average, rate)
    return TrainState(state.step + 1, variables, opt_state, average), metrics


def eval_step(how: Method, variables: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The scores of each case of a batch, each (n,), NaN where its label does not give them.

    dice: of the wall. cavity_dice: of the inner points' polygon. points_loss: Eq. 6, over the
    points that are known. A method without points has the first alone.
    """
    prediction = how.predict(variables, batch["image"])
    shape, covers = batch["mask"].shape[1:], batch["covers"]
    is_wall = covers == labels.MYOCARDIUM
    if prediction.points is None:
        return {"dice": jnp.where(is_wall, _hard_dice(prediction.mask, batch["mask"]), jnp.nan)}
    strips = prediction.points[:, labels.cavity_strip(prediction.points.shape[1])]
    cavity = jax.vmap(lambda p: rasterize(p, shape))(strips)
    is_cavity = covers == labels.CAVITY
    drawn = jnp.where(is_cavity[:, None, None], cavity, prediction.mask)
    dice = _hard_dice(drawn, batch["mask"])
    point_loss = jax.vmap(lambda p, true: losses.point_loss(p, true, shape))
    has_points = jnp.any(jnp.isfinite(batch["points"]), axis=(1, 2))
    scores = {
        "dice": (dice, is_wall),
        "cavity_dice": (dice, is_cavity),
        "points_loss": (point_loss(prediction.points, batch["points"]), has_points),
    }
    return {name: jnp.where(known, value, jnp.nan) for name, (value, known) in scores.items()}


def _hard_dice(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """The Dice (n,) of predicted masks (n, H, W) in [0, 1], thresholded, and true ones."""
    pairs = (predicted > THRESHOLD).astype(jnp.float32), true.astype(jnp.float32)
    return 1 - jax.vmap(losses.dice_loss)(*pairs)


def parallel(step: Callable, devices: list[jax.Device]) -> Callable:
    """``step`` over all devices: the state replicated, the batch split along its first axis.

    It takes and gives the state as :func:`jssm.feed.replicate` places it (and reuses its memory:
    do not use the old one again), and batches as :func:`jssm.feed.place` does.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=(0,),
    )


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
        self.rows = data.rows("train")
        self.constants = checkpoint.constants_of(config, data)
        self.how = checkpoint.method_from(config, self.constants)
        size = config.train.batch_size
        self.steps_per_epoch = max(len(self.rows) // size, 1)
        optimizer = make_optimizer(config.train, self.steps_per_epoch)
        devices = _devices_for(size)
        self.devices, self.feed = devices, Feed(data, devices)
        self.state = replicate(init_state(self.how, optimizer, config), devices)
        self.progress = Progress(with_mask=not self.how.learns_points)
        self.pending: deque = deque()  # metrics of the last steps, still being computed

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

        self.step = parallel(step, devices)
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
                for epoch in range(first, options.epochs):
                    self._train_epoch(epoch)
                    if (epoch + 1) % options.validate_every == 0 or epoch + 1 == options.epochs:
                        self._validate(epoch + 1)
                self.log.curves()

    def _train_epoch(self, epoch: int) -> None:
        options, progress = self.config.train, self.progress
        order = dataset_lib.epoch_order(
            self.rows, options.batch_size, seed=self.config.seed, epoch=epoch
        )
        done = progress.step - epoch * self.steps_per_epoch
        if not progress.with_mask and epoch >= options.points_epochs:
            progress.with_mask = True
        self._epoch_started, self._epoch_first = time.perf_counter(), done
        same = place(
            {
                "place": np.arange(options.batch_size),
                "point_weight": np.float32(options.point_weight),
                "mask_weight": np.float32(options.mask_weight * progress.with_mask),
                "epoch": np.float32(epoch),
            },
            self.devices,
        )
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
            self.files.save_best(progress.step, self._weights())
        if not progress.with_mask:
            self._watch_convergence(scores.get("points_loss", float("inf")))
        self._save()
        if epoch % max(options.epochs // SHEETS, 1) == 0 or epoch == options.epochs:
            self._draw(epoch)

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
        parts = [
            self.evaluate(self.state.best_variables, batch)
            for batch in dataset_lib.batches(self.data, padded)
        ]
        stacked = {k: np.concatenate([p[k] for p in parts])[: len(rows)] for k in parts[0]}
        known = {name: values[~np.isnan(values)] for name, values in stacked.items()}
        return {name: float(np.mean(values)) for name, values in known.items() if len(values)}

    def _draw(self, epoch: int) -> None:
        rows = self.data.rows("val")
        rows = rows[np.linspace(0, len(rows) - 1, min(PICTURES, len(rows))).astype(int)]
        images, masks = self.data.images[rows], self.data.masks[rows]
        prediction = jax.tree.map(np.asarray, self.predict(self.state.best_variables, images))
        titles = self.data.cases["case"].iloc[rows].tolist()
        self.log.overlays(self.progress.step, epoch, images, masks, prediction, titles)

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
        self.files.save_latest(
            self.progress.step, self._weights(), self._training(), asdict(self.progress)
        )

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


def _devices_for(batch_size: int) -> list[jax.Device]:
    """All local devices.

    Raises:
      ValueError: when they cannot share a batch evenly.
    """
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise ValueError(
            f"train.batch_size {batch_size} cannot be shared evenly by {len(devices)} devices"
        )
    return devices


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
