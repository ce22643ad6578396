"""Every method by its name in ``config.method``, and from a run directory to a method."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jssm import checkpoint
from jssm import config as config_lib
from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods import evidence, regression
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


def load(run: str | Path, *, step: str = "best") -> Model:
    """The trained model of a run directory; ``step`` is "best" (validation Dice) or "latest".

    Raises:
      FileNotFoundError: when ``run`` holds no run, or no checkpoint yet.
      ValueError: when ``step`` is neither, the method has no shape model, or what is there is
        damaged or of another version.
    """
    config = config_lib.load(run)
    model_from = METHODS[config.method].model
    if model_from is None:
        raise ValueError(
            f"{run}: holds the method {config.method}, which has no shape model; eval.py and "
            "jssm.methods.registry.load_method take it"
        )
    return model_from(config, _weights(run, step))


def load_method(run: str | Path, *, step: str = "best") -> tuple[Method, Any]:
    """The method of a run directory, ours or a baseline, and its trained variables.

    Raises:
      FileNotFoundError, ValueError: as :func:`load`.
    """
    config = config_lib.load(run)
    weights = _weights(run, step)
    variables = weights.pop("variables")
    return method_from(config, weights), variables


def _weights(run: str | Path, step: str) -> Any:
    return jax.tree.map(jnp.asarray, checkpoint.read_weights(run, step=step))
