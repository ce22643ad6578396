"""Public data sets in the folders that they come in: docs/DATA.md says where to get them.

A layout lists the pairs of an image and its mask, whose they are, and the set's own split. Nothing
is renamed or copied.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jssm.files.images import METAIMAGE, NIFTI, stem
from prep.dataset.images import Pair
from prep.errors import Refused

ALL = "all"  # the views of a layout together
QUALITIES = ("Good", "Medium", "Poor")  # of CAMUS, per patient and view
TRAIN, VAL, TEST = "train", "val", "test"
MNMS2_PARTS = {160: TRAIN, 200: VAL, 360: TEST}  # up to the patient of this number


@dataclass(frozen=True)
class Public:
    """A public set under ``root``.

    held_out: the part of its own split that becomes the validation, val or test; the other one is
    left out. quality: the worst that is taken, of ``QUALITIES``, where the set tells one.
    """

    layout: str
    root: Path
    held_out: str = VAL
    quality: str = QUALITIES[-1]


@dataclass(frozen=True)
class Layout:
    """label: the myocardium's value in the masks. views: those whose wall is drawn. list: the pairs
    of one view under a root, whether their files are there or not; their ``part`` is that of the
    set's own split (train, val, test), "" where it is not known."""

    label: int
    views: tuple[str, ...]
    list: Callable[[Public, str], Iterator[Pair]]


def find_pairs(public: Public, view: str) -> tuple[list[Pair], list[str]]:
    """The pairs of a view, or of ``ALL`` views, by name; and a sentence for each that is not whole.

    The part of a pair is train or val. Where the set's own split is not found, it is "".

    Raises:
      Refused: when there is no such layout, view, part or quality, no image under the root, or a
        patient in two parts.
    """
    layout = of_name(public.layout)
    _check(public, view, layout)
    views = layout.views if view == ALL else (view,)
    listed = [pair for one in views for pair in layout.list(public, one)]
    has_split = any(pair.part for pair in listed)
    pairs, problems = [], []
    for pair in listed:
        missing = [path for path in (pair.image, pair.mask) if not path.is_file()]
        if missing:
            problems.append(f"{missing[0].name}: missing in the folder {missing[0].parent.name}")
        elif has_split and not pair.part:
            problems.append(f"{pair.image.name}: its patient is in no part of the set's own split")
        else:
            pairs.append(pair)
    if not pairs:
        first = f"; the first problem: {problems[0]}" if problems else ""
        where = f"{public.root}: no image with a mask in the layout {public.layout} was found"
        raise Refused(where + first)
    return sorted(_held_out(pairs, public.held_out), key=lambda pair: pair.stem), problems


def of_name(name: str) -> Layout:
    """The layout of this name.

    Raises:
      Refused: when there is none.
    """
    if name not in LAYOUTS:
        raise Refused(f"--layout {name}: one of {', '.join(LAYOUTS)} was expected")
    return LAYOUTS[name]


def _check(public: Public, view: str, layout: Layout) -> None:
    for flag, value, expected in (
        ("--view", view, (*layout.views, ALL)),
        ("--held-out", public.held_out, (VAL, TEST)),
        ("--quality", public.quality, QUALITIES),
    ):
        if value not in expected:
            raise Refused(f"{flag} {value}: one of {', '.join(expected)} was expected")


def _held_out(pairs: list[Pair], held_out: str) -> list[Pair]:
    """The pairs of the training and of the part held out, which is called val."""
    parts: dict[str, str] = {}
    for pair in pairs:
        if parts.setdefault(pair.patient, pair.part) != pair.part:
            both = f"{parts[pair.patient]} and {pair.part}"
            raise Refused(f"the patient {pair.patient} is in both {both} of the set's own split")
    if held_out not in parts.values():
        if held_out == TEST:
            raise Refused(f"--held-out {TEST}: no patient of this part, with masks, was found")
        return [replace(pair, part="") for pair in pairs if pair.part != TEST]
    names = {TRAIN: TRAIN, held_out: VAL}
    return [replace(pair, part=names[pair.part]) for pair in pairs if pair.part in names]


