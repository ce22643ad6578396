"""Training on eight devices: prints, as JSON, what its test looks at."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm import dataset
from jssm.config import Augmentation, Config, ModelConfig, TrainConfig
from jssm.methods.model import Model
from jssm.methods.regression import method, network_from
from jssm.networks import resnet
from jssm.shape import labels
from jssm.training import feed, loop, steps
from tests import shallow, toy
from tests.runs import descent


def first_batch(data: dataset.Dataset) -> dict[str, np.ndarray]:
    """Sixteen cases, and what belongs to a batch beside them."""
    (batch,) = dataset.batches(data, np.arange(16)[None])
    weights = {"point_weight": np.ones(()), "mask_weight": np.float32(0.5)}
    return batch | weights | {"place": np.arange(16)}


def gradients(directory: str) -> dict[str, float]:
    """How far one step moves the weights on one device, and how far on eight it ends from there."""
    shallow.install()
    resnet.STAGES[18] = (1,)
    config = Config(
        data=directory,
        model=ModelConfig(size=32, depth=18, width=4, num_modes=3),
        train=TrainConfig(batch_size=16),
        augment=Augmentation(rotation_degrees=10.0, noise=0.1),
    )
    data = dataset.load(directory)
    network = network_from(config)
    shape = data.shape_model.truncate(3)
    ours = method(Model({}, shape, jnp.asarray(data.mean_theta()), network, 32))
    batch = first_batch(data)
    # Labels of all kinds, unevenly dealt out: means must be over the whole batch.
    covers = np.array([2, 2, 2, 2, 1, 1, 0, 0, 2, 0, 1, 2, 1, 2, 0, 2], np.int8)
    points = np.array(batch["points"])
    points[covers == labels.CAVITY, points.shape[1] // 2 :] = np.nan
    points[covers == labels.NONE] = np.nan
    batch |= {"covers": covers, "points": points}
    step, start = descent(config, ours)
    ends = []
    for devices in (jax.devices()[:1], jax.devices()):
        state = feed.replicate(jax.tree.map(jnp.copy, start), devices)
        end, _ = steps.parallel(step, devices)(state, feed.place(batch, devices))
        ends.append(end.variables["params"])
    return {
        "moved": greatest_difference(ends[0], start.variables["params"]),
        "difference": greatest_difference(*ends),
    }


def greatest_difference(one, other) -> float:
    """Of any two numbers that belong together in two trees."""
    far = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), one, other)
    return float(max(jax.tree.leaves(far)))


def whole_loop(directory: str, run: Path) -> int:
    """The loop from the compiled step to the last validation; gives the devices of the latter."""
    shardings = []

    def scores(variables, batch):
        jax.debug.inspect_array_sharding(variables["params"]["slope"], callback=shardings.append)
        return toy.method().scores(variables, batch)

    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch, scores=scores)
        loop.train(toy.config(directory, batch_size=8, epochs=2, points_epochs=1), run)
    (sharding,) = shardings
    return sharding.num_devices


if __name__ == "__main__":
    found = gradients(sys.argv[1])
    found["devices_of_validation"] = whole_loop(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(found | {"devices": len(jax.devices())}))
