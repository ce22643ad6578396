"""What a DICOM cine is called: its view, and pseudonyms of its patient and study."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jssm.files import view
from jssm.files.cine import VIEWS, Cine, Found
from jssm.files.dicom import Frame

# Second Annual Data Science Bowl: 123/study/4ch_7/IM-4562-0001.dcm, also ...-0001-0007.dcm, where
# the last number counts the repetitions of a scan.
BOWL = re.compile(
    r"(?:^|/)(?P<patient>\d+)/(?:\d+/)*study/(?:[^/]+/)*"
    r"(?P<view>2ch|4ch|sax)_(?P<folder>\d+)/IM-\d+-(?P<frame>\d+)(?:-(?P<repeat>\d+))?\.dcm$"
)
# The names that cines get here, without --keep-names. The last part begins with four digits of the
# study; in older names it does not.
NAME = re.compile(
    rf"(?P<patient>p[0-9a-f]{{10}}|dsb\d{{4,}})_({'|'.join(VIEWS)})_"
    r"(?P<study>[0-9a-f]{4})?[0-9a-f]{8}$"
)
# An id or name of nothing but these words, zeros and x is nobody's own.
NOBODY = re.compile(
    r"([\W_0x]|anon(ymous|ymi[sz]ed|ymi[sz]e|ym)?|de-?identified|unknown|unidentified|removed"
    r"|patient|subject|name|no|id|test)*"
)


@dataclass(frozen=True)
class Group:
    """The frames of one cine, in order, and what its folders say in the bowl's layout.

    turn: which of several cines at the same times it is, from 0.
    """

    frames: tuple[Frame, ...]
    bowl: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    turn: int = 0

    @property
    def normal(self) -> np.ndarray | None:
        """The normal (3,) of its plane, or None."""
        direction = self.frames[0].orientation
        return None if direction is None else np.cross(direction[:3], direction[3:])


def found(
    group: Group,
    seen: str,
    source: str,
    load: Callable[[str], Cine],
    *,
    salt: str,
    keep_names: bool,
) -> Found:
    """The cine of a group with its names; ``seen`` is its view by the geometry."""
    first = group.frames[0]
    described = described_view(group)
    named = described or seen or "other"
    if group.bowl:
        patient = f"dsb{int(group.bowl['patient']):04d}"
    elif keep_names and any(first.series.patient[:2]):
        patient = re.sub(r"[^\w-]+", "_", first.series.patient[0] or first.series.patient[1])
    else:
        patient = "p" + _digest(salt, *person(group))[:10]
    numbers = (*(first.position or ()), *(first.orientation or ()), first.series.location_mm)
    place = ",".join(f"{number:.2f}" for number in numbers)
    own = [first.series.instance_uid] if first.series.is_loop else []
    series = _digest(
        salt, first.series.study, first.series.uid or str(first.path.parent), first.series.kind,
        place, *([group.bowl["folder"], group.bowl["repeat"] or ""] if group.bowl else []),
        *own, *([str(group.turn)] if group.turn else []),
    )  # fmt: skip
    examination = _digest(salt, *study(group))
    notes = list(group.notes)
    if described and seen and described != seen:
        notes.append(f"the description says {described}, the plane looks like {seen}")
    if first.orientation is None or first.position is None:
        notes.append("its place in the patient is unknown")
    name = f"{patient}_{named}_{examination[:4]}{series[:8]}"
    return Found(
        name, patient, tuple(dict.fromkeys(f.path for f in group.frames)), source,
        partial(load, name), named, described, seen, tuple(notes), group.bowl is not None,
        examination, first.series.modality,
    )  # fmt: skip


def seen_views(groups: Sequence[Group]) -> list[str]:
    """The views by the planes of one study, which together tell the patient's long axis."""
    normals = [group.normal for group in groups]
    alone = [view.from_normal(n) if n is not None else "" for n in normals]
    guesses = [described_view(group) or seen for group, seen in zip(groups, alone, strict=True)]
    known = [(n, guess) for n, guess in zip(normals, guesses, strict=True) if n is not None]
    axis = view.long_axis([n for n, _ in known], [guess for _, guess in known])
    return [view.from_normal(n, axis) if n is not None else "" for n in normals]


def described_view(group: Group) -> str:
    """The view by the words of the headers, of a file that is a cine of its own, and the folder."""
    first = group.frames[0]
    texts = [group.bowl["view"]] if group.bowl else []
    texts += first.series.descriptions
    texts += [first.path.stem] if len({frame.path for frame in group.frames}) == 1 else []
    return view.from_description([*texts, first.path.parent.name])


def study(group: Group) -> tuple[str, ...]:
    """What tells one examination from another."""
    return person(group) + (() if group.bowl else (group.frames[0].series.study,))


def person(group: Group) -> tuple[str, ...]:
    """What tells one patient from another: the id, else the name and birth, else the study.

    An id or name that says that it is nobody's, such as ANONYMOUS, does not count.
    """
    if group.bowl:
        return ("bowl", group.bowl["patient"])
    facts = group.frames[0].series
    number, name, birth = facts.patient
    if not NOBODY.fullmatch(number.lower()):
        return ("id", number)
    if not NOBODY.fullmatch(name.lower()):
        return ("name", name, birth)
    return ("study", facts.study or facts.uid)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
