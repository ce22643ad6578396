"""What decides a data set beside its files: one table, from the command line to the data set."""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from prep.errors import Refused


def _option(default: Any, text: str, *, flag: str = "", **more: Any) -> Any:
    """A field with its default, its help text and, where it is another, the name of its flag."""
    return field(default=default, metadata={"help": text, "flag": flag, "more": more})


@dataclass(frozen=True)
class Settings:
    """The same settings and files give the same bytes.

    label: the mask's value that counts; None where there are no masks. grid: the side of the
    canonical grid on which shapes are registered, in its pixels.
    """

    label: int | None = _option(1, "the myocardium's value in the masks", type=int)
    patient_regex: str | None = _option(
        None, "its first group, in the file name, is the patient (default: the whole stem)"
    )
    view: str = _option("unknown", "free text, such as 4ch")
    size: int = _option(224, "rows and columns of the data set")
    every: int = _option(1, "take every K-th frame")
    spacing_mm: tuple[float, float] | None = _option(
        None, "mm per pixel of files that do not say",
        flag="spacing", type=float, nargs=2, metavar=("ROW", "COLUMN"),
    )  # fmt: skip
    num_points: int = _option(88, "points per shape, T", flag="points")
    num_modes: int = _option(30, "modes of the shape model at most", flag="modes")
    min_dice: float = _option(0.9, "exclude cases whose points cover the mask less well")
    val_fraction: float = _option(0.2, "of the patients")
    shape: str = _option("horseshoe", "horseshoe, arch, region, ring, or module:name of your own")
    start_label: int | None = _option(
        None, "with --shape ring: the right ventricle's value in the masks; points begin where it "
        "is inserted (default: on the ring's left)", type=int,
    )  # fmt: skip
    seed: int = _option(0, "same seed, same bytes")
    true_points: bool = _option(
        False,
        "with --phantom: take its own material points; nothing is registered",
        action="store_true",
    )
    grid: int = 64


def add_options(parser: argparse.ArgumentParser, names: Sequence[str], **texts: str) -> None:
    """Add the flags of the settings of these names; ``texts`` are other help texts."""
    for item in (item for item in fields(Settings) if item.name in names):
        about, default = item.metadata, item.default
        text = texts.get(item.name, about["help"])
        is_switch = default is False
        typed = {"type": type(default)} if default is not None and not is_switch else {}
        parser.add_argument(
            f"--{about['flag'] or item.name.replace('_', '-')}",
            dest=item.name,
            default=default,
            help=text if default is None or is_switch else f"{text} (default {default})",
            **typed | about["more"],
        )


def from_arguments(args: argparse.Namespace) -> Settings:
    """The settings that the flags give; others have their defaults.

    Raises:
      Refused: naming the first flag that is wrong.
    """
    given: dict[str, Any] = {
        item.name: getattr(args, item.name, item.default) for item in fields(Settings)
    }
    spacing = given["spacing_mm"]
    settings = Settings(**given | {"spacing_mm": tuple(spacing) if spacing else None})
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Check that a data set can be made with these settings.

    Raises:
      Refused: naming the first flag that is wrong.
    """
    from prep.shapes import kinds  # here, as it loads scikit-image

    is_ring = kinds.find(settings.shape).closed
    s = settings
    rules = [
        (s.size >= 16, f"--size {s.size}: at least 16 was expected"),
        (s.every >= 1, f"--every {s.every}: at least 1 was expected"),
        (0 < s.val_fraction < 1, f"--val-fraction {s.val_fraction}: not in 0..1"),
        (0 <= s.min_dice <= 1, f"--min-dice {s.min_dice}: not in 0..1"),
        (is_ring or s.start_label is None, f"--start-label: {s.shape} is no ring"),
        (s.num_modes >= 1, f"--modes {s.num_modes}: at least 1 was expected"),
        (
            s.num_points >= 6 and s.num_points % 2 == 0,
            f"--points {s.num_points}: an even number of at least 6 was expected",
        ),
        (
            s.spacing_mm is None or all(0 < side < math.inf for side in s.spacing_mm),
            f"--spacing {s.spacing_mm}: two positive numbers were expected",
        ),
    ]
    for good, sentence in rules:
        if not good:
            raise Refused(sentence)
    try:
        if re.compile(s.patient_regex or "()").groups < 1:
            raise Refused(f"--patient-regex {s.patient_regex}: a group (...) was expected")
    except re.error as error:
        raise Refused(f"--patient-regex {s.patient_regex}: {error}") from error
