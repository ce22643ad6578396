"""From the frames of many DICOM files to cines: grouped and ordered."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from jssm.files import dicom, pixels
from jssm.files.cine import Cine, Found, Problem
from jssm.files.dicom import Frame
from jssm.files.errors import BadInput
from jssm.files.frame_times import from_trigger, times_of
from jssm.files.naming import BOWL, Group, found, person, seen_views, study

SAME_PLACE_MM = 0.5  # frames of one cine lie this near to each other
SAME_DIRECTION = 1e-3  # and their direction cosines differ by no more than this
USUAL_FRAMES = 30  # in the Data Science Bowl
LOCALIZER_FRAMES = 3  # of one plane, at most


def find(
    paths: Sequence[Path], root: Path, *, salt: str, keep_names: bool, least: int
) -> tuple[list[Found], list[Problem]]:
    """Every cine of at least ``least`` frames in the files, and what gave none.

    salt: goes into the pseudonyms. keep_names: take the patients' own ids in place of them.
    """
    frames, problems = read_headers(paths, root)
    groups: list[Group] = []
    for series in _by_series(frames):
        places = _by_place(series)
        if _is_localizer(places):
            name = _relative(series[0].path, root)
            reason = f"{len(series)} pictures of planes that cross, no cine, but localizers"
            problems.append(Problem(f"{name}: {reason}", False))
            continue
        for place in places:
            cines, wrong = _cines(place, root)
            problems += wrong
            groups += cines
    births = defaultdict(set)
    studies = defaultdict(list)
    for group in groups:
        if len(group.frames) < least:
            problems.append(_no_cine(group, root))
        else:
            studies[study(group)].append(group)
            births[person(group)].add(group.frames[0].series.patient[2])
    listed = []
    for members in studies.values():
        kept, repeats = _without_repeats(members)
        problems += [Problem(_under(root, sentence), False) for sentence in repeats]
        for group, seen in zip(kept, seen_views(kept), strict=True):
            if len(births[person(group)] - {""}) > 1:
                note = "people with other dates of birth have the same patient id"
                group = replace(group, notes=(*group.notes, note))
            source = _relative(group.frames[0].path, root)
            listed.append(
                found(group, seen, source, partial(load, group), salt=salt, keep_names=keep_names)
            )
    return sorted(listed, key=lambda f: f.name), problems


def _no_cine(group: Group, root: Path) -> Problem:
    name = _relative(group.frames[0].path, root)
    if dicom.NO_DIRECTION in group.notes:
        return Problem(f"{name}: {dicom.NO_DIRECTION}", True)
    return Problem(f"{name}: {len(group.frames)} frame, no cine", False)


def read_headers(paths: Sequence[Path], root: Path) -> tuple[list[Frame], list[Problem]]:
    """The grey frames of all files that can be read, and a sentence for what gave none."""
    frames, problems = [], []
    for path in paths:
        name = _relative(path, root)
        try:
            every = dicom.read_header(path)
        except (BadInput, dicom.NotACine) as error:
            sentence = str(error).replace(path.name, name, 1)
            problems.append(Problem(sentence, isinstance(error, BadInput)))
            continue
        except OSError as error:
            problems.append(Problem(f"{name}: {error.strerror}", True))
            continue
        frames += [frame for frame in every if not frame.other]
        for other, count in Counter(frame.other for frame in every if frame.other).items():
            some = "" if count == len(every) else f"{count} of its {len(every)} frames are "
            problems.append(Problem(f"{name}: {some}no cine, but {other}", False))
    return frames, problems


def load(group: Group, name: str) -> Cine:
    """Read the pixels of one cine; frames that cannot be read are left out and told of.

    Raises:
      BadInput: when none can be read.
    """
    pictures, kept, problems = [], [], []
    for frame, picture in zip(group.frames, pixels.read_frames(group.frames), strict=True):
        if isinstance(picture, BadInput):
            problems.append(str(picture))
        else:
            pictures.append(picture)
            kept.append(frame)
    if not kept:
        raise BadInput(problems[0])
    first = kept[0]
    time_s, notes = times_of(kept)
    return Cine(
        name,
        np.stack(pictures),
        first.spacing_mm,
        time_s,
        _to_patient(first),
        slice_direction_mm=_across(group, first),
        sources=tuple((frame.path, frame.number) for frame in kept),
        problems=tuple(problems),
        notes=tuple(notes),
        stated_aspect=first.aspect,
        from_trigger_s=from_trigger(kept, time_s),
    )


def _by_series(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one series: by its UID, or by folder; in the bowl by folder and repetition.

    A file that holds a loop is a series of its own, as echocardiography puts many into one.
    """
    series = defaultdict(list)
    for frame in frames:
        facts, bowl = frame.series, BOWL.search(frame.path.as_posix())
        folder = str(frame.path.parent) if bowl or not facts.uid else ""
        repeat = bowl["repeat"] if bowl else None
        file = frame.path if facts.is_loop else None
        series[(facts.patient, facts.uid, facts.kind, folder, repeat, file)].append(frame)
    return _joined(list(series.values()))


