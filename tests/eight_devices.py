"""Prints the largest difference between the gradients of one step on one and on eight devices."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssm import dataset
from jssm.config import Augmentation, Config, ModelConfig, TrainConfig
from jssm.methods.model import Model
from jssm.methods.regression import method, network_from
from jssm.shape import labels
from jssm.training import feed, steps


def main(directory: str) -> None:
    """Take the step of plain descent, whose update is the gradient itself, both ways."""
    config = Config(
        data=directory,
        model=ModelConfig(size=32, depth=18, width=4, num_modes=3),
        train=TrainConfig(batch_size=16),
        augment=Augmentation(rotation_degrees=10.0, noise=0.1),
    )
    data = dataset.load(directory)
    network = network_from(config)
    shape = data.shape_model.truncate(3)
    how = method(Model({}, shape, jnp.asarray(data.mean_theta()), network, 32))
    descent = optax.sgd(1.0)

    def step(state, batch):
        return steps.train_step(
            state,
            batch,
            how=how,
            optimizer=descent,
            augmentation=config.augment,
            ema=0.0,
            seed=0,
        )

    (batch,) = dataset.batches(data, np.arange(16)[None])
    # Labels of all kinds, unevenly dealt out: means must be over the whole batch.
    covers = np.array([2, 2, 2, 2, 1, 1, 0, 0, 2, 0, 1, 2, 1, 2, 0, 2], np.int8)
    points = np.array(batch["points"])
    points[covers == labels.CAVITY, points.shape[1] // 2 :] = np.nan
    points[covers == labels.NONE] = np.nan
    batch |= {"covers": covers, "points": points}
    scalars = {"place": np.arange(16), "point_weight": np.ones(()), "mask_weight": np.float32(0.5)}
    _, compute = steps.first_state(how, descent, config)
    start = compute()
    ends = []
    for devices in (jax.devices()[:1], jax.devices()):
        state = feed.replicate(jax.tree.map(jnp.copy, start), devices)
        end, _ = steps.parallel(step, devices)(state, feed.place(batch | scalars, devices))
        ends.append(end.variables["params"])
    differences = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), *ends)
    moved = jax.tree.map(
        lambda a, b: np.abs(np.asarray(a) - b).max(), ends[0], start.variables["params"]
    )
    assert len(jax.devices()) == 8
    assert max(jax.tree.leaves(moved)) > 1e-3, "the step did nothing"
    print(max(jax.tree.leaves(differences)))


if __name__ == "__main__":
    main(sys.argv[1])
