"""The landmark network (Appendix A): a U-Net that learns the masks' landmarks from images alone.

    RUN/settings.json        every setting, and the mean landmarks of the training cases
    RUN/checkpoints/         the latest weights, to go on training, and the best
    RUN/curves.png, landmarks.png, errors.csv, errors.json   how it went, on held-out patients

The network looks at images shrunk to ``size``: coarse, for a peak is found to a part of a pixel.
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from tqdm import tqdm

from jssm import checkpoint, dataset
from jssm.config import Augmentation
from jssm.dataset import Dataset
from jssm.image_path import standardized
from jssm.methods import heatmaps as heat
from jssm.methods.heatmaps import Landmarks
from jssm.networks.unet import UNet
from jssm.shape import affine
from jssm.training.augment import augment
from prep.dataset import images
from prep.errors import Refused, Unsuitable
from prep.shapes import landmarks, procrustes, registration

AUGMENTATION = Augmentation(
    flip_left_right=True,
    rotation_degrees=30.0,
    translation=0.15,  # far enough that landmarks leave the image: they are then not in it
    log_scale=0.2,
    contrast=0.3,
    noise=0.1,
)
BATCH = 16  # images that are looked at together
JUNK = 0.1  # the share of training images that are noise and show nothing


@dataclass(frozen=True)
class Settings:
    """What decides the result of a training, beside the data."""

    size: int = 64
    width: int = 16
    levels: int = 4
    sigma_px: float = 1.0  # of the targets, in px of the network's input
    epochs: int = 15
    batch_size: int = 16
    learning_rate: float = 0.002
    seed: int = 0


@dataclass(frozen=True)
class Locator:
    """A trained network: its settings, its variables, and the mean landmarks (3, 2) of its
    training, upright on a grid of one pixel's width."""

    settings: Settings
    variables: Any
    mean_landmarks: np.ndarray

    def __call__(self, pictures: np.ndarray, *, threshold: float, aspect: float = 1.0) -> Landmarks:
        """The landmarks of uint8 images (N, H, W), in their pixels; with a leading axis N.

        aspect: the height of a pixel over its width.
        """
        options, square = self.settings, (self.settings.size, self.settings.size)
        small = np.stack([images.fit_image(p, options.size, aspect=aspect) for p in pictures])
        parts = [
            _locate(self.variables, np.resize(part, (BATCH, *part.shape[1:])), options, threshold)
            for part in (small[k : k + BATCH] for k in range(0, len(small), BATCH))
        ]  # batches of one size, so that it compiles once
        found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(small)], *parts)
        back = affine.invert(affine.letterbox(pictures.shape[1:], square, aspect=aspect))
        return found.replace(points=np.asarray(affine.apply(back, found.points)))


class State(struct.PyTreeNode):
    """What a step changes."""

    step: jax.Array
    variables: Any
    opt_state: Any


@dataclass(frozen=True)
class Examples:
    """Images (N, S, S) uint8 at the network's size with landmarks (N, 3, 2) in their px; the rows
    of the data set that they are; and a sentence for each case that has no landmarks."""

    images: np.ndarray
    points: np.ndarray
    rows: np.ndarray
    without: list[str]


def run(
    directory: Path, out: Path, settings: Settings, *, threshold: float
) -> tuple[str, list[str]]:
    """Train on a data set of ``prep build``, going on where an earlier call was stopped.

    Gives a report of the errors of the network that was best on the held-out patients, and a
    sentence for each case whose mask has no landmarks. Every random number is a function of the
    seed and the step.

    Raises:
      Refused: when the data set is not there, or ``out`` holds a run of other settings.
    """
    try:
        data = dataset.load(directory)
        parts = {
            split: examples(data, data.rows(split), settings.size) for split in ("train", "val")
        }
    except (FileNotFoundError, ValueError) as error:
        raise Refused(str(error)) from error
    marks = parts["train"].points.astype(np.float64)
    if not (len(marks) and len(parts["val"].points)):
        raise Refused(f"{directory}: no training or no held-out case has landmarks")
    mean = procrustes.mean_landmarks(marks, settings.size) / settings.size
    _claim(out, settings, directory, mean)
    _Loop(out, settings, parts["train"], parts["val"]).run()

    from prep.landmarks import report

    val = parts["val"]
    found = load(out)(np.asarray(data.images[val.rows]), threshold=threshold)
    from_size = affine.invert(affine.letterbox((data.size,) * 2, (settings.size,) * 2))
    truth = np.asarray(affine.apply(from_size, val.points))
    summary = report.write(out, data, val.rows, truth, found)
    return report.format_summary(summary), parts["train"].without + val.without


