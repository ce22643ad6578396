"""What a training starts from (``config.init_from``): a ResNet's weights, or a trained model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util

from jssm.config import RESNET_FILES, Config
from jssm.methods import model_file, registry
from jssm.networks import pretrained
from jssm.shape.shape_model import arrays_of, from_arrays


class Start(NamedTuple):
    """into(variables) gives the Linen variables of a network with what the start knows put into
    them; they may be the shapes of arrays alone. constants: those of a trained model, which go on
    in place of the training set's; of its shape model no more modes than the settings say. Either
    is None where nothing is known.

    ``into`` raises ValueError when the two do not suit each other.
    """

    into: Callable[[Any], Any] | None = None
    constants: dict[str, Any] | None = None


def of(config: Config) -> Start:
    """The start of a training with these settings.

    Raises:
      FileNotFoundError: when ``init_from`` names what is not there.
      ValueError: when it is damaged, or a model of another method.
    """
    source = config.init_from
    if not source:
        return Start()
    if Path(source).suffix in RESNET_FILES:
        weights = pretrained.read(source)
        return Start(
            lambda variables: pretrained.into_backbones(
                variables, weights, depth=config.model.depth, source=source
            )
        )
    settings, constants = registry.read(source)
    if settings.method != config.method:
        raise ValueError(f"init_from: {source} is a model of the method {settings.method}")
    trained = constants.pop("variables")
    for calibrated in model_file.CALIBRATED:  # which has to be found anew
        constants.pop(calibrated, None)
    if "shape" in constants:
        shape = from_arrays(constants["shape"])
        modes = min(config.model.num_modes, shape.num_modes)
        constants["shape"] = arrays_of(shape.truncate(modes))
    known = jax.tree.map(jnp.asarray, constants)  # on the device: a training that stops copies them
    return Start(lambda variables: _whole(variables, trained, settings, source), known)


def _whole(variables: Any, trained: Any, settings: Config, source: str) -> Any:
    """The trained variables, which must have the names and shapes of ``variables``."""
    wanted, known = (traverse_util.flatten_dict(tree) for tree in (variables, trained))
    shapes = [{path: leaf.shape for path, leaf in tree.items()} for tree in (wanted, known)]
    if shapes[0] != shapes[1]:
        model = settings.model
        of_network = (
            "encoder", "depth", "width", "searches", "refinements", "locate_size", "num_modes",
        )  # fmt: skip
        listed = ", ".join(f"model.{name}={getattr(model, name)}" for name in of_network)
        raise ValueError(f"init_from: {source} is another network, one of {listed}")
    return traverse_util.unflatten_dict(
        {path: jnp.asarray(leaf, jnp.float32) for path, leaf in known.items()}
    )
