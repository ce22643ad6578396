"""Run directories: what a training writes, and what a prediction needs from it.

    RUN/config.json            every setting
    RUN/checkpoints/latest/    weights, constants, optimizer, progress: to go on training
    RUN/checkpoints/best/      weights and constants at the best validation Dice
    RUN/metrics.jsonl, RUN/tensorboard/, RUN/overlays/   how it went

The constants are the arrays beside the weights that a prediction needs: of our own method the
shape model and the mean θ. A run directory needs nothing outside itself; it can be moved and
renamed.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jssm import config as config_lib
from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods.baselines import BASELINES
from jssm.methods.model import Method, Model, Network, method
from jssm.shape.shape_model import ShapeModel

STEPS = ("best", "latest")


class Checkpoints:
    """The latest and the best checkpoint of a run, written in the background."""

    def __init__(self, run: str | Path):
        self._latest = _manager(Path(run) / "checkpoints" / "latest")
        self._best = _manager(Path(run) / "checkpoints" / "best")

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        for manager in (self._latest, self._best):
            manager.wait_until_finished()
            manager.close()

    def save_latest(self, step: int, weights: Any, training: Any, progress: dict) -> None:
        """Save all that training needs to go on after ``step``; a step is saved once."""
        if self._latest.latest_step() == step:
            return
        items = ocp.args.Composite(
            weights=ocp.args.StandardSave(weights),
            training=ocp.args.StandardSave(training),
            progress=ocp.args.JsonSave(progress),
        )
        self._latest.save(step, args=items, force=True)

    def save_best(self, step: int, weights: Any) -> None:
        """Save what prediction needs, in place of the best so far."""
        items = ocp.args.Composite(weights=ocp.args.StandardSave(weights))
        self._best.save(step, args=items, force=True)

    def restore_latest(self, weights: Any, training: Any) -> tuple[Any, Any, dict] | None:
        """The latest weights, training state and progress, shaped like the given ones.

        None when nothing was saved yet.
        """
        step = self._latest.latest_step()
        if step is None:
            return None
        items = ocp.args.Composite(
            weights=ocp.args.StandardRestore(weights),
            training=ocp.args.StandardRestore(training),
            progress=ocp.args.JsonRestore(),
        )
        restored = self._latest.restore(step, args=items)
        return restored["weights"], restored["training"], restored["progress"]


def load(run: str | Path, *, step: str = "best") -> Model:
    """The trained model of a run directory; ``step`` is "best" (validation Dice) or "latest".

    Raises:
      FileNotFoundError: when ``run`` holds no run, or no checkpoint yet.
      ValueError: when ``step`` is neither, or the run is a baseline's.
    """
    config = config_lib.load(run)
    if config.method != config_lib.OURS:
        raise ValueError(
            f"{run}: holds the method {config.method}, which has no shape model; eval.py and "
            "jssm.checkpoint.load_method take it"
        )
    return model_from(config, jax.tree.map(jnp.asarray, read_weights(run, step=step)))


def load_method(run: str | Path, *, step: str = "best") -> tuple[Method, Any]:
    """The method of a run directory, ours or a baseline, and its trained variables.

    Raises:
      FileNotFoundError: when ``run`` holds no run, or no checkpoint yet.
      ValueError: when ``step`` is neither "best" nor "latest".
    """
    config = config_lib.load(run)
    weights = jax.tree.map(jnp.asarray, read_weights(run, step=step))
    variables = weights.pop("variables")
    return method_from(config, weights), variables


def constants_of(config: Config, data: Dataset) -> dict[str, Any]:
    """The arrays that the training set gives to the method of these settings."""
    if config.method != config_lib.OURS:
        return BASELINES[config.method].constants(data)
    shape = data.shape_model.truncate(config.model.num_modes)
    return _shape_constants(shape, jnp.asarray(data.mean_theta()))


def method_from(config: Config, constants: dict[str, Any]) -> Method:
    """The method of these settings with these constants."""
    if config.method != config_lib.OURS:
        return BASELINES[config.method].method(config, constants)
    return method(model_from(config, {"variables": {}, **constants}))


def read_weights(run: str | Path, *, step: str = "best") -> Any:
    """The weights that :class:`Checkpoints` saved in ``run``, as numpy arrays.

    Raises:
      FileNotFoundError: when it holds no checkpoint yet.
      ValueError: when ``step`` is neither "best" nor "latest".
    """
    if step not in STEPS:
        raise ValueError(f"step {step!r}: expected one of {', '.join(STEPS)}")
    directory = Path(run) / "checkpoints" / step
    if not directory.is_dir():
        raise FileNotFoundError(f"{run}: no {step} checkpoint there; train it first")
    with _manager(directory) as manager:
        last = manager.latest_step()
        if last is None:
            raise FileNotFoundError(f"{run}: no {step} checkpoint there; train it first")
        items = ocp.args.Composite(weights=ocp.args.StandardRestore())
        return manager.restore(last, args=items)["weights"]


def weights_of(model: Model) -> dict[str, Any]:
    """The arrays of a model as nested dictionaries."""
    return {"variables": model.variables, **_shape_constants(model.shape, model.mean_theta)}


def model_from(config: Config, weights: dict[str, Any]) -> Model:
    """The model of these settings with these arrays."""
    return Model(
        variables=weights["variables"],
        shape=ShapeModel(**weights["shape"]),
        mean_theta=weights["mean_theta"],
        network=network_from(config),
        size=config.model.size,
        tau=config.model.tau,
    )


def network_from(config: Config, *, axis_name: str | None = None) -> Network:
    """The Linen module of these settings."""
    options = config.model
    return Network(
        num_modes=options.num_modes,
        depth=options.depth,
        width=options.width,
        locate_size=options.locate_size,
        refinements=options.refinements,
        searches=options.searches,
        view_size=options.view_size,
        dtype=jnp.bfloat16 if options.bfloat16 else np.float32,
        axis_name=axis_name,
    )


def _shape_constants(shape: ShapeModel, mean_theta: jax.Array) -> dict[str, Any]:
    arrays = {k: getattr(shape, k) for k in ("mean", "modes", "variances")}
    return {"shape": arrays, "mean_theta": mean_theta}


def _manager(directory: Path) -> ocp.CheckpointManager:
    policy = ocp.checkpoint_managers.LatestN(1)
    options = ocp.CheckpointManagerOptions(preservation_policy=policy, create=True)
    return ocp.CheckpointManager(directory.absolute(), options=options)