def load(run: Path) -> Locator:
    """The best network of a run directory.

    Raises:
      Refused: when it holds none.
    """
    try:
        stored = json.loads((run / "settings.json").read_text())
        weights = checkpoint.read_weights(run)
    except (OSError, ValueError) as error:
        raise Refused(f"{run}: no trained landmark network there ({error})") from error
    return Locator(
        Settings(**stored["settings"]), weights["variables"], np.array(stored["mean_landmarks"])
    )


def examples(data: Dataset, rows: np.ndarray, size: int) -> Examples:
    """Some rows of a data set, shrunk to ``size``, with the landmarks of their masks."""
    to_size = np.asarray(affine.letterbox((data.size,) * 2, (size, size)), np.float64)
    kept, points, pictures, without = [], [], [], []
    for row in tqdm(rows, "landmarks of masks", unit="case", disable=None, leave=False):
        try:
            marks = landmarks.from_mask(np.asarray(data.masks[row]))
        except Unsuitable as error:
            without.append(f"{data.cases['case'].iloc[row]}: {error}")
            continue
        kept.append(row)
        points.append(registration.apply(to_size, marks))
        pictures.append(images.fit_image(np.asarray(data.images[row]), size))
    return Examples(
        np.array(pictures, np.uint8).reshape(-1, size, size),
        np.array(points, np.float32).reshape(-1, 3, 2),
        np.array(kept, np.int64),
        without,
    )


def network_from(settings: Settings) -> UNet:
    """The Linen module: three maps, in the order of ``jssm.methods.heatmaps.NAMES``."""
    return UNet(len(heat.NAMES), settings.width, settings.levels)


@partial(jax.jit, static_argnums=(2, 3))
def _locate(variables: Any, pictures: jax.Array, options: Settings, threshold: float) -> Landmarks:
    logits: Any = network_from(options).apply(variables, _inputs(pictures), train=False)
    find = partial(heat.locate, sigma_px=options.sigma_px, threshold=threshold)
    return jax.vmap(find)(logits)


def _inputs(pictures: jax.Array) -> jax.Array:
    return jax.vmap(standardized)(pictures.astype(jnp.float32))[..., None]


def make_optimizer(settings: Settings, steps_per_epoch: int) -> optax.GradientTransformation:
    """Adam, with one epoch of warm-up and a cosine."""
    steps = settings.epochs * steps_per_epoch
    warmup = min(steps_per_epoch, steps // 2)
    return optax.adam(
        optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, warmup, steps)
    )


