"""What a training run does, settled before anything is compiled or written.

All that can be wrong with settings, data, devices, weights and run directory is found here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jssm import config as config_lib
from jssm import dataset as dataset_lib
from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods.method import Method
from jssm.shape import labels
from jssm.shape.shape_model import from_arrays
from jssm.training import hosts, steps
from jssm.training.steps import TrainState


@dataclass(frozen=True)
class Plan:
    """A run that could begin.

    constants: the arrays beside the variables that are saved with them. clips: the rows of the
    training cases, as :meth:`jssm.dataset.Dataset.clips` gives them. shapes: of the state before
    the first step. first_state: computes it.
    """

    config: Config
    data: Dataset
    method: Method
    constants: dict[str, Any]
    clips: np.ndarray
    devices: list[jax.Device]
    optimizer: optax.GradientTransformation
    shapes: TrainState
    first_state: Callable[[], TrainState]

    @property
    def steps_per_epoch(self) -> int:
        """Full batches, and one at least."""
        return max(len(self.clips) // self.config.train.batch_size, 1)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.config.train.epochs * self.steps_per_epoch

    def order(self, epoch: int) -> np.ndarray:
        """The rows of each batch of an epoch, counted from 0, (batches, batch_size)."""
        size, seed = self.config.train.batch_size, self.config.seed
        return dataset_lib.epoch_order(self.clips, size, seed=seed, epoch=epoch)


def make_plan(
    method: Method,
    data: Dataset,
    config: Config,
    *,
    constants: dict[str, Any] | None = None,
    into: Callable[[Any], Any] | None = None,
) -> Plan:
    """The plan of training ``method`` on ``data``; of ``config`` it takes train, augment and the
    seed. ``into`` is as in :func:`jssm.training.steps.first_state`.

    Raises:
      ValueError: when the start does not suit the network, or the devices cannot share a batch.
    """
    clips, size = data.clips("train", method.clip), config.train.batch_size
    devices = _devices_for(size, method.clip)
    optimizer = steps.make_optimizer(config.train, max(len(clips) // size, 1))
    with steps.no_collection():
        shapes, first_state = steps.first_state(method, optimizer, config, into=into)
    return Plan(
        config=config,
        data=data,
        method=method,
        constants=constants or {},
        clips=clips,
        devices=devices,
        optimizer=optimizer,
        shapes=shapes,
        first_state=first_state,
    )


def settle(config: Config, data: Dataset, inherited: dict[str, Any] | None = None) -> Config:
    """Fill in what the data decides, and check that the rest suits it.

    ``inherited``: the constants of a trained model that goes on, whose shape model counts where it
    has one.

    Raises:
      ValueError: when it does not.
    """
    size = config.model.size or data.size
    shape = data.shape_model
    if inherited and "shape" in inherited:
        shape = from_arrays(inherited["shape"])
    modes = min(config.model.num_modes, shape.num_modes)
    if shape.mean.shape != data.shape_model.mean.shape:
        raise ValueError(
            f"init_from: its shapes have {len(shape.mean)} points but those of {config.data} have "
            f"{len(data.shape_model.mean)}"
        )
    if shape.closed != data.shape_model.closed:
        raise ValueError(f"init_from: of its shapes and those of {config.data} one alone is a ring")
    if shape.closed and (config.augment.flip_left_right or config.augment.flip_up_down):
        raise ValueError(
            "augment.flip_left_right, augment.flip_up_down: expected false, as the side on which a "
            "ring begins tells where that is"
        )
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


def check_free(run: Path, config: Config) -> None:
    """Check that the run directory is free, or holds a run of these settings.

    Raises:
      ValueError: when it holds another run.
    """
    path = run / "config.json"
    if path.is_file() and config_lib.load(run) != config:
        raise ValueError(f"{run}: holds a run with other settings; choose another --workdir")
    if (run / "checkpoints").exists() and not path.is_file():
        raise ValueError(f"{run}: holds checkpoints but no config.json; choose another --workdir")


def _devices_for(batch_size: int, clip: int) -> list[jax.Device]:
    """All devices of this process.

    Raises:
      ValueError: when they, and those of the other processes, cannot share a batch evenly, in whole
        clips.
    """
    devices = jax.local_devices()
    count, processes = len(hosts.all_devices(devices)), hosts.number()
    if count != len(devices) * processes:
        raise ValueError(
            f"this process has {len(devices)} of the {count} devices of {processes} processes, "
            "which all need as many"
        )
    where = f"{count} device(s)" + (f" of {processes} processes" if processes > 1 else "")
    if batch_size % count:
        raise ValueError(f"train.batch_size {batch_size} cannot be shared evenly by {where}")
    if batch_size // count % clip:
        raise ValueError(
            f"train.batch_size {batch_size} on {where} is not made of whole clips of {clip} frames "
            "(baseline.clip_frames)"
        )
    return devices
