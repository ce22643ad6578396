"""From folders of images and masks to a data set (Algorithm 1): the order of the steps."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from jssm import files
from jssm.files.whole import alone
from prep.dataset import cases as steps
from prep.dataset import images, layouts, split, store
from prep.dataset import settings as settings_lib
from prep.dataset.cases import Case, Mean
from prep.dataset.layouts import Public
from prep.dataset.settings import Settings
from prep.errors import BadInput, Refused, Unsuitable
from prep.pool import Pool
from prep.shapes import kinds, landmarks, point_cloud, procrustes, registration

MEAN_CASES = 64  # training cases that the mean mask is made of, evenly picked
MEAN_ROUNDS = 2
OWN_SPLIT = "the set's own split was not found, so the patients were split by --val-fraction"


@dataclass(frozen=True)
class Request:
    """What ``python -m prep build`` was asked for.

    images, masks: the two folders; of a ``public`` set both are its root. pool: where the cases
    are worked on; for the workers of an engine all paths have to be absolute. shard_cases: of each
    shard of images and masks, 0 for one file each.
    """

    images: Path
    masks: Path
    out: Path
    settings: Settings
    source: str = ""
    truth: Path | None = None
    pool: Pool = field(default_factory=Pool)
    landmarks: Path | None = None
    split: Path | None = None
    public: Public | None = None
    shard_cases: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a build came to; bad: one sentence for each input that could not be used; notes:
    sentences about numbers that are not believed."""

    total: int
    included: int
    mean_dice: float
    bad: list[str]
    notes: list[str]


def run(request: Request) -> Outcome:
    """Build the data set in ``request.out``, picking up what an earlier run has left there.

    Raises:
      Refused: when the run cannot start (other parameters than before, no case, a table of
        landmarks or of the split that cannot be used) or no training case is left at the end.
    """
    _check(request)
    settings = request.settings
    cases, bad = find_cases(request)
    if not cases:
        raise Refused(
            f"no image with a mask was found in {request.images.name} and {request.masks.name}"
            + (f" ({len(bad)} unusable; the first: {bad[0]})" if bad else "")
        )
    wanted = split.read(request.split) if request.split else own_split(cases)
    parts = split.assign([c.patient for c in cases], settings.val_fraction, settings.seed, wanted)
    with alone(request.out):
        return _build(request, cases, parts, bad, own=bool(request.public and wanted is None))


def _build(
    request: Request, cases: list[Case], parts: dict[str, str], bad: list[str], *, own: bool
) -> Outcome:
    """The steps of all cases, and the data set of them."""
    settings = request.settings
    folder = store.open_folder(request.out, parameters(request))
    pool = request.pool

    prepared = _each(pool, "reading", steps.prepare, cases, settings, folder)
    usable = [c for c, problem in zip(cases, prepared, strict=True) if problem is None]
    training = [c for c in usable if parts[c.patient] == "train"]
    if len(training) < 2:
        problems = [p for p in prepared if p]
        raise Refused(
            f"{len(training)} of {len(cases)} cases can be used for training, at least 2 are needed"
            + (f"; the first problem: {problems[0]}" if problems else "")
        )
    mean = mean_shape(training, settings, folder, pool)
    _each(pool, "registering", steps.place, usable, settings, folder, mean)

    found = store.collect(cases, parts, settings, folder, mean)
    bad += found.bad
    store.write_data_set(
        request.out,
        found,
        describe(request),
        settings.num_modes,
        closed=kinds.find(settings.shape).closed,
        shard_cases=request.shard_cases,
    )
    from prep.dataset import report

    report.write(request.out)
    dice = float(np.mean([row.dice for row in found.rows]))
    notes = found.notes + ([OWN_SPLIT] if own else [])
    return Outcome(len(cases), len(found.rows), dice, bad, notes)


def find_cases(request: Request) -> tuple[list[Case], list[str]]:
    """Every case, by name, and a sentence for each file that cannot give any.

    Raises:
      Refused: when two cases have one name, or a table or a public set cannot be used.
    """
    pairs, problems = (
        layouts.find_pairs(request.public, request.settings.view)
        if request.public
        else images.find_pairs(request.images, request.masks)
    )
    given = landmarks.from_file(request.landmarks) if request.landmarks else None
    settings, cases = request.settings, []
    for pair in pairs:
        try:
            patient = pair.patient or _patient(pair, settings.patient_regex)
            frames = files.count_frames(pair.image)
        except BadInput as error:
            problems.append(str(error))
            continue
        truth = request.truth / f"{pair.stem}.npz" if request.truth else None
        if truth is not None and not truth.is_file():
            problems.append(f"{truth.name}: the true points of {pair.image.name} are missing")
            continue
        for frame in range(0, frames, settings.every):
            name = images.frame_name(pair.stem, frame, frames)
            marks = given.get(name) if given is not None else None
            cases.append(
                Case(
                    name, patient, frame, pair.image, pair.mask, truth, marks, given is not None,
                    pair.time_s, pair.part,
                )
            )  # fmt: skip
    steps.check_names(cases)
    return cases, problems


