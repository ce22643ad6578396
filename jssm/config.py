"""The settings of a training run, as typed dataclasses.

A file in configs/ returns one :class:`Config`; it travels with the checkpoint as JSON. Types and
limits stand beside the fields, and pydantic checks them: every value, all that is wrong at once.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

OURS = "jssm"
METHODS = (OURS, "evidence", "contour", "fcn8s", "tetris", "tracking", "unet")
LOSSES = ("cross_entropy", "dice")
ENCODERS = ("resnet", "unet")
DEPTHS = (18, 34, 50)  # of ResNets
RESNET_FILES = (".safetensors", ".pth", ".pt")  # what init_from takes for weights of a ResNet
GRIDS = (2, 4, 8, 16, 32, 64, 128)  # of tetris, in pixels: its grid is made finer by halves


def _limited(default: Any, **limits: float) -> Any:
    """A field with a default and limits, in pydantic's words: gt, ge, lt, le."""
    return field(default=default, metadata=limits)


def _above_0(default: float) -> Any:
    return _limited(default, gt=0)


def _from_0(default: float) -> Any:
    return _limited(default, ge=0)


def _share(default: float) -> Any:
    return _limited(default, ge=0, le=1)


class _Checked:
    """How pydantic reads the dataclasses below."""

    __pydantic_config__ = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, revalidate_instances="always"
    )


@dataclass
class ModelConfig(_Checked):
    """The network. Defaults are the paper's."""

    size: int = _from_0(0)  # side of the input images, in pixels; 0 takes the data set's
    encoder: str = "resnet"  # of the method evidence, one of ENCODERS
    depth: int = 34  # of the ResNet, one of DEPTHS
    width: int = _above_0(64)  # channels of the first stage
    num_modes: int = _above_0(30)  # K, β_d in the paper
    tau: float = _above_0(0.5)  # softness of the rendered mask, in pixels
    locate_size: int = _from_0(0)  # side of the first network's view; 0 for the full size
    refinements: int = _from_0(0)  # further networks that look at the image in the canonical frame
    view_size: int = _limited(128, gt=1)  # side of what they look at, in pixels
    searches: int = _from_0(0)  # further ones that look across the wall, from close by
    bfloat16: bool = False  # compute the backbone in bfloat16; geometry stays float32


@dataclass
class TrainConfig(_Checked):
    """The optimization. Defaults are the paper's."""

    batch_size: int = _above_0(256)
    epochs: int = _above_0(200)
    # At most points_epochs with the point loss alone (Appendix C), ended when it has not improved
    # for as many validations as patience says.
    points_epochs: int = _from_0(100)
    patience: int = _above_0(15)
    mask_weight: float = _from_0(0.5)  # δ in Eq. 10
    point_weight: float = _from_0(1.0)  # 0 trains on the mask alone (ablation)
    learning_rate: float = _above_0(0.001)
    warmup_epochs: int = _from_0(0)
    cosine: bool = False  # decay the learning rate to 0 along a cosine
    weight_decay: float = _from_0(0.0)
    clip_norm: float = _from_0(0.0)  # limit of the gradient's norm; 0 for none
    ema: float = _limited(0.0, ge=0, lt=1)  # decay of the moving average of the weights; 0 for none
    validate_every: int = _above_0(1)  # epochs


@dataclass
class BaselineConfig(_Checked):
    """What the baselines have for settings beside ``model``'s size, width, depth and bfloat16."""

    loss: str = "cross_entropy"  # of unet, one of LOSSES
    pretrain_epochs: int = _from_0(10)  # of contour, with cross-entropy
    region_weight: float = _from_0(1.0)  # λ of contour
    inside_weight: float = _from_0(1.0)  # μ of contour
    grid_px: int = 16  # of tetris, between control points, one of GRIDS
    smoothness: float = _from_0(0.1)  # of tetris, the weight of the field's roughness
    clip_frames: int = _limited(4, gt=1)  # of tracking: frames of one cine, learned from together


@dataclass
class Augmentation(_Checked):
    """How far the random maps of :func:`jssm.augment` reach. The default is none at all."""

    flip_left_right: bool = False
    flip_up_down: bool = False
    rotation_degrees: float = _limited(0.0, ge=0, le=180)  # uniform in ± this
    translation: float = _from_0(0.0)  # uniform in ± this share of the width and the height
    log_scale: float = _from_0(0.0)  # the logarithm of the scale is uniform in ± this
    log_aspect: float = _from_0(0.0)  # the same of width over height, before the rotation
    contrast: float = _from_0(0.0)  # logarithm of a gamma, uniform in ± this
    shading: float = _from_0(0.0)  # standard deviation of the logarithm of a slowly varying gain
    blur_px: float = _from_0(0.0)  # standard deviation of a Gaussian, uniform up to this
    noise: float = _from_0(0.0)  # standard deviation of added noise, in those of the image
    # The shares of images that go through random curves of grey values, through small random
    # convolutions, and into random surroundings.
    curves: float = _share(0.0)
    convolutions: float = _share(0.0)
    surroundings: float = _share(0.0)