def _camus(public: Public, view: str) -> Iterator[Pair]:
    """patient0001/patient0001_2CH_ED.nii.gz (or .mhd) and ..._ED_gt, with Info_2CH.cfg beside, in
    the root, its database_nifti or training; the split's files in its database_split."""
    parts = {
        patient: part
        for name, part in (("training", TRAIN), ("validation", VAL), ("testing", TEST))
        for patient in _subgroup(public.root, name)
    }
    kept = QUALITIES[: QUALITIES.index(public.quality) + 1]
    for folder in _folders(public.root, ("", "database_nifti", "training"), "patient[0-9]*"):
        info = _info(folder / f"Info_{view.upper()}.cfg")
        if info.get("ImageQuality", kept[0]) not in kept:
            continue
        for phase in ("ED", "ES"):
            name = f"{folder.name}_{view.upper()}_{phase}"
            there = [s for s in (*NIFTI, *METAIMAGE) if (folder / f"{name}{s}").is_file()]
            image, mask = (folder / f"{name}{end}{(there or NIFTI)[0]}" for end in ("", "_gt"))
            part = parts.get(folder.name, "")
            yield Pair(name, image, mask, folder.name, part, _time_s(info, phase))


def _mnms2(public: Public, view: str) -> Iterator[Pair]:
    """001/001_LA_ED.nii.gz and ..._ED_gt, in the root or its folder dataset; the split goes by the
    patients' numbers."""
    for folder in _folders(public.root, ("", "dataset"), "[0-9][0-9][0-9]"):
        part = next((p for last, p in MNMS2_PARTS.items() if int(folder.name) <= last), "")
        for name in (f"{folder.name}_LA_{phase}" for phase in ("ED", "ES")):
            image, mask = folder / f"{name}.nii.gz", folder / f"{name}_gt.nii.gz"
            yield Pair(name, image, mask, folder.name, part)


def _cmr_multi(public: Public, view: str) -> Iterator[Pair]:
    """4CH_TR/image/CINE_4CH_084.nii.gz and anno/ of the same name, in the root or its CINE_MULTI;
    _VAL and _TST likewise, where they have anno/."""
    for suffix, part in (("TR", TRAIN), ("VAL", VAL), ("TST", TEST)):
        for folder in _folders(public.root, ("", "CINE_MULTI"), f"{view.upper()}_{suffix}"):
            for image in sorted((folder / "image").glob("*.nii.gz")):
                if (folder / "anno").is_dir():
                    patient = stem(image).rpartition("_")[2]
                    yield Pair(stem(image), image, folder / "anno" / image.name, patient, part)


LAYOUTS = {
    "camus": Layout(2, ("2ch", "4ch"), _camus),
    "mnms2": Layout(2, ("4ch",), _mnms2),
    "cmr-multi": Layout(2, ("2ch", "4ch"), _cmr_multi),
}


def _folders(root: Path, places: tuple[str, ...], pattern: str) -> Iterator[Path]:
    """The folders of such a name in these places under the root, by name."""
    for place in places:
        yield from sorted(path for path in (root / place).glob(pattern) if path.is_dir())


def _subgroup(root: Path, name: str) -> list[str]:
    """The patients of one of the files of CAMUS's split, none where it is missing."""
    for place in (root, root / "database_split", root.parent / "database_split"):
        path = place / f"subgroup_{name}.txt"
        if path.is_file():
            return path.read_text(encoding="utf-8-sig").split()
    return []


def _info(path: Path) -> dict[str, str]:
    """The fields of an Info_*.cfg, ``Key: value`` in each line; none where it is missing."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _time_s(info: dict[str, str], phase: str) -> float:
    """The time of a phase's frame after the first one; NaN where the fields do not tell."""
    try:
        return (int(info[phase]) - 1) / float(info["FrameRate"])
    except (KeyError, ValueError, ZeroDivisionError):
        return math.nan
