"""Many cines, one after another: each is read, segmented and written, and tables list them all.

One cine is in memory at a time; one that is damaged does not stop the others.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jssm import weights
from jssm.version import __version__

if TYPE_CHECKING:
    from jssm import files
    from jssm.cines import segmenting
    from jssm.cines.measures import Motion
    from jssm.methods.model import Model

VIEWS = ("2ch", "3ch", "4ch", "sax", "other")
# Cines of a scanner have 20, 25 or 30 frames as a rule, so these batches are full.
BATCH_SIZE = 5
FOR_BIPLANE = {"ed_frame", "es_frame", "disc_diameters_mm", "long_axis_mm"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``jssm predict`` is asked to do; docs/PREDICT.md says what each option does.

    inputs: files and folders. source, step: the model, as ``jssm.load`` takes it; without a source
    the package's model for what made the images, where their file tells. out: the folder
    of the results. views: segment these alone; () for all but short-axis cines and other planes.
    harmonics: of the heart cycle that the smoothing keeps, 0 without. whole_cycle: a cine's last
    frame is followed by its first. mirrored: what to suppose of the display where a file does not
    tell. patient_regex: its first group, in a cine's name, is the patient; "" for what the file
    tells. salt, keep_names: see ``jssm.files.open_cines``.

    Raises:
      ValueError: naming the option, for a value that cannot be.
    """

    inputs: Sequence[Path]
    source: str | Path | None = None
    out: Path
    step: str = "best"
    views: Sequence[str] = ()
    harmonics: int = 0
    whole_cycle: bool = True
    mirrored: bool = False
    batch_size: int = BATCH_SIZE
    patient_regex: str = ""
    salt: str = ""
    keep_names: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size {self.batch_size}: a positive number was expected")
        if self.harmonics < 0:
            raise ValueError(f"--smooth {self.harmonics}: 0 or more was expected")
        if self.harmonics and not self.whole_cycle:
            raise ValueError("--smooth needs the whole heart cycle, but --half-cycle was given")
        regex = f"--patient-regex {self.patient_regex}"
        try:
            if self.patient_regex and re.compile(self.patient_regex).groups < 1:
                raise ValueError(f"{regex}: a group (...) was expected")
        except re.error as error:
            raise ValueError(f"{regex}: {error}") from error


