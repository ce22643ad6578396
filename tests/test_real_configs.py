"""Each configuration through the real loop, for one step of a narrow network.

A file of its own, so that it runs beside the other tests of training.
"""

from dataclasses import replace
from pathlib import Path

import pytest

import jssm
from jssm.training import loop
from tests.runs import records
from tests.test_config import load as load_config


@pytest.mark.parametrize("name", ["4ch", "4ch_mri", "echo", "phantom"])
def test_one_real_step_of_each_config(name, small_data, tmp_path):
    """2ch and 3ch are 4ch with other data (see test_config)."""
    config = load_config(Path(f"configs/{name}.py"))
    config.data = str(small_data)
    config.model = replace(config.model, size=0, width=4, locate_size=0, view_size=32)
    config.train = replace(config.train, batch_size=16, epochs=1, warmup_epochs=0)
    loop.train(config, tmp_path / "run")
    model = jssm.load(tmp_path / "run")
    (record,) = records(tmp_path / "run")
    assert record["step"] == 1
    assert 0 < record["train_points_loss"] < 2
    assert model.network.depth == config.model.depth
    assert model.network.refinements == config.model.refinements
