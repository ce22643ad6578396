"""Run directories: what a training writes, and what a prediction needs from it.

    RUN/config.json            every setting
    RUN/checkpoints/latest/    weights, constants, optimizer, progress: to go on training
    RUN/checkpoints/best/      weights and constants at the best validation Dice
    RUN/metrics.jsonl, RUN/tensorboard/, RUN/overlays/   how it went

The constants are the arrays beside the weights that a prediction needs: of our own method the
shape model and the mean θ. A run directory needs nothing outside itself; it can be moved and
renamed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jssm.steps import STEPS

WEIGHTS = "weights"  # the item that both have


class Checkpoints:
    """The latest and the best checkpoint of a run, written in the background.

    Of several processes the first alone has them.
    """

    def __init__(self, run: str | Path):
        self._latest = _manager(Path(run) / "checkpoints" / "latest")
        self._best = _manager(Path(run) / "checkpoints" / "best")

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        for manager in (self._latest, self._best):
            with _told(manager):
                manager.wait_until_finished()
            manager.close()

    def save_latest(self, step: int, weights: Any, training: Any, progress: dict) -> None:
        """Save all that training needs to go on after ``step``; a step is saved once.

        Raises:
          OSError: when this one, or the one before, cannot be written.
        """
        if self._latest.latest_step() == step:
            return
        items = ocp.args.Composite(
            weights=ocp.args.StandardSave(weights),
            training=ocp.args.StandardSave(training),
            progress=ocp.args.JsonSave(progress),
        )
        with _told(self._latest):
            self._latest.save(step, args=items, force=True)

    def save_best(self, step: int, weights: Any) -> None:
        """Save what prediction needs, in place of the best so far; a step is saved once, as one
        that is taken again, after a failure before the latest was saved, gives the same.

        Raises:
          OSError: when this one, or the one before, cannot be written.
        """
        if step in self._best.all_steps():
            return
        items = ocp.args.Composite(weights=ocp.args.StandardSave(weights))
        with _told(self._best):
            self._best.save(step, args=items, force=True)

    def restore_latest(self, weights: Any, training: Any) -> tuple[Any, Any, dict] | None:
        """The latest weights, training state and progress, as NumPy arrays in trees like the given.

        None when nothing was saved yet.

        Raises:
          ValueError: when what was saved is damaged or of another version.
        """
        step = self._latest.latest_step()
        if step is None:
            return None
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), (weights, training))
        items = ocp.args.Composite(
            weights=ocp.args.StandardRestore(like[0]),
            training=ocp.args.StandardRestore(like[1]),
            progress=ocp.args.JsonRestore(),
        )
        restored = _restored(self._latest, step, items)
        return restored["weights"], restored["training"], restored["progress"]


def read_weights(run: str | Path, *, step: str = "best") -> Any:
    """The weights that :class:`Checkpoints` saved in ``run``, as NumPy arrays.

    Raises:
      FileNotFoundError: when it holds no checkpoint yet.
      ValueError: when ``step`` is neither "best" nor "latest", or the checkpoint is damaged or of
        another version.
    """
    if step not in STEPS:
        raise ValueError(f"step {step!r}: expected one of {', '.join(STEPS)}")
    directory = Path(run) / "checkpoints" / step
    missing = FileNotFoundError(f"{run}: no {step} checkpoint there; train it first")
    if not directory.is_dir():
        raise missing
    with _manager(directory) as manager:
        last = manager.latest_step()
        if last is None:
            raise missing
        try:
            # Orbax would restore arrays onto the devices on which they lay, which this machine may
            # not have; NumPy arrays lie on none.
            stored = manager.item_metadata(last)[WEIGHTS].tree
            like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), stored)
        except Exception as error:
            raise _unreadable(directory / str(last), error) from error
        items = ocp.args.Composite(**{WEIGHTS: ocp.args.StandardRestore(like)})
        return _restored(manager, last, items)[WEIGHTS]


def _manager(directory: Path) -> ocp.CheckpointManager:
    directory.mkdir(parents=True, exist_ok=True)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(1), create=False
    )
    if jax.distributed.is_initialized():  # Orbax is not to wait for the other processes
        own = jax.process_index()
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}
        )
    handlers = {
        WEIGHTS: ocp.StandardCheckpointHandler(),
        "training": ocp.StandardCheckpointHandler(),
        "progress": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(directory.absolute(), options=options, item_handlers=handlers)


@contextmanager
def _told(manager: ocp.CheckpointManager) -> Iterator[None]:
    """What keeps a checkpoint from being written, in one sentence."""
    try:
        yield
    except Exception as error:  # Orbax raises many kinds, here or from its threads
        raise OSError(
            f"{manager.directory}: the checkpoint cannot be written ({_cause(error)})"
        ) from error


def _restored(manager: ocp.CheckpointManager, step: int, items: Any) -> Any:
    try:
        return manager.restore(step, args=items)
    except Exception as error:  # Orbax raises many kinds, for files cut short, missing, or others
        raise _unreadable(Path(manager.directory) / str(step), error) from error


def _unreadable(checkpoint: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{checkpoint}: the checkpoint is damaged or of another version ({_cause(error)[:160]})"
    )


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