@dataclass
class Outcome:
    """What came of it: the table's rows, sentences for whatever gave nothing and about what is
    missing in the tables, and the times."""

    rows: list[dict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    biplane: list[dict] = field(default_factory=list)
    frames: int = 0
    start_s: float = 0.0
    read_s: float = 0.0
    segment_s: float = 0.0
    write_s: float = 0.0

    def speed(self) -> str:
        """The time per frame, and where it went."""
        total = self.read_s + self.segment_s + self.write_s
        shares = [
            f"{1000 * s / self.frames:.0f} ms {name}"
            for name, s in (
                ("reading", self.read_s),
                ("segmenting", self.segment_s),
                ("writing", self.write_s),
            )
        ]
        return (
            f"{total / self.frames:.3f} s per frame in all, {self.frames} frames: "
            f"{', '.join(shares)}; besides, {self.start_s:.1f} s of starting and compiling"
        )


def predict_all(options: Options, *, began: float) -> Outcome:
    """Segment every cine of the inputs and write the results.

    began: when the command was started, ``time.perf_counter``.

    Raises:
      ValueError, OSError: when the model or an input is missing or damaged, or nothing can be
        written.
    """
    from tqdm import tqdm

    outcome = Outcome()
    models = _Models(options)
    if options.source is not None:
        models.of(options.source)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cines.csv").open("a").close()  # before the work, if it cannot be written
    found = _open(options, outcome)
    outcome.start_s = time.perf_counter() - began
    views: dict[tuple[str, str, str], list[_OneView]] = {}
    try:
        for item in tqdm(found, desc="predicting", unit="cine", disable=None):
            source = options.source or weights.for_modality(item.modality)
            if source is None:
                made_by = f"the modality {item.modality}" if item.modality else "no modality"
                outcome.skipped.append(
                    f"{item.source}: its file tells {made_by}, so --model or --ckpt has to be given"
                )
                continue
            try:
                segment, about = models.of(source)
                seen = _predict_one(item, segment, options, about, outcome)
            except Exception as error:  # whatever one cine brings about, the others go on
                cause = " ".join(str(error).split())[:200] or type(error).__name__
                outcome.damaged.append(item.about(cause))
                continue
            if seen is not None and item.view in ("2ch", "4ch"):
                views.setdefault((item.patient, item.study, item.view), []).append(seen)
    finally:
        outcome.start_s += models.compile_s
        outcome.segment_s -= models.compile_s
        outcome.biplane = [_biplane_row(*pair) for pair in _pairs(views)]
        outcome.notes += _unpaired(views)
        _write_tables(options.out, outcome)
        _send_biplane(views, options, outcome)
    return outcome


class _OneView(NamedTuple):
    """What biplane volumes, and a report of them, need of a cine."""

    name: str
    motion: "Motion"
    sources: "Sequence[tuple[Path, int]]"
    about: Mapping[str, Any]


class _Models:
    """The models of a run, each loaded when it is first needed."""

    def __init__(self, options: Options):
        self._options = options
        self._loaded: dict[str | Path, tuple[segmenting.Segmenter, dict[str, Any]]] = {}

    def of(self, source: str | Path) -> "tuple[segmenting.Segmenter, dict[str, Any]]":
        """What segments with the model of this source, and what summaries say of it."""
        if source not in self._loaded:
            from jssm.cines import segmenting
            from jssm.methods import registry

            options = self._options
            model = registry.load(source, step=options.step)
            segment = segmenting.Segmenter(
                model,
                options.batch_size,
                harmonics=options.harmonics,
                whole_cycle=options.whole_cycle,
            )
            self._loaded[source] = segment, _about(model, source, options)
        return self._loaded[source]

    @property
    def compile_s(self) -> float:
        """Seconds spent on compiling so far."""
        return sum(segment.compile_s for segment, _ in self._loaded.values())


def _about(model: "Model", source: str | Path, options: Options) -> dict[str, Any]:
    """What every summary says of the model and the run."""
    from jssm.methods.model import digest

    return {
        "jssm_version": __version__,
        "model_run": Path(source).resolve().name,
        "model_step": options.step,
        "model_weights_sha256": digest(model)[:16],
        "smoothing_harmonics": options.harmonics,
        "whole_cycle": options.whole_cycle,
    }


def _open(options: Options, outcome: Outcome) -> list["files.Found"]:
    """The cines to segment; their names are unique, their patients those of the regex."""
    from jssm import files

    chosen: list[files.Found] = []
    names: set[str] = set()
    for path in options.inputs:
        try:
            found, problems = files.open_cines(
                path, salt=options.salt, keep_names=options.keep_names
            )
        except files.BadInput as error:
            raise ValueError(error) from error
        for problem in problems:
            (outcome.damaged if problem.damaged else outcome.skipped).append(problem.sentence)
        for item in found:
            aside = item.view == "sax" or item.described == "other"
            if item.view not in options.views if options.views else aside:
                outcome.skipped.append(f"{item.source}: the view is {item.view}")
                continue
            name, number = item.name, 2
            while name in names:
                name, number = f"{item.name}_{number}", number + 1
            names.add(name)
            given = re.search(options.patient_regex, name) if options.patient_regex else None
            chosen.append(replace(item, name=name, patient=given[1] if given else item.patient))
    return chosen


def _predict_one(
    item: "files.Found",
    segment: "segmenting.Segmenter",
    options: Options,
    about: Mapping[str, Any],
    outcome: Outcome,
) -> _OneView | None:
    """Read, segment and write one cine; gives what biplane volumes need of it."""
    from jssm.cines import outputs, segmenting

    times = [time.perf_counter()]
    cine = replace(item.load(), name=item.name)
    times.append(time.perf_counter())
    segmented = segment(cine)
    blank = _blank_frames(cine)
    if blank and segmented.motion is not None:  # what is measured in nothing is nothing
        segmented = segmenting.without_measures(segmented)
    times.append(time.perf_counter())
    result = outputs.Result(
        item,
        cine,
        segmented,
        warnings=tuple(_warnings(item, cine, segmented, blank)),
        supposed_mirrored=options.mirrored,
    )
    summary = outputs.write(
        options.out / item.name, result, about=about, keep_names=options.keep_names
    )
    times.append(time.perf_counter())
    outcome.damaged += [item.about(sentence) for sentence in cine.problems]
    outcome.rows.append(_row(summary))
    outcome.frames += len(cine.frames)
    outcome.read_s += times[1] - times[0]
    outcome.segment_s += times[2] - times[1]
    outcome.write_s += times[3] - times[2]
    if segmented.motion is None or blank:
        return None
    others: dict[str, Any] = dict.fromkeys(vars(segmented.motion).keys() - FOR_BIPLANE)
    motion = replace(segmented.motion, **others)
    return _OneView(item.name, motion, cine.sources, about)


def _blank_frames(cine: "files.Cine") -> list[int]:
    """The frames that have one grey value everywhere."""
    flat = cine.frames.reshape(len(cine.frames), -1)
    return np.flatnonzero(flat.min(axis=1) == flat.max(axis=1)).tolist()


def _warnings(
    item: "files.Found",
    cine: "files.Cine",
    segmented: "segmenting.Segmented",
    blank: Sequence[int],
) -> list[str]:
    """What a reader of the numbers should know."""
    warnings = list(dict.fromkeys([*item.notes, *cine.notes]))
    if blank:
        effect = (
            "no measure is given" if segmented.motion is not None else "the outline means nothing"
        )
        warnings.append(f"nothing is to be seen in the frames {blank} (one grey value): {effect}")
    if cine.problems:
        warnings.append(f"{len(cine.problems)} damaged frames were left out")
    bad = np.flatnonzero(~segmented.integrity.ok).tolist()
    if bad:
        warnings.append(f"the wall crosses or folds over itself in the frames {bad}")
    height, width = cine.frames.shape[1:]
    beyond = (segmented.points < -0.5) | (segmented.points > [width - 0.5, height - 0.5])
    if beyond.any():
        frames = np.flatnonzero(beyond.any(axis=(1, 2))).tolist()
        warnings.append(f"the wall reaches out of the image in the frames {frames}")
    if not np.isfinite(sum(cine.spacing_mm)):
        warnings.append("the spacing is unknown: nothing is known in mm or ml")
    steps = np.diff(cine.time_s)
    if len(steps) and steps.max() > 1.5 * np.median(steps):
        warnings.append("there are gaps between the times of the frames: some may be missing")
    if segmented.motion is not None and not np.isfinite(cine.time_s).all():
        warnings.append("the times of the frames are unknown")
    if segmented.motion is not None and item.view not in VIEWS[:3]:
        warnings.append("the view is unknown, so the segments have no names")
    elif segmented.motion is not None and cine.to_patient_mm is None:
        warnings.append("the names of the segments rest on --mirrored, as no place is known")
    return warnings


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as one row of the table: lists as text, without the segments."""
    return {
        key: "; ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in summary.items()
        if key != "segments"
    }


def _pairs(
    views: Mapping[tuple[str, str, str], list[_OneView]],
) -> list[tuple[str, _OneView, _OneView]]:
    """The patient, a 2ch and a 4ch cine, for every such pair of one study."""
    return [
        (patient, two, four)
        for (patient, study, view), seen in sorted(views.items(), key=lambda pair: pair[0])
        if view == "2ch"
        for two in seen
        for four in views.get((patient, study, "4ch"), ())
    ]


def _biplane_row(patient: str, two: _OneView, four: _OneView) -> dict[str, Any]:
    from jssm.cines.volumes import biplane_simpson

    volumes = vars(biplane_simpson(two.motion, four.motion))
    numbers = {key: float(value) for key, value in volumes.items()}
    return {"patient": patient, "cine_2ch": two.name, "cine_4ch": four.name} | numbers


def _send_biplane(
    views: Mapping[tuple[str, str, str], list[_OneView]], options: Options, outcome: Outcome
) -> None:
    """A report of each row of biplane.csv."""
    from jssm.cines import sending

    for path in options.out.glob("biplane_*.sr.dcm"):
        path.unlink()
    for (patient, *pair), row in zip(_pairs(views), outcome.biplane, strict=True):
        outcome.notes += sending.write_biplane(
            options.out / f"biplane_{row['cine_2ch']}_{row['cine_4ch']}.sr.dcm", row,
            [(seen.motion, seen.sources) for seen in pair],
            about=pair[0].about, patient=patient, keep_names=options.keep_names,
        )  # fmt: skip


def _unpaired(views: Mapping[tuple[str, str, str], list[_OneView]]) -> list[str]:
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


def _write_tables(out: Path, outcome: Outcome) -> None:
    import pandas as pd

    pd.DataFrame(outcome.rows).to_csv(out / "cines.csv", index=False)
    biplane = out / "biplane.csv"
    biplane.unlink(missing_ok=True)
    if outcome.biplane:
        pd.DataFrame(outcome.biplane).to_csv(biplane, index=False, float_format="%.6g")
