"""A trained model as one small file: its settings, weights and constants, without pickles.

The network's own variables are kept in half precision, which moves no point by 0.05 px; the shape
model stays in single precision. The file is a compressed .npz of one array for each leaf, named by
its path, with the settings as JSON text beside them.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from jssm import config as config_lib
from jssm.config import Config
from jssm.files.archive import read_npz
from jssm.files.whole import write_whole

SETTINGS = "settings"
VARIABLES = "variables"
CALIBRATED = ("temperature", "confidence")  # found for certain weights alone


def write(path: Path, config: Config, weights: dict[str, Any]) -> None:
    """Write a model: its settings and the arrays that a checkpoint holds.

    Raises:
      ValueError: when a weight is not a finite number in half precision.
    """
    arrays: dict[str, Any] = {SETTINGS: np.array(config_lib.to_json(config))}
    for name, leaf in traverse_util.flatten_dict(weights, sep="/").items():
        array = np.asarray(leaf, np.float32)
        if name.startswith(f"{VARIABLES}/"):
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: not a finite number in half precision")
        arrays[name] = array
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def read(path: Path) -> tuple[Config, dict[str, Any]]:
    """The settings and the arrays, in single precision, of :func:`write`'s file.

    Raises:
      ValueError: when it is no such file, damaged or of another version.
    """
    try:
        arrays = read_npz(path)
        config = config_lib.from_json(str(arrays.pop(SETTINGS)))
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    except (ValueError, KeyError) as error:
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"{path}: no model file, or a damaged one or of another version ({cause})"
        ) from error
    return config, traverse_util.unflatten_dict(arrays, sep="/")


def mean_of(arrays: dict[str, Any], others: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mean of the weights of a model and of those that it went on from, by their names.

    Between them lie models that have learned the new and forgotten less of the old (Wortsman et
    al., "Robust fine-tuning of zero-shot models", CVPR 2022). What was calibrated is left out.

    Raises:
      ValueError: when one of the others is not of the same network and shape model.
    """
    one = _uncalibrated(arrays)
    weights = [name for name in one if name.startswith(f"{VARIABLES}/")]
    known = {name: _uncalibrated(tree) for name, tree in others.items()}
    for source, other in known.items():
        alike = {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
        if not alike or not all(np.allclose(one[k], other[k]) for k in set(one) - set(weights)):
            raise ValueError(f"{source}: another network or shape model, so no mean of them exists")
    every = [one, *known.values()]
    means = {name: np.mean([flat[name] for flat in every], axis=0) for name in weights}
    return traverse_util.unflatten_dict(one | means, sep="/")


def _uncalibrated(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays by their paths, in single precision, without what was calibrated."""
    return {
        name: np.asarray(leaf, np.float32)
        for name, leaf in traverse_util.flatten_dict(arrays, sep="/").items()
        if name.partition("/")[0] not in CALIBRATED
    }
