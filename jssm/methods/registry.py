"""Every method by its name in ``config.method``, and from what a training left to a method."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jssm import config as config_lib
from jssm import weights
from jssm.config import Config
from jssm.methods import model_file
from jssm.methods.method import Method
from jssm.methods.model import Model

if TYPE_CHECKING:
    from jssm.dataset import Dataset


class Entry(NamedTuple):
    """How a method comes about.

    method(config, constants) gives its functions. constants(config, data) gives the arrays that
    the training set determines and that predictions need, by name; they are saved with the
    weights. model(config, weights) gives the :class:`Model` of a method that has a shape model.
    """

    method: Callable[[Config, dict[str, Any]], Method]
    constants: Callable[[Config, "Dataset"], dict[str, Any]] = lambda config, data: {}
    model: Callable[[Config, dict[str, Any]], Model] | None = None


def _of(module: str, function: str) -> Callable[..., Any]:
    """A function of a module of this folder, imported when it is called."""

    def call(*args: Any) -> Any:
        return getattr(importlib.import_module(f"jssm.methods.{module}"), function)(*args)

    return call


def _entry(module: str, constants: str) -> Entry:
    """The entry of a method that has a shape model."""
    return Entry(_of(module, "method_from"), _of(constants, "constants"), _of(module, "model_from"))


METHODS = {
    config_lib.OURS: _entry("regression", "regression"),
    "evidence": _entry("evidence", "regression"),
    "contour": Entry(_of("baselines.contour", "method")),
    "fcn8s": Entry(_of("baselines.fcn8s", "method")),
    "tetris": Entry(_of("baselines.tetris", "method"), _of("baselines.tetris", "constants")),
    "tracking": Entry(_of("baselines.tracking", "method")),
    "unet": Entry(_of("baselines.pixelwise", "method")),
}


def constants_of(config: Config, data: "Dataset") -> dict[str, Any]:
    """The arrays that the training set gives to the method of these settings."""
    return METHODS[config.method].constants(config, data)


def method_from(config: Config, constants: dict[str, Any]) -> Method:
    """The method of these settings with these constants."""
    return METHODS[config.method].method(config, constants)


def load(source: str | Path, *, step: str = "best") -> Model:
    """A trained model.

    source: a run directory, a file of ``jssm pack``, or the name of a model that comes with the
    package (:data:`jssm.weights.RELEASED`), as a string. step: of a run directory, the checkpoint:
    "best" (validation Dice) or "latest".

    Raises:
      FileNotFoundError: when there is no run, or no checkpoint of it yet.
      ValueError: when ``step`` is neither, or is not "best" though the source is no run directory,
        the method has no shape model, or what is there is damaged or of another version.
    """
    return model_from(*read(source, step=step), source=source)


def model_from(config: Config, arrays: dict[str, Any], *, source: str | Path) -> Model:
    """The model of these settings and arrays; ``source`` is where they come from, for errors.

    Raises:
      ValueError: when the method has no shape model.
    """
    make = METHODS[config.method].model
    if make is None:
        raise ValueError(
            f"{source}: holds the method {config.method}, which has no shape model; eval.py and "
            "jssm.methods.registry.load_method take it"
        )
    return make(config, jax.device_put(arrays))


def load_method(source: str | Path, *, step: str = "best") -> tuple[Method, Any]:
    """The method of a source, ours or a baseline, and its trained variables.

    Raises:
      FileNotFoundError, ValueError: as :func:`load`.
    """
    config, arrays = read(source, step=step)
    constants = jax.tree.map(jnp.asarray, arrays)
    variables = constants.pop("variables")
    return method_from(config, constants), variables


def read(source: str | Path, *, step: str = "best") -> tuple[Config, dict[str, Any]]:
    """The settings and the arrays of a source, as :func:`load` takes them.

    Raises:
      FileNotFoundError, ValueError: as :func:`load`.
    """
    released = isinstance(source, str) and source in weights.RELEASED
    if released or Path(source).is_file():
        if step != "best":
            raise ValueError(f"{source}: no run directory, so it has no {step} checkpoint")
        return model_file.read(weights.file_of(str(source)) if released else Path(source))
    from jssm import checkpoint

    try:
        config = config_lib.load(source)
    except FileNotFoundError as error:
        names = ", ".join(sorted(weights.RELEASED))
        raise FileNotFoundError(f"{error}; models of the package: {names}") from error
    return config, checkpoint.read_weights(source, step=step)
