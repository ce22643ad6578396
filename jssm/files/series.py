"""From the frames of many DICOM files to cines: grouped, ordered, named."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from jssm.files import dicom, view
from jssm.files.cine import VIEWS, Cine, Found, Problem
from jssm.files.dicom import Frame
from jssm.files.errors import BadInput

SAME_PLACE_MM = 0.5  # frames of one cine lie this near to each other
SAME_DIRECTION = 1e-3  # and their direction cosines differ by no more than this
USUAL_FRAMES = 30  # in the Data Science Bowl
# Second Annual Data Science Bowl: 123/study/4ch_7/IM-4562-0001.dcm, also ...-0001-0007.dcm, where
# the last number counts the repetitions of a scan.
BOWL = re.compile(
    r"(?:^|/)(?P<patient>\d+)/(?:\d+/)*study/(?:[^/]+/)*"
    r"(?P<view>2ch|4ch|sax)_(?P<folder>\d+)/IM-\d+-(?P<frame>\d+)(?:-(?P<repeat>\d+))?\.dcm$"
)
# The names that cines get here, without --keep-names.
NAME = re.compile(rf"(?P<patient>p[0-9a-f]{{10}}|dsb\d{{4,}})_({'|'.join(VIEWS)})_[0-9a-f]{{8}}$")


@dataclass(frozen=True)
class Group:
    """The frames of one cine, in order, and what its folders say in the bowl's layout."""

    frames: tuple[Frame, ...]
    bowl: re.Match | None = None
    notes: tuple[str, ...] = ()

    @property
    def normal(self) -> np.ndarray | None:
        """The normal (3,) of its plane, or None."""
        direction = self.frames[0].orientation
        return None if direction is None else np.cross(direction[:3], direction[3:])


def find(
    paths: Sequence[Path], root: Path, *, salt: str, keep_names: bool, least: int
) -> tuple[list[Found], list[Problem]]:
    """Every cine of at least ``least`` frames in the files, and what gave none.

    salt: goes into the pseudonyms. keep_names: take the patients' own ids in place of them.
    """
    frames, problems = read_headers(paths, root)
    groups: list[Group] = []
    for series in _by_series(frames).values():
        for place in _by_place(series):
            group, wrong = _ordered(place, root)
            problems += wrong
            groups.append(group)
    studies = defaultdict(list)
    for group in groups:
        if len(group.frames) < least:
            name = _relative(group.frames[0].path, root)
            problems.append(Problem(f"{name}: {len(group.frames)} frame, no cine", False))
        else:
            studies[_study(group)].append(group)
    found = []
    for study in studies.values():
        members, repeats = _without_repeats(study)
        problems += [Problem(_under(root, sentence), False) for sentence in repeats]
        for group, seen in zip(members, _seen(members), strict=True):
            found.append(_found(group, seen, root, salt, keep_names))
    return sorted(found, key=lambda f: f.name), problems


def read_headers(paths: Sequence[Path], root: Path) -> tuple[list[Frame], list[Problem]]:
    """The frames of all files that can be read, and a sentence for each that cannot."""
    frames, problems = [], []
    for path in paths:
        try:
            frames += dicom.read_header(path)
        except (BadInput, dicom.NotACine) as error:
            sentence = str(error).replace(path.name, _relative(path, root), 1)
            problems.append(Problem(sentence, isinstance(error, BadInput)))
        except OSError as error:
            problems.append(Problem(f"{_relative(path, root)}: {error.strerror}", True))
    return frames, problems


def load(group: Group, name: str) -> Cine:
    """Read the pixels of one cine; frames that cannot be read are left out and told of.

    Raises:
      BadInput: when none can be read.
    """
    pictures, kept, problems = [], [], []
    for frame, picture in zip(group.frames, dicom.read_frames(group.frames), strict=True):
        if isinstance(picture, BadInput):
            problems.append(str(picture))
        else:
            pictures.append(picture)
            kept.append(frame)
    if not kept:
        raise BadInput(problems[0])
    first = kept[0]
    return Cine(
        name,
        np.stack(pictures),
        first.spacing_mm,
        _times(kept),
        _to_patient(first),
        slice_direction_mm=_across(group, first),
        sources=tuple((frame.path, frame.number) for frame in kept),
        problems=tuple(problems),
    )


def _by_series(frames: Sequence[Frame]) -> dict[tuple, list[Frame]]:
    """Frames of one series: by its UID, or by folder; in the bowl by folder and repetition."""
    series = defaultdict(list)
    for frame in frames:
        facts, bowl = frame.series, BOWL.search(frame.path.as_posix())
        folder = str(frame.path.parent) if bowl or not facts.uid else ""
        repeat = bowl["repeat"] if bowl else None
        series[(facts.study, facts.uid, facts.kind, folder, repeat)].append(frame)
    return series


