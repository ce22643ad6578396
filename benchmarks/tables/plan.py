"""Which systems each table compares: the labels of its rows, and what their settings are.

All runs of one size share a file of configs/ (data, augmentation, optimizer and stopping rule are
equal); a row names what it sets otherwise. Rows with the same settings are one run.
"""

import runpy
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from jssm.config import OURS as OUR_METHOD
from jssm.config import Config

ROOT = Path(__file__).parents[2]  # the checkout
OURS = "Ours"  # dense evidence
REGRESSION = "Regression"  # the paper's network, which the tables 2 to 5 vary
BASELINES = {
    "FCN": "fcn8s",
    "U-Net": "unet",
    "Contour": "contour",
    "TeTrIS": "tetris",
    "Tracking": "tracking",
}
KEEPS_SHAPE = (REGRESSION, OURS)  # one piece, always
KEEPS_POINTS = ("Tracking", REGRESSION, OURS)  # claims to know the same tissue in every frame
EPOCH_FIELDS = (
    "train.epochs",
    "train.points_epochs",
    "train.warmup_epochs",
    "train.validate_every",
    "baseline.pretrain_epochs",
)
SHARES = (0.05, 0.25, 1.0)  # of the training patients


class Variant(NamedTuple):
    """One row: its label, the dotted fields of the configuration that it sets, the part of the
    method that is exchanged (of ``altered.PARTS``), and its share of the training patients."""

    label: str
    settings: dict[str, Any]
    altered: str = ""
    share: float = 1.0


class Size(NamedTuple):
    """How large all networks are: a file of configs/, what the baselines and ours set beside, the
    number of training cases that the file's epochs are meant for, and how many times longer the
    trainings are."""

    name: str
    config: Path
    baselines: dict[str, Any]
    ours: dict[str, Any]
    cases: int
    longer: float = 1.0


class Table(NamedTuple):
    """One table: its number, its title and its rows. The paper has 1 to 5."""

    number: int
    title: str
    variants: list[Variant]


EVIDENCE = {
    "method": "evidence",
    "model.encoder": "unet",
    "model.locate_size": 0,
    "model.searches": 3,
}
# At 96×96 a U-Net of width 8 costs as much a step as our small networks of width 16.
SMALL = Size("small", ROOT / "configs/small.py", {"model.width": 8}, EVIDENCE, cases=576)
FULL = Size("full", ROOT / "configs/full.py", {}, EVIDENCE | {"model.width": 32}, cases=6112)


def base_config(size: Size) -> Config:
    """What the size's file of configs/ says."""
    return runpy.run_path(str(size.config))["get_config"]()


def value(config: Config, field: str) -> Any:
    """The value of a dotted field."""
    return reduce(getattr, field.split("."), config)


def changes(settings: dict[str, Any], size: Size) -> dict[str, Any]:
    """Those of the settings that the size's file does not have already."""
    config = base_config(size)
    return {k: v for k, v in settings.items() if value(config, k) != v}


def equal_steps(size: Size, cases: int) -> dict[str, Any]:
    """What a run on ``cases`` training cases sets to take about as many steps as the file means,
    ``size.longer`` times.

    All that is counted in epochs is stretched alike, and rounded.
    """
    config = base_config(size)
    steps = [max(n // config.train.batch_size, 1) for n in (size.cases, cases)]
    stretch = size.longer * steps[0] / steps[1]
    values = {field: value(config, field) for field in EPOCH_FIELDS}
    return {k: max(round(v * stretch), min(v, 1)) for k, v in values.items()}


def name(settings: dict[str, Any], altered: str = "") -> str:
    """A folder's name for the run with these settings beside those of the file.

    Numbers of epochs have no part in it, as they follow from the data set.
    """
    method = settings.get("method", OUR_METHOD)
    others = [
        f"{k.rpartition('.')[2]}{v}"
        for k, v in settings.items()
        if k != "method" and k not in EPOCH_FIELDS
    ]
    return "-".join([method, *others, *filter(None, [altered])])


def table(number: int, size: Size) -> Table:
    """The rows of table 1 to 7.

    Without searches in the file there is no row that leaves them out.
    """
    searches = base_config(size).model.searches > 0
    methods = [Variant(k, {"method": v} | size.baselines) for k, v in BASELINES.items()]
    methods += [Variant(REGRESSION, {}), Variant(OURS, size.ours)]
    tables = {
        1: ("Methods", methods),
        2: (
            "Backbones",
            [Variant(f"ResNet{depth}", {"model.depth": depth}) for depth in (18, 34, 50)],
        ),
        3: (
            "Loss terms",
            [
                Variant("Points only", {"train.mask_weight": 0.0}),
                Variant("Mask only", {"train.point_weight": 0.0, "train.points_epochs": 0}),
                Variant("Points and mask", {}),
            ]
            + [Variant("No search along the wall", {"model.searches": 0})] * searches,
        ),
        4: (
            "Number of modes β_d",
            [Variant(f"β_d = {modes}", {"model.num_modes": modes}) for modes in (10, 20, 25, 30)],
        ),
        5: (
            "Weight δ of the mask loss",
            [Variant(f"δ = {delta}", {"train.mask_weight": delta})
             for delta in (0.0, 0.1, 0.2, 0.5, 1.0)],
        ),
        6: ("Beyond the paper", methods),
        7: ("What ours is made of", _parts(size)),
    }  # fmt: skip
    title, variants = tables[number]
    return Table(number, title, variants)


def _parts(size: Size) -> list[Variant]:
    """Ours with one thing changed, and seeds beside, which say what is chance."""
    ours = size.ours
    searches = value(base_config(size), "model.searches") or ours["model.searches"]
    return [
        Variant(OURS, ours),
        *[Variant(f"{OURS}, seed {seed}", ours | {"seed": seed}) for seed in (1, 2)],
        Variant("A ResNet as the encoder", ours | {"model.encoder": "resnet"}),
        Variant("Place regressed, grey values (Regression)", {}),
        Variant("Regression, in a cascade of two", {"model.refinements": 1, "model.view_size": 64}),
        Variant("Grey values, not features", ours, altered="grey"),
        Variant("Every move counts the same", ours, altered="equal_variances"),
        *[Variant(f"Searches: {n}", ours | {"model.searches": n}) for n in range(searches)],
        *[Variant(f"{100 * share:.0f} % of the patients", ours, share=share)
          for share in SHARES if share < 1],
    ]  # fmt: skip