def _joined(series: list[list[Frame]]) -> list[list[Frame]]:
    """Series of one frame each that differ in nothing but their UIDs, put together."""
    alike: dict[tuple, list[Frame]] = defaultdict(list)
    for number, frames in enumerate(series):
        first = frames[0]
        facts = first.series
        key: tuple = (facts.patient, facts.number, facts.descriptions, facts.kind)
        is_alone = len(frames) == 1 and math.isfinite(facts.number)
        alike[(*key, first.path.parent) if is_alone else (number,)] += frames
    return list(alike.values())


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


def _is_localizer(places: Sequence[Sequence[Frame]]) -> bool:
    """Whether a series shows planes of many directions, each in few frames: to plan others."""
    directions = {tuple(np.round(place[0].orientation or (), 2)) for place in places}
    return len(directions) > 2 and max(map(len, places)) <= LOCALIZER_FRAMES


def _same_place(a: Frame, b: Frame) -> bool:
    if (a.orientation is None, a.position is None) != (b.orientation is None, b.position is None):
        return False
    turned = np.subtract(a.orientation or 0, b.orientation or 0)
    if np.abs(turned).max() >= SAME_DIRECTION:
        return False
    if a.position is not None and b.position is not None:
        return math.dist(a.position, b.position) < SAME_PLACE_MM
    here, there = a.series.location_mm, b.series.location_mm
    return not math.isfinite(here + there) or abs(here - there) < SAME_PLACE_MM


def _cines(frames: list[Frame], root: Path) -> tuple[list[Group], list[Problem]]:
    """The cines of one plane, each in order; and what is left out, and why.

    Ordered by time, else by the place in the order of times, then by instance number, else by name.
    Frames of another size or spacing than most are left out, and all but the first of those with
    the same instance number and time; a mere copy of a file is no damage. Several frames at each
    time are as many cines, since a cine has one.
    """
    problems, cines = [], defaultdict(list)
    shape, spacing = Counter((f.shape, str(f.spacing_mm)) for f in frames).most_common(1)[0][0]
    moments = _moments(frames)
    files, numbers = {f.path for f in frames}, {f.instance for f in frames}
    is_numbered = min(numbers) >= 0 and (len(numbers) > 1 or len(files) == 1)

    def order(frame: Frame) -> tuple:
        moment = moments.get((frame.path, frame.number), 0.0)
        return moment, frame.instance if is_numbered else 0, _natural(frame.path), frame.number

    taken: dict[tuple, Frame] = {}
    count: Counter = Counter()
    for frame in sorted(frames, key=order):
        moment, instance, _, number = order(frame)
        name, key = _relative(frame.path, root), (moment, instance, number)
        copied = taken.get((*key, frame.series.instance_uid))
        rival = taken.get(key) if is_numbered else None
        if frame.shape != shape:
            sizes = [f"{w}×{h}" for h, w in (frame.shape, shape)]
            wrong = f"{sizes[0]} px, but its series {sizes[1]} px"
        elif str(frame.spacing_mm) != spacing:  # as text, in which NaN is equal to NaN
            reasons = [note for note in frame.notes if note.startswith("PixelSpacing is")]
            wrong = (*reasons, "another PixelSpacing than the rest of its series")[0]
        elif copied is not None:
            problems.append(Problem(f"{name}: a copy of {_relative(copied.path, root)}", False))
            continue
        elif rival is not None:
            wrong = f"instance number {frame.instance} is taken by {_relative(rival.path, root)}"
        else:
            taken[key] = frame
            if frame.series.instance_uid:
                taken[(*key, frame.series.instance_uid)] = frame
            cines[count[moment] if moments else 0].append(frame)
            count[moment] += 1
            continue
        problems.append(Problem(f"{name}: {wrong}", True))
    notes = []
    if not moments and not is_numbered and len(files) > 1:
        notes.append("the files tell no order of the frames: it is that of their names")
    if len(cines) > 1:
        notes.append(
            f"{len(cines)} pictures at each time, of which one may be a phase image: a cine of each"
        )
    return [_group(kept, turn, notes) for turn, kept in cines.items()], problems


def _moments(frames: Sequence[Frame]) -> dict[tuple[Path, int], float]:
    """What tells when each frame was taken, by file and number: its time, else its turn; or {}."""
    turns = [float(f.turn) if f.turn >= 0 else math.nan for f in frames]
    for values in ([f.time_ms for f in frames], turns):
        if all(map(math.isfinite, values)) and len(set(values)) > 1:
            places = [(f.path, f.number) for f in frames]
            return dict(zip(places, values, strict=True))
    return {}


def _natural(path: Path) -> list[tuple]:
    """A key for names in which 2 comes before 10."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _group(kept: list[Frame], turn: int, notes: list[str]) -> Group:
    bowl = BOWL.search(kept[0].path.as_posix())
    notes = [*notes, *(note for frame in kept for note in frame.notes)]
    if bowl is not None and 1 < len(kept) < USUAL_FRAMES:
        notes.append(f"{len(kept)} frames, {USUAL_FRAMES} are usual")
    if kept[0].aspect != 1:
        notes.append(f"its pixels are {kept[0].aspect:g} times as high as wide, of unknown size")
    parts = bowl.groupdict() if bowl else None
    return Group(tuple(kept), parts, tuple(dict.fromkeys(notes)), turn)


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