@dataclass
class Config(_Checked):
    """Everything that a run depends on."""

    # A data set directory made by `python -m prep build`.
    data: str = ""
    method: str = OURS  # one of METHODS
    seed: int = _from_0(0)
    # A trained model that goes on learning, as jssm.load takes it, or torchvision's ResNet weights
    # for the backbones, .safetensors or .pth.
    init_from: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: Augmentation = field(default_factory=Augmentation)


_SETTINGS = TypeAdapter(Config)
_CHOICES = {
    "method": METHODS,
    "model.encoder": ENCODERS,
    "model.depth": DEPTHS,
    "baseline.loss": LOSSES,
    "baseline.grid_px": GRIDS,
}


def validate(config: Config) -> None:
    """Check every value.

    Raises:
      ValueError: naming all the fields that are wrong, not only the first.
    """
    wrong: list[str] = []
    try:
        _SETTINGS.validate_python(config)
    except ValidationError as error:
        wrong = [_sentence(found) for found in error.errors()]
    wrong += _wrong_choices(config)
    wrong += [sentence for holds, sentence in _rules(config) if not holds]
    if wrong:
        raise ValueError("the configuration is wrong in\n  " + "\n  ".join(wrong))


def _wrong_choices(config: Config) -> list[str]:
    """A sentence for each field that has a value of the right type which is none of its choices."""
    wrong = []
    for name, choices in _CHOICES.items():
        part, _, last = name.rpartition(".")
        value = getattr(getattr(config, part) if part else config, last, None)
        if isinstance(value, type(choices[0])) and value not in choices:
            wrong.append(f"{name}: {value!r}, {_one_of(choices)}")
    return wrong


def _one_of(choices: tuple) -> str:
    return f"expected one of {', '.join(map(str, choices))}"


def _rules(config: Config) -> list[tuple[bool, str]]:
    """What no field alone can say: whether it holds, and a sentence if not."""
    train, method = config.train, config.method
    encoder = getattr(config.model, "encoder", None)
    has_resnet = method == OURS or (method == "evidence" and encoder != "unet")
    return [
        (bool(config.data), "data: name a data set directory, e.g. --config.data=data/4ch"),
        (
            not isinstance(train, TrainConfig) or train.mask_weight != 0 or train.point_weight != 0,
            "train.mask_weight, train.point_weight: expected not both 0",
        ),
        (
            has_resnet or not config.init_from.endswith(RESNET_FILES),
            f"init_from: the method {method} does not start from given weights of a ResNet"
            + (", unless model.encoder is resnet" if method == "evidence" else ""),
        ),
    ]


def override_errors(arguments: list[str]) -> list[str]:
    """One sentence for each ``--config.field=value`` that names no field or has a wrong value."""
    names = sorted(_leaves(Config()))
    errors = []
    for argument in arguments:
        flag, _, value = argument.partition("=")
        start, dot, name = flag.lstrip("-").partition(".")
        if not (flag.startswith("-") and dot and start in ("config", "noconfig")):
            continue
        if name not in names:
            errors.append(f"{flag}: no such field; there are {', '.join(names)}")
        elif value:
            try:
                given = _SETTINGS.validate_strings(_nested(name.split("."), value))
            except ValidationError as error:
                errors += [f"{argument}: {_expected(e)}" for e in error.errors()]
                continue
            if _wrong_choices(given):
                errors.append(f"{argument}: {_one_of(_CHOICES[name])}")
    return errors


def to_json(config: Config) -> str:
    """The configuration as JSON text."""
    return _SETTINGS.dump_json(config, indent=2).decode()


def from_json(text: str) -> Config:
    """The configuration of :func:`to_json`'s text.

    Raises:
      ValueError: when it is damaged, or has a field that there is not.
    """
    try:
        found = _SETTINGS.validate_json(text)
        wrong = _wrong_choices(found)
    except ValidationError as error:
        wrong = [_sentence(found) for found in error.errors()]
    if wrong:
        raise ValueError(f"the settings are damaged or of another version: {'; '.join(wrong)}")
    return found


def load(run: str | Path) -> Config:
    """The configuration of a run directory.

    Raises:
      FileNotFoundError: when the directory holds no run.
      ValueError: when its settings are damaged or of another version.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run}: no training run there (config.json is missing)")
    try:
        return from_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _leaves(value: Any, prefix: str = "") -> list[str]:
    """The dotted name of each leaf field."""
    if not dataclasses.is_dataclass(value):
        return [prefix.removesuffix(".")]
    return [
        name
        for item in dataclasses.fields(value)
        for name in _leaves(getattr(value, item.name), f"{prefix}{item.name}.")
    ]


def _nested(names: list[str], value: str) -> dict[str, Any]:
    return {names[0]: _nested(names[1:], value) if names[1:] else value}


def _sentence(error: Any) -> str:
    """What pydantic found wrong, with the dotted field and the value that it has."""
    field_name = ".".join(map(str, error["loc"])) or "the whole"
    return f"{field_name}: {error['input']!r:.80}, {_expected(error)}"


def _expected(error: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":
        return "no such field"
    return error["msg"].replace("Input should be", "expected")
