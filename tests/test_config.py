import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from absl import flags as absl_flags
from ml_collections import config_flags

from jssm import config
from jssm.config import Config
from jssm.networks import resnet

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


def test_damaged_settings_are_told(tmp_path):
    text = config.to_json(Config())
    for damaged in ("", text[:40], text.replace('"depth": 34', '"depth": 35')):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"config\.json: the settings are damaged"):
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


WRONG = {
    "model": {"size": -1, "encoder": "vgg", "depth": 20, "width": 0, "num_modes": 0, "tau": 0.0,
              "locate_size": -1, "refinements": -1, "view_size": 1, "searches": -1, "bfloat16": 1},
    "train": {"batch_size": 0, "epochs": 0, "points_epochs": -1, "patience": 0, "mask_weight": -1.0,
              "point_weight": float("nan"), "learning_rate": 0.0, "warmup_epochs": -1, "cosine": 2,
              "weight_decay": -1.0, "clip_norm": -0.1, "ema": 1.0, "validate_every": 0},
    "baseline": {"loss": "focal", "pretrain_epochs": -1, "region_weight": -1.0,
                 "inside_weight": -1.0, "grid_px": 12, "smoothness": -1.0, "clip_frames": 1},
    "augment": {"flip_left_right": "yes", "flip_up_down": 1, "rotation_degrees": 181.0,
                "translation": -0.1, "log_scale": -0.1, "log_aspect": -0.1,
                "contrast": float("inf"), "shading": -1, "blur_px": -1.0, "noise": "much",
                "curves": 1.1, "convolutions": -0.1, "surroundings": 2.0},
}  # fmt: skip


def test_every_value_is_checked():
    """One wrong value in every field; all of them are named at once."""
    settings = Config(data="", method="vnet", seed=-1)
    for part, values in WRONG.items():
        assert values.keys() == vars(getattr(settings, part)).keys()
        setattr(settings, part, replace(getattr(settings, part), **values))
    with pytest.raises(ValueError, match="the configuration is wrong in") as caught:
        config.validate(settings)
    named = {line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]}
    wanted = {f"{part}.{name}" for part, values in WRONG.items() for name in values}
    assert named == wanted | {"data", "method", "seed"}


@pytest.mark.parametrize(
    ("part", "name", "value", "wanted"),
    [
        ("baseline", "grid_px", "x", "baseline.grid_px: 'x', expected a valid integer"),
        ("baseline", "grid_px", 4.0, "baseline.grid_px: 4.0, expected a valid integer"),
        ("model", "depth", [34], "model.depth: [34], expected a valid integer"),
        (None, "model", None, "model: None, expected an instance of ModelConfig"),
        (None, "train", {"epochs": 3}, "train: {'epochs': 3}, expected an instance of TrainConfig"),
    ],
)
def test_a_value_of_another_type_gets_one_sentence(part, name, value, wanted):
    settings = Config(data="x")
    setattr(getattr(settings, part) if part else settings, name, value)
    with pytest.raises(ValueError, match="the configuration is wrong in") as caught:
        config.validate(settings)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [wanted]


def test_rules_between_fields():
    settings = Config(data="x", method="unet", init_from="weights.pth")
    settings.train.mask_weight = settings.train.point_weight = 0.0
    with pytest.raises(ValueError, match=r"(?s)mask_weight, .*not both 0.*init_from: the method u"):
        config.validate(settings)


def test_no_weights_of_a_resnet_for_another_encoder():
    settings = Config(data="x", method="evidence", init_from="weights.pth")
    config.validate(settings)
    settings.model.encoder = "unet"
    with pytest.raises(ValueError, match=r"weights of a ResNet, unless model\.encoder is resnet"):
        config.validate(settings)


def test_the_depths_are_those_of_the_network():
    assert tuple(resnet.STAGES) == config.DEPTHS


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
            "--config.augment.noise=-1",
            "--config.model.depth=35",
            "--noconfig.train.cosine",
            "--noconfig.train.cosin",
            "--config.nodata",
            "--workdir=x",
        ]
    )
    assert len(errors) == 7
    assert re.match(r"--config\.trian\.epochs: no such field; there are .*train\.epochs", errors[0])
    assert errors[1].startswith("--config.train.epochs=many: expected a valid integer")
    assert errors[2].startswith("--config.model.bfloat16=7: expected a valid boolean")
    assert errors[3] == "--config.augment.noise=-1: expected greater than or equal to 0"
    assert errors[4] == "--config.model.depth=35: expected one of 18, 34, 50"
    assert errors[5].startswith("--noconfig.train.cosin: no such field; there are")
    assert errors[6].startswith("--config.nodata: no such field; there are")


def test_load_of_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no training run there"):
        config.load(tmp_path)


def test_every_field_can_be_given_as_a_flag(monkeypatch):
    """ml_collections reads the fields' types by itself, and knows plain ones alone."""
    wanted = Config(data="there", method="unet")
    values = {
        f"{part}.{name}" if part else name: value
        for part, owner in [("", wanted), *((p, getattr(wanted, p)) for p in WRONG)]
        for name, value in vars(owner).items()
        if name not in WRONG
    }
    given = [f"--config.{name}={value}" for name, value in values.items()]
    monkeypatch.setattr("sys.argv", ["train.py", "--config=configs/phantom.py", *given])
    flags = absl_flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=flags)
    flags(sys.argv)
    assert flags.config == wanted