def mean_shape(training: list[Case], settings: Settings, folder: Path, pool: Pool) -> Mean:
    """The mean mask of the training cases and its points (Algorithm 1, lines 1 to 3).

    At most ``MEAN_CASES`` of them, evenly picked, take part. Landmarks are aligned first; then
    each round refines every case by an affine to the mean, takes out what all of them share and
    averages their distance fields anew.
    """
    picked = np.unique(np.linspace(0, len(training) - 1, MEAN_CASES).round().astype(int))
    chosen = [training[i] for i in picked]
    stamp = store.digest([c.name + steps.case_stamp(c) for c in chosen])
    path = folder / "mean.npz"
    known = steps.read(path, stamp)
    if known is None and (settings.true_points or kinds.find(settings.shape).closed):
        own = [steps.own_points(steps.prepare(c, settings, folder), settings) for c in chosen]
        points = procrustes.mean_points(np.array(own), settings.grid)
        known = {"field": np.zeros(0), "points": points, "landmarks": np.zeros((0, 2))}
        steps.write(path, stamp=stamp, **known)
    if known is None:
        data = [steps.prepare(c, settings, folder) for c in chosen]
        marks = procrustes.mean_landmarks(np.stack([d["landmarks"] for d in data]), settings.grid)
        fields = [steps.padded_field(d["mask"], settings) for d in data]
        starts = np.stack([procrustes.fit_similarity(marks, d["landmarks"]) for d in data])
        mean, thetas = _average(fields, starts, settings)
        for number in range(MEAN_ROUNDS):
            given = [(f, mean, theta, settings) for f, theta in zip(fields, thetas, strict=True)]
            label = f"mean shape {number + 1}/{MEAN_ROUNDS}"
            refined = np.stack(pool.each(label, steps.refine, given))
            mean, thetas = _average(fields, procrustes.without_drift(refined, starts), settings)
        # The landmarks' place in the frame of the mean: where the cases' own come to lie there.
        seen = [
            registration.apply(registration.invert(theta), case["landmarks"])
            for theta, case in zip(thetas, data, strict=True)
        ]
        soft = np.clip(0.5 + mean / 2, 0, 1)
        known = {
            "field": mean,
            "points": _mean_points(soft, settings),
            "landmarks": np.mean(seen, axis=0),
        }
        steps.write(path, stamp=stamp, **known)
    return Mean(known["field"], known["points"], known["landmarks"])


def _mean_points(soft: np.ndarray, settings: Settings) -> np.ndarray:
    try:
        boundaries = kinds.find(settings.shape).boundaries
        return point_cloud.sample_points(soft, settings.num_points, boundaries)
    except Unsuitable as error:
        raise Refused(
            f"the mean mask of the training cases is no {settings.shape}: {error}; walls of one or "
            "two pixels vanish in a mean, and a few unlike cases have none: use a larger --size or "
            "more patients"
        ) from error


def parameters(request: Request) -> dict:
    """What a later run into the same folder must share with this one."""
    listed = asdict(request.settings)
    listed |= {"images": request.images.name, "masks": request.masks.name}
    listed |= {"landmarks": request.landmarks is not None}
    if request.public:
        listed |= {
            name: getattr(request.public, name) for name in ("layout", "held_out", "quality")
        }
    table = request.split.read_bytes().decode("latin-1") if request.split else None
    listed["split"] = None if table is None else store.digest([table])
    return json.loads(json.dumps(listed))


def describe(request: Request) -> dict:
    """The fields of ``dataset.json``."""
    listed = asdict(request.settings)
    source = request.source or f"{request.images.name}, {request.masks.name}"
    return {
        "format": 1,
        **{name: listed[name] for name in ("view", "size", "num_points", "seed")},
        "source": source,
        **{name: listed[name] for name in ("label", "min_dice", "shape", "every", "val_fraction")},
    }


def _check(request: Request) -> None:
    for folder, kind in ((request.images, "images"), (request.masks, "masks")):
        if not folder.is_dir():
            raise Refused(f"{folder}: a folder of {kind} was expected")
    settings_lib.check(request.settings)
    if request.settings.true_points and request.truth is None:
        raise Refused("--true-points: only phantoms have them, --phantom was expected")


def own_split(cases: list[Case]) -> dict[str, str] | None:
    """The side of each patient in a public set's own split; None where that is not found."""
    return {c.patient: c.part for c in cases} if all(c.part for c in cases) else None


def _patient(pair: images.Pair, pattern: str | None) -> str:
    if pattern is None:
        return pair.stem
    match = re.search(pattern, pair.image.name)
    if not match or not match[1]:
        raise BadInput(f"{pair.image.name}: --patient-regex {pattern} finds no patient in the name")
    return match[1]


def _average(
    fields: list[np.ndarray], thetas: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """The mean field through the maps, and the maps, after centring and scaling the mean."""

    def mean_of(maps: np.ndarray) -> np.ndarray:
        into = np.stack([steps.to_padded(t, settings) for t in maps])
        return procrustes.mean_field(fields, into, settings.grid)

    frame = procrustes.centring(mean_of(thetas))
    centred = np.stack([registration.compose(t, frame) for t in thetas])
    return mean_of(centred), centred


def _each(pool: Pool, label: str, step: Callable, cases: list[Case], *arguments) -> list:
    """The problem, or None, of ``step(case, *arguments)`` for every case; in parallel, in order."""
    return pool.each(label, steps.problem, [(step, case, *arguments) for case in cases])
