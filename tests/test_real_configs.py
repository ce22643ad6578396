"""Each configuration's training step, traced: its state keeps its shapes and types, also where
the network computes in bfloat16.

tests/test_cli.py trains the demonstration's for real.
"""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jssm import dataset
from jssm.methods import registry
from jssm.training import plan as plans
from jssm.training import steps
from tests.test_config import load as load_config


@pytest.mark.parametrize("name", ["4ch", "4ch_mri", "mri"])
def test_the_step_of_each_config(name, small_data):
    """2ch and 3ch are 4ch with other data (see test_config); echo is mri with fewer looks."""
    config = load_config(Path(f"configs/{name}.py"))
    config.data = str(small_data)
    config.model = replace(
        config.model, size=0, depth=18, width=4, locate_size=0, view_size=32, bfloat16=True
    )
    config.train = replace(config.train, batch_size=4)
    data = dataset.load(small_data)
    config = plans.settle(config, data)
    method = registry.method_from(config, registry.constants_of(config, data))
    plan = plans.make_plan(method, data, config)
    (batch,) = dataset.batches(data, plan.order(0)[:1])
    common = {"place": np.arange(4), "point_weight": 1.0, "mask_weight": 0.5, "epoch": 0.0}

    def step(state, batch):
        return steps.train_step(
            state, batch, method=method, optimizer=plan.optimizer, augmentation=config.augment,
            ema=config.train.ema, seed=config.seed,
        )  # fmt: skip

    named = jax.vmap(step, (None, None), axis_name="batch", axis_size=1, out_axes=None)
    state, metrics = jax.eval_shape(named, plan.shapes, batch | common)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), plan.shapes
    )
    assert {"loss", "points_loss", "mask_loss"} <= metrics.keys()
    parts = {path[0].key for path, _ in jax.tree.leaves_with_path(state.variables["params"])}
    wanted = {f"refine_{k}" for k in range(config.model.refinements)}
    search = "across" if config.method == "evidence" else "search"
    wanted |= {f"{search}_{k}" for k in range(config.model.searches)}
    stages = ("refine_", "search_", "across_")
    assert {part for part in parts if part.startswith(stages)} == wanted
