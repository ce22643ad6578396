import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from jssm import config
from jssm.config import Config

FILES = sorted(Path("configs").glob("[!_]*.py"))


def load(path: Path) -> Config:
    spec = importlib.util.spec_from_file_location("some_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_config_is_valid_and_survives_json(path):
    found = load(path)
    found.data = found.data or "somewhere"
    config.validate(found)
    assert config.from_json(config.to_json(found)) == found


def test_settings_of_another_version_are_named(tmp_path):
    text = config.to_json(config.Config()).replace('"tau"', '"softness"')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: .* another version: .*softness"):
        config.load(tmp_path)


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_the_views_hold_the_papers_settings(view):
    found = load(Path(f"configs/{view}.py"))
    assert (found.model.depth, found.model.width, found.model.num_modes) == (34, 64, 30)
    assert (found.model.size, found.model.refinements, found.model.bfloat16) == (224, 0, False)
    assert (found.train.batch_size, found.train.learning_rate) == (256, 0.001)
    assert (found.train.mask_weight, found.train.weight_decay, found.train.ema) == (0.5, 0, 0)
    assert replace(found, data="data/4ch") == load(Path("configs/4ch.py"))
    assert found.augment.flip_left_right
    assert found.augment.flip_up_down


def test_validate_names_all_wrong_fields_at_once():
    wrong = Config(data="x")
    wrong.model.depth, wrong.train.batch_size, wrong.train.ema = 20, 0, 1.5
    with pytest.raises(ValueError, match=r"(?s)model\.depth.*train\.batch_size.*train\.ema"):
        config.validate(wrong)


def test_override_errors_names_all_wrong_flags():
    errors = config.override_errors(
        [
            "--config.trian.epochs=3",
            "--config.train.epochs=many",
            "--config.train.epochs=3",
            "--config.train.learning_rate=1",
            "--config.train.cosine",
            "--config.train.cosine=true",
            "--config.model.bfloat16=7",
            "--config.data=somewhere",
            "--workdir=x",
        ]
    )
    assert len(errors) == 3
    assert re.match(r"--config\.trian\.epochs: no such field; there are .*train\.epochs", errors[0])
    assert errors[1] == "--config.train.epochs=many: expected a value of type int"
    assert errors[2] == "--config.model.bfloat16=7: expected a value of type bool"


def test_load_of_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no training run there"):
        config.load(tmp_path)
