"""Every method by its name in ``config.method``, and from what a training left to a method."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jssm import checkpoint, weights
from jssm import config as config_lib
from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods import evidence, model_file, regression
from jssm.methods.baselines import contour, fcn8s, pixelwise, tetris, tracking
from jssm.methods.method import Method
from jssm.methods.model import Model


class Entry(NamedTuple):
    """How a method comes about.

    method(config, constants) gives its functions. constants(config, data) gives the arrays that
    the training set determines and that predictions need, by name; they are saved with the
    weights. model(config, weights) gives the :class:`Model` of a method that has a shape model.
    """

    method: Callable[[Config, dict[str, Any]], Method]
    constants: Callable[[Config, Dataset], dict[str, Any]] = lambda config, data: {}
    model: Callable[[Config, dict[str, Any]], Model] | None = None


METHODS = {
    config_lib.OURS: Entry(regression.method_from, regression.constants, regression.model_from),
    "evidence": Entry(evidence.method_from, regression.constants, evidence.model_from),
    "contour": Entry(contour.method),
    "fcn8s": Entry(fcn8s.method),
    "tetris": Entry(tetris.method, tetris.constants),
    "tracking": Entry(tracking.method),
    "unet": Entry(pixelwise.method),
}


def constants_of(config: Config, data: Dataset) -> dict[str, Any]:
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
      ValueError: when ``step`` is neither, the method has no shape model, or what is there is
        damaged or of another version.
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
    return make(config, jax.tree.map(jnp.asarray, arrays))


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
    if isinstance(source, str) and source in weights.RELEASED:
        return model_file.read(weights.file_of(source))
    if Path(source).is_file():
        return model_file.read(Path(source))
    try:
        config = config_lib.load(source)
    except FileNotFoundError as error:
        names = ", ".join(sorted(weights.RELEASED))
        raise FileNotFoundError(f"{error}; models of the package: {names}") from error
    return config, checkpoint.read_weights(source, step=step)