def _by_place(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames that show the same plane; frames without a plane go by their slice location."""
    places: list[list[Frame]] = []
    for frame in frames:
        for members in places:
            if _same_place(members[0], frame):
                members.append(frame)
                break
        else:
            places.append([frame])
    return places


def _same_place(a: Frame, b: Frame) -> bool:
    if a.position is None or b.position is None or a.orientation is None or b.orientation is None:
        here, there = a.series.location_mm, b.series.location_mm
        both = math.isfinite(here + there)
        alike = [a.position is None, a.orientation is None]
        return alike == [b.position is None, b.orientation is None] and (
            not both or abs(here - there) < SAME_PLACE_MM
        )
    turned = np.abs(np.subtract(a.orientation, b.orientation)).max()
    return turned < SAME_DIRECTION and math.dist(a.position, b.position) < SAME_PLACE_MM


def _ordered(frames: list[Frame], root: Path) -> tuple[Group, list[Problem]]:
    """The frames by trigger time, then instance number; and what is left out, and why.

    Frames of another size or spacing than most are left out, and all but the first of those with
    the same instance number and time; a mere copy of a file is no damage.
    """
    problems, kept = [], []
    taken: dict[tuple, Frame] = {}
    shape, spacing = Counter((f.shape, str(f.spacing_mm)) for f in frames).most_common(1)[0][0]
    timed = all(math.isfinite(f.trigger_ms) for f in frames)

    def order(frame: Frame) -> tuple:
        return (frame.trigger_ms if timed else 0.0, frame.instance, frame.path, frame.number)

    for frame in sorted(frames, key=order):
        other = taken.get(order(frame)[:2]) if frame.instance >= 0 else None
        name, copied = _relative(frame.path, root), False
        if frame.shape != shape:
            sizes = [f"{w}×{h}" for h, w in (frame.shape, shape)]
            wrong = f"{sizes[0]} px, but its series {sizes[1]} px"
        elif str(frame.spacing_mm) != spacing:  # as text, in which NaN is equal to NaN
            wrong = "another PixelSpacing than the rest of its series"
        elif other is not None:
            copied = frame.path != other.path and _same_object(frame, other)
            rival = _relative(other.path, root)
            wrong = f"a copy of {rival}" if copied else (
                f"instance number {frame.instance} is taken by {rival}"
            )  # fmt: skip
        else:
            taken[order(frame)[:2]] = frame
            kept.append(frame)
            continue
        problems.append(Problem(f"{name}: {wrong}", not copied))
    bowl = BOWL.search(kept[0].path.as_posix())
    few = bowl is not None and 1 < len(kept) < USUAL_FRAMES
    notes = (f"{len(kept)} frames, {USUAL_FRAMES} are usual",) if few else ()
    return Group(tuple(kept), bowl, notes), problems


def _same_object(a: Frame, b: Frame) -> bool:
    return bool(a.series.instance_uid) and a.series.instance_uid == b.series.instance_uid


def _without_repeats(groups: list[Group]) -> tuple[list[Group], list[str]]:
    """The groups without scans that were repeated: of those in the bowl, the last is the best.

    Elsewhere both stay, as one may be before and the other after contrast or stress; a note says
    so.
    """
    later: dict[int, Group] = {}
    for i, group in enumerate(groups):
        for other in groups:
            if other is not group and _repeats(group, other) and _turn(other) > _turn(group):
                later[i] = other
    kept, dropped = [], []
    for i, group in enumerate(groups):
        if i not in later:
            kept.append(group)
        elif group.bowl:
            path = later[i].frames[0].path
            dropped.append(
                f"{group.frames[0].path.parent}: repeated later, in "
                f"{path.parent.name}/{path.name} and on"
            )
        else:
            kept.append(replace(group, notes=(*group.notes, "the same plane was scanned again")))
    return kept, dropped


def _repeats(a: Group, b: Group) -> bool:
    """Whether two cines of one study show the same plane."""
    first, second = a.frames[0], b.frames[0]
    if first.series.kind != second.series.kind or not _same_place(first, second):
        return False
    if first.position is not None and first.orientation is not None:
        return True
    if math.isfinite(first.series.location_mm):
        return a.bowl is None or b.bowl is None or a.bowl["view"] == b.bowl["view"]
    if a.bowl is None or b.bowl is None or a.bowl["view"] != b.bowl["view"]:
        return False
    # Nothing tells the place: the same folder shows one plane, a study one long-axis plane a view.
    return first.path.parent == second.path.parent or a.bowl["view"] != "sax"


def _turn(group: Group) -> tuple:
    """What grows with the time of the scan."""
    first = group.frames[0]
    number = first.series.number if math.isfinite(first.series.number) else -1
    if group.bowl:
        return int(group.bowl["folder"]), int(group.bowl["repeat"] or 0), number
    return number, first.series.uid


def _seen(groups: Sequence[Group]) -> list[str]:
    """The views by the planes of one study, which together tell the patient's long axis."""
    normals = [group.normal for group in groups]
    alone = [view.from_normal(n) if n is not None else "" for n in normals]
    guesses = [_described(group) or seen for group, seen in zip(groups, alone, strict=True)]
    known = [(n, guess) for n, guess in zip(normals, guesses, strict=True) if n is not None]
    axis = view.long_axis([n for n, _ in known], [guess for _, guess in known])
    return [view.from_normal(n, axis) if n is not None else "" for n in normals]


def _described(group: Group) -> str:
    texts = [group.bowl["view"]] if group.bowl else []
    first = group.frames[0]
    return view.from_description([*texts, *first.series.descriptions, first.path.parent.name])


def _found(group: Group, seen: str, root: Path, salt: str, keep_names: bool) -> Found:
    first = group.frames[0]
    described = _described(group)
    named = described or seen or "other"
    public = group.bowl is not None
    if group.bowl:
        patient = f"dsb{int(group.bowl['patient']):04d}"
    elif keep_names and any(first.series.patient[:2]):
        patient = re.sub(r"[^\w-]+", "_", first.series.patient[0] or first.series.patient[1])
    else:
        patient = "p" + _digest(salt, *_person(group))[:10]
    numbers = (*(first.position or ()), *(first.orientation or ()), first.series.location_mm)
    place = ",".join(f"{number:.2f}" for number in numbers)
    series = _digest(
        salt, first.series.study, first.series.uid or str(first.path.parent), first.series.kind,
        place, *([group.bowl["folder"], group.bowl["repeat"] or ""] if group.bowl else []),
    )  # fmt: skip
    notes = list(group.notes)
    if described and seen and described != seen:
        notes.append(f"the description says {described}, the plane looks like {seen}")
    if first.orientation is None or first.position is None:
        notes.append("its place in the patient is unknown")
    name = f"{patient}_{named}_{series[:8]}"
    return Found(
        name, patient, tuple(dict.fromkeys(f.path for f in group.frames)),
        _relative(first.path, root), partial(load, group, name),
        named, described, seen, tuple(notes), public,
    )  # fmt: skip


def _study(group: Group) -> tuple[str, ...]:
    return _person(group) + (() if group.bowl else (group.frames[0].series.study,))


def _person(group: Group) -> tuple[str, ...]:
    """What tells one patient from another: the id, else the name and birth, else the study."""
    if group.bowl:
        return ("bowl", group.bowl["patient"])
    facts = group.frames[0].series
    number, name, birth = facts.patient
    if number:
        return ("id", number)
    return ("name", name, birth) if name else ("study", facts.study or facts.uid)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


def _times(frames: Sequence[Frame]) -> np.ndarray:
    """Seconds after the first frame: by trigger times, else by the mean beat's share of a frame."""
    triggers = np.array([frame.trigger_ms for frame in frames]) / 1e3
    if len(set(triggers.tolist())) == len(frames) and np.isfinite(triggers).all():
        return triggers - triggers[0]
    return np.arange(len(frames)) * frames[0].series.interval_ms / 1e3


def _to_patient(frame: Frame) -> np.ndarray | None:
    """DICOM PS3.3 C.7.6.2.1.1: the map from the pixel (x, y) to patient mm, (3, 3)."""
    unknown = math.isnan(frame.spacing_mm[0])
    if frame.position is None or frame.orientation is None or unknown:
        return None
    row_mm, column_mm = frame.spacing_mm
    along_row, along_column = np.reshape(frame.orientation, (2, 3))
    return np.column_stack([along_row * column_mm, along_column * row_mm, frame.position])


def _across(group: Group, frame: Frame) -> np.ndarray | None:
    thickness = frame.series.thickness_mm
    if group.normal is None:
        return None
    return group.normal * (thickness if thickness > 0 else 1.0)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _under(root: Path, sentence: str) -> str:
    return sentence.replace(f"{root.as_posix()}/", "")
