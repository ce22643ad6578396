"""The settings of a training run, as typed dataclasses.

A file in configs/ returns one :class:`Config`; it travels with the checkpoint as JSON.
"""

import ast
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jssm.networks.resnet import STAGES
from jssm.training.augment import Augmentation

OURS = "jssm"
METHODS = (OURS, "contour", "fcn8s", "tetris", "tracking", "unet")
LOSSES = ("cross_entropy", "dice")


@dataclass
class ModelConfig:
    """The network. Defaults are the paper's."""

    size: int = 0  # side of the input images, in pixels; 0 takes the data set's
    depth: int = 34  # ResNet18, 34 or 50
    width: int = 64  # channels of the first stage
    num_modes: int = 30  # K, β_d in the paper
    tau: float = 0.5  # softness of the rendered mask, in pixels
    locate_size: int = 0  # side to which the first network's view is shrunk; 0 for the full size
    refinements: int = 0  # further networks that look at the image in the canonical frame
    view_size: int = 128  # side of what they look at, in pixels
    searches: int = 0  # further ones that look across the wall, from close by
    bfloat16: bool = False  # compute the backbone in bfloat16; geometry stays float32


@dataclass
class TrainConfig:
    """The optimization. Defaults are the paper's."""

    batch_size: int = 256
    epochs: int = 200
    points_epochs: int = 100  # at most this many with the point loss alone (Appendix C) ...
    patience: int = 15  # ... ended when it has not improved for this many validations
    mask_weight: float = 0.5  # δ in Eq. 10
    point_weight: float = 1.0  # 0 trains on the mask alone (ablation)
    learning_rate: float = 0.001
    warmup_epochs: int = 0
    cosine: bool = False  # decay the learning rate to 0 along a cosine
    weight_decay: float = 0.0
    clip_norm: float = 0.0  # limit of the gradient's norm; 0 for none
    ema: float = 0.0  # decay of the moving average of the weights; 0 for none
    validate_every: int = 1  # epochs


@dataclass
class BaselineConfig:
    """What the baselines have for settings beside ``model``'s size, width, depth and bfloat16."""

    loss: str = "cross_entropy"  # of unet: cross_entropy or dice
    pretrain_epochs: int = 10  # of contour, with cross-entropy
    region_weight: float = 1.0  # λ of contour
    inside_weight: float = 1.0  # μ of contour
    grid_px: int = 16  # of tetris, between control points; a power of 2
    smoothness: float = 0.1  # of tetris, the weight of the field's roughness
    clip_frames: int = 4  # of tracking: the frames of one cine that it learns from together


