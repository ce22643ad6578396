"""The 2ch and 4ch cines of one study, which together give biplane volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jssm.cines.measures import Discs, Motion, RingMotion
from jssm.cines.result import Result


class OneView(NamedTuple):
    """What biplane volumes, and a report of them, need of a cine."""

    name: str
    motion: Motion
    sources: Sequence[tuple[Path, int]]
    about: Mapping[str, Any]


def one_view(result: Result, about: Mapping[str, Any]) -> OneView | None:
    """What biplane volumes need of a cine; None where nothing could be measured."""
    motion = result.motion
    if motion is None or isinstance(motion, RingMotion) or not result.segmented.is_measurable:
        return None
    others: dict[str, Any] = dict.fromkeys(vars(motion).keys() - set(Discs._fields))
    return OneView(result.cine.name, replace(motion, **others), result.cine.sources, about)


def pairs_of(
    views: Mapping[tuple[str, str, str], list[OneView]],
) -> list[tuple[str, OneView, OneView]]:
    """The patient, a 2ch and a 4ch cine, for every such pair of one study."""
    return [
        (patient, two, four)
        for (patient, study, view), seen in sorted(views.items(), key=lambda pair: pair[0])
        if view == "2ch"
        for two in seen
        for four in views.get((patient, study, "4ch"), ())
    ]


def biplane_row(patient: str, two: OneView, four: OneView) -> dict[str, Any]:
    from jssm.cines.volumes import biplane_simpson

    volumes = vars(biplane_simpson(two.motion, four.motion))
    numbers = {key: float(f"{float(value):.6g}") for key, value in volumes.items()}
    return {"patient": patient, "cine_2ch": two.name, "cine_4ch": four.name} | numbers


def report_name(row: Mapping[str, Any]) -> str:
    """The file of the report of a row of biplane.csv."""
    return f"biplane_{row['cine_2ch']}_{row['cine_4ch']}.sr.dcm"


def unpaired(views: Mapping[tuple[str, str, str], list[OneView]]) -> list[str]:
    """A sentence for each patient whose 2ch and 4ch cines are of different examinations."""
    seen_of: dict[str, set[str]] = {}
    for patient, _, view in views:
        seen_of.setdefault(patient, set()).add(view)
    paired = {p for p, study, view in views if view == "2ch" and (p, study, "4ch") in views}
    return [
        f"{patient}: no biplane volumes, as its 2ch and 4ch cines are of different examinations"
        for patient, seen in sorted(seen_of.items())
        if len(seen) == 2 and patient not in paired
    ]