@partial(jax.jit, static_argnums=(2, 3))
def train_step(
    state: State, batch: dict[str, jax.Array], settings: Settings, steps_per_epoch: int
) -> tuple[State, jax.Array]:
    """The state after one batch of image (n, S, S) uint8 and points (n, 3, 2), and its loss."""
    params = state.variables["params"]
    objective = jax.value_and_grad(batch_loss, has_aux=True)
    (loss, batch_stats), grads = objective(params, state, batch, settings)
    optimizer = make_optimizer(settings, steps_per_epoch)
    updates, opt_state = optimizer.update(grads, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
    return State(state.step + 1, variables, opt_state), loss


def batch_loss(
    params: Any, state: State, batch: dict[str, jax.Array], options: Settings
) -> tuple[jax.Array, Any]:
    """The loss of one augmented batch, and the new batch statistics."""
    key = jax.random.fold_in(jax.random.key(options.seed), state.step)
    shape = (options.size, options.size)

    def view(key: jax.Array, image: jax.Array, points: jax.Array) -> tuple[jax.Array, jax.Array]:
        view_key, junk_key, noise_key = jax.random.split(key, 3)
        # What augment does to a mirrored strip, swapping its ends, it does to the basal landmarks.
        seen, _, moved = augment(view_key, image, image, points, options=AUGMENTATION)
        is_junk = jax.random.bernoulli(junk_key, JUNK)
        target = heat.targets(moved, shape, sigma_px=options.sigma_px)
        return (
            jnp.where(is_junk, _noise(noise_key, shape), seen),
            jnp.where(is_junk, heat.nowhere(len(points), shape), target),
        )

    keys = jax.random.split(key, len(batch["image"]))
    seen, target = jax.vmap(view)(keys, batch["image"] / 255.0, batch["points"])
    logits, changed = network_from(options).apply(
        state.variables | {"params": params}, _inputs(seen), train=True, mutable=["batch_stats"]
    )
    return jnp.mean(jax.vmap(heat.loss)(logits, target)), changed["batch_stats"]


@partial(jax.jit, static_argnums=3)
def case_losses(
    variables: Any, pictures: jax.Array, points: jax.Array, options: Settings
) -> jax.Array:
    """The loss (n,) of each image as it is."""
    logits = network_from(options).apply(variables, _inputs(pictures), train=False)
    aim = partial(heat.targets, shape=(options.size,) * 2, sigma_px=options.sigma_px)
    return jax.vmap(lambda maps, p: heat.loss(maps, aim(p)))(logits, points)


def _noise(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """A picture of nothing: noise of a random mixture of grain sizes."""
    keys = jax.random.split(key, 4)
    layers = [
        jax.image.resize(
            jax.random.normal(k, (shape[0] // step, shape[1] // step)), shape, "linear"
        )
        for k, step in zip(keys[:3], (1, 4, 16), strict=True)
    ]
    return jnp.tensordot(jax.random.uniform(keys[3], (3,)), jnp.stack(layers), axes=1)


class _Loop:
    """One training run: owns its state and its files."""

    def __init__(self, run: Path, settings: Settings, train: Examples, val: Examples):
        self.directory, self.settings, self.train, self.val = run, settings, train, val
        self.per_epoch = max(len(train.images) // settings.batch_size, 1)
        blank = jnp.zeros((1, settings.size, settings.size, 1))
        network = network_from(settings)
        key = jax.random.key(settings.seed, impl="rbg")
        variables = jax.jit(partial(network.init, train=False))(key, blank)
        opt_state = make_optimizer(settings, self.per_epoch).init(variables["params"])
        self.state = State(jnp.zeros((), jnp.int32), variables, opt_state)
        self.history: list[dict[str, float]] = []

    def run(self) -> None:
        """Every epoch leaves a checkpoint, so that a stop at any moment loses one at most."""
        from jssm.pictures import plots

        with checkpoint.Checkpoints(self.directory) as files:
            self._restore(files)
            done, size = len(self.history), self.settings.batch_size
            steps = self.settings.epochs * self.per_epoch
            first = done * self.per_epoch
            bar = tqdm(total=steps, initial=first, desc="train", unit="image", unit_scale=size)
            for epoch in range(done, self.settings.epochs):
                losses = self._epoch(epoch, bar)
                least = min((r["val_loss"] for r in self.history), default=np.inf)
                found = {"train_loss": float(np.mean(losses)), "val_loss": self._val_loss()}
                self.history.append({"epoch": epoch + 1, **found})
                weights, training = self._stored()
                if found["val_loss"] < least:
                    files.save_best(epoch + 1, weights)
                files.save_latest(epoch + 1, weights, training, {"history": self.history})
                bar.set_postfix({name: f"{value:.3f}" for name, value in found.items()})
            bar.close()
        plots.curves(self.directory / "curves.png", self.history)

    def _epoch(self, epoch: int, bar: tqdm) -> list[float]:
        rows = np.arange(len(self.train.images))
        order = dataset.epoch_order(
            rows, self.settings.batch_size, seed=self.settings.seed, epoch=epoch
        )
        losses = []
        for number, chosen in enumerate(order, start=1):
            batch = {"image": self.train.images[chosen], "points": self.train.points[chosen]}
            self.state, loss = train_step(self.state, batch, self.settings, self.per_epoch)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                raise Refused(f"the loss is {losses[-1]} in epoch {epoch + 1}, batch {number}")
            bar.update()
        return losses

    def _val_loss(self) -> float:
        size = min(self.settings.batch_size, len(self.val.images))
        rows = np.resize(np.arange(len(self.val.images)), (-(-len(self.val.images) // size), size))
        losses = [
            case_losses(self.state.variables, self.val.images[r], self.val.points[r], self.settings)
            for r in rows
        ]
        return float(np.concatenate(losses)[: len(self.val.images)].mean())

    def _stored(self) -> tuple[dict[str, Any], dict[str, Any]]:
        state = self.state
        return {"variables": state.variables}, {"step": state.step, "opt_state": state.opt_state}

    def _restore(self, files: checkpoint.Checkpoints) -> None:
        found = files.restore_latest(*self._stored())
        if found is not None:
            weights, training, progress = found
            self.state = State(variables=weights["variables"], **training)
            self.history = progress["history"]


def _claim(run: Path, settings: Settings, directory: Path, mean: np.ndarray) -> None:
    """Write the settings, or check that they are those of the run that is already there."""
    path = run / "settings.json"
    stored = {"data": directory.name, "settings": asdict(settings), "mean_landmarks": mean.tolist()}
    if path.is_file() and json.loads(path.read_text()) != stored:
        raise Refused(f"{run}: holds a run of other settings or data; choose another --out")
    run.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1))