@dataclass
class Config:
    """Everything that a run depends on."""

    data: str = ""  # a data set directory made by `python -m prep build`
    method: str = OURS  # or a baseline, see METHODS
    seed: int = 0
    init_from: str = ""  # torchvision's ResNet weights for the backbones, .safetensors or .pth
    model: ModelConfig = field(default_factory=ModelConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: Augmentation = field(default_factory=Augmentation)


def validate(config: Config) -> None:
    """Check every value.

    Raises:
      ValueError: naming all the fields that are wrong, not only the first.
    """
    model, train, baseline = config.model, config.train, config.baseline
    rules = [
        (bool(config.data), "data: name a data set directory, e.g. --config.data=data/4ch"),
        (
            config.method in METHODS,
            f"method: {config.method!r}, expected one of {', '.join(METHODS)}",
        ),
        (
            config.method == OURS or not config.init_from,
            f"init_from: the method {config.method} does not start from given weights",
        ),
        (
            baseline.loss in LOSSES,
            f"baseline.loss: {baseline.loss!r}, expected one of {', '.join(LOSSES)}",
        ),
        (
            min(baseline.pretrain_epochs, baseline.region_weight, baseline.inside_weight) >= 0,
            "baseline.pretrain_epochs, region_weight, inside_weight: expected none below 0",
        ),
        (baseline.smoothness >= 0, f"baseline.smoothness: {baseline.smoothness}, expected >= 0"),
        (
            baseline.grid_px > 1 and baseline.grid_px & (baseline.grid_px - 1) == 0,
            f"baseline.grid_px: {baseline.grid_px}, expected a power of 2 above 1",
        ),
        (baseline.clip_frames > 1, f"baseline.clip_frames: {baseline.clip_frames}, expected > 1"),
        (model.depth in STAGES, f"model.depth: {model.depth}, expected one of {sorted(STAGES)}"),
        (model.width > 0, f"model.width: {model.width}, expected at least 1"),
        (model.num_modes > 0, f"model.num_modes: {model.num_modes}, expected at least 1"),
        (model.tau > 0, f"model.tau: {model.tau}, expected more than 0 pixels"),
        (model.refinements >= 0, f"model.refinements: {model.refinements}, expected at least 0"),
        (model.searches >= 0, f"model.searches: {model.searches}, expected at least 0"),
        (train.batch_size > 0, f"train.batch_size: {train.batch_size}, expected at least 1"),
        (train.epochs > 0, f"train.epochs: {train.epochs}, expected at least 1"),
        (train.learning_rate > 0, f"train.learning_rate: {train.learning_rate}, expected > 0"),
        (0 <= train.ema < 1, f"train.ema: {train.ema}, expected 0 <= ema < 1"),
        (train.patience > 0, f"train.patience: {train.patience}, expected at least 1"),
        (train.validate_every > 0, f"train.validate_every: {train.validate_every}, expected >= 1"),
        (
            min(train.mask_weight, train.point_weight) >= 0
            and max(train.mask_weight, train.point_weight) > 0,
            "train.mask_weight, train.point_weight: expected neither below 0 and not both 0",
        ),
    ]
    wrong = [message for holds, message in rules if not holds]
    if wrong:
        raise ValueError("the configuration is wrong in\n  " + "\n  ".join(wrong))


def override_errors(arguments: list[str]) -> list[str]:
    """One sentence for each ``--config.field=value`` that names no field or has the wrong type."""
    types = _field_types(Config())
    errors = []
    for argument in arguments:
        if not argument.startswith(("--config.", "-config.")):
            continue
        name, _, value = argument.lstrip("-").removeprefix("config.").partition("=")
        kind = types.get(name.removeprefix("no"), types.get(name))
        if kind is None:
            errors.append(f"--config.{name}: no such field; there are {', '.join(sorted(types))}")
        elif value and not _parses(value, kind):
            errors.append(f"--config.{name}={value}: expected a value of type {kind.__name__}")
    return errors


def to_json(config: Config) -> str:
    """The configuration as JSON text."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_json(text: str) -> Config:
    """The configuration of :func:`to_json`'s text.

    Raises:
      ValueError: when it has a field that there is not.
    """
    values = json.loads(text)
    parts = {
        "model": ModelConfig,
        "baseline": BaselineConfig,
        "train": TrainConfig,
        "augment": Augmentation,
    }
    try:
        return Config(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the settings are those of another version: {error}") from error


def load(run: str | Path) -> Config:
    """The configuration of a run directory.

    Raises:
      FileNotFoundError: when the directory holds no run.
      ValueError: when its settings are of another version.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run}: no training run there (config.json is missing)")
    try:
        return from_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _field_types(value: Any, prefix: str = "") -> dict[str, type]:
    """The dotted name and the type of each leaf field."""
    found: dict[str, type] = {}
    for item in dataclasses.fields(value):
        child = getattr(value, item.name)
        if dataclasses.is_dataclass(child):
            found |= _field_types(child, f"{prefix}{item.name}.")
        else:
            found[prefix + item.name] = type(child)
    return found


def _parses(value: str, kind: type) -> bool:
    if kind is str:
        return True
    try:
        literal = ast.literal_eval(value.capitalize() if kind is bool else value)
    except (ValueError, SyntaxError):
        return False
    return type(literal) is kind or (kind is float and type(literal) is int)
