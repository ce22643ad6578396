"""The systems that jssm is compared with, by the names of ``config.method``.

Each is one file that gives a :class:`jssm.methods.model.Method`, so the same loops train and judge
it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods.baselines import contour, fcn8s, pixelwise, tetris, tracking
from jssm.methods.model import Method


class Baseline(NamedTuple):
    """How a method comes about.

    method(config, constants) gives its three functions. constants(data) gives the arrays that the
    training set determines and that predictions need, by name; they are saved with the weights.
    """

    method: Callable[[Config, dict[str, Any]], Method]
    constants: Callable[[Dataset], dict[str, Any]] = lambda data: {}


BASELINES = {
    "contour": Baseline(contour.method),
    "fcn8s": Baseline(fcn8s.method),
    "tetris": Baseline(tetris.method, tetris.constants),
    "tracking": Baseline(tracking.method),
    "unet": Baseline(pixelwise.method),
}
