"""Many cines, one after another: each is read, segmented and written, and tables list them all.

One is written while the next is segmented, so few are in memory at a time. One that is damaged, or
cannot be written, does not stop the others.
"""

import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jssm import weights
from jssm.cines import tables, writing
from jssm.cines.measures import Segmented
from jssm.cines.options import VIEWS, Options, Outcome
from jssm.cines.pairs import OneView, biplane_row, one_view, pairs_of, report_name, unpaired
from jssm.cines.result import Result, is_read
from jssm.cines.summary import MOST_STRAIN_SD, doubtful_segments
from jssm.files.whole import alone
from jssm.version import __version__

if TYPE_CHECKING:
    from jssm import files
    from jssm.cines import segmenting
    from jssm.methods.model import Model


def predict_all(options: Options, *, began: float) -> Outcome:
    """Segment every cine of the inputs and write the results.

    began: when the command was started, ``time.perf_counter``.

    Raises:
      ValueError, OSError: when the model or an input is missing or damaged, or nothing can be
        written.
    """
    with alone(options.out), writing.Writers(options.jobs) as writers:  # they get ready meanwhile
        return _Predicting(options, writers).run(began)


class _Pending(NamedTuple):
    """A cine that is being written, and how to tell of it."""

    item: "files.Found"
    frames: int
    problems: Sequence[str]
    seen: OneView | None
    written: Future


class _Predicting:
    """A run of ``jssm predict``, and what is under way in it."""

    def __init__(self, options: Options, writers: writing.Writers):
        self._options, self._writers = options, writers
        self._outcome = Outcome(jobs=options.jobs)
        self._models = _Models(options)
        self._pending: deque[_Pending] = deque()
        self._views: dict[tuple[str, str, str], list[OneView]] = {}

    def run(self, began: float) -> Outcome:
        """Predict all; raises as :func:`predict_all` does."""
        from tqdm import tqdm

        options, outcome = self._options, self._outcome
        if options.source is not None:
            self._models.of(options.source)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "cines.csv").open("a").close()  # before the work, if it cannot be written
        found = _open(options, outcome)
        opened = time.perf_counter()
        try:
            with tqdm(total=len(found), desc="predicting", unit="cine", disable=None) as bar:
                for item in found:
                    with self._told(item):
                        self._predict(item)
                    self._collect(2 * options.jobs)
                    bar.update(len(outcome.rows) + len(outcome.damaged) - bar.n)
                self._collect(0)
        finally:  # also when it was stopped: what is being written is finished
            self._collect(0)
            waited_s = self._models.waited_s
            outcome.start_s = opened - began + waited_s
            outcome.segment_s -= waited_s
            self._write_tables()
            outcome.work_s = time.perf_counter() - opened - waited_s
        return outcome

    @contextmanager
    def _told(self, item: "files.Found") -> Iterator[None]:
        """Whatever one cine brings about, the others go on."""
        try:
            yield
        except Exception as error:
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            self._outcome.damaged.append(item.about(cause))

    def _predict(self, item: "files.Found") -> None:
        """Read and segment one cine, and begin to write it."""
        options, outcome = self._options, self._outcome
        source = options.source or weights.for_modality(item.modality)
        if source is None:
            made_by = f"the modality {item.modality}" if item.modality else "no modality"
            outcome.skipped.append(
                f"{item.source}: its file tells {made_by}, so --model or --ckpt has to be given"
            )
            return
        segment, about = self._models.of(source)
        times = [time.perf_counter()]
        cine = replace(item.load(), name=item.name)
        times.append(time.perf_counter())
        segmented = segment(cine)
        times.append(time.perf_counter())
        outcome.read_s += times[1] - times[0]
        outcome.segment_s += times[2] - times[1]
        result = Result(
            replace(item, load=is_read),
            cine,
            segmented,
            warnings=tuple(warnings_of(item, cine, segmented)),
            supposed_mirrored=options.mirrored,
        )
        written = self._writers.submit(
            writing.write_cine, options.out / item.name, result,
            about=about, keep_names=options.keep_names, outputs=options.outputs,
        )  # fmt: skip
        seen = one_view(result, about)
        self._pending.append(_Pending(item, len(cine.frames), cine.problems, seen, written))

    def _collect(self, most: int) -> None:
        """Wait until no more than this many are being written, and take in those that are."""
        outcome = self._outcome
        while len(self._pending) > most:
            wait([self._pending[0].written])
            item, frames, problems, seen, future = self._pending.popleft()
            with self._told(item):
                written = writing.result_of(future)
                outcome.damaged += [item.about(sentence) for sentence in problems]
                outcome.rows.append(tables.row_of(written.summary))
                outcome.frames += frames
                outcome.written_s.update(written.seconds)
                if seen is not None and item.view in ("2ch", "4ch"):
                    self._views.setdefault((item.patient, item.study, item.view), []).append(seen)

    def _write_tables(self) -> None:
        """cines.csv, and of the pairs biplane.csv with a report of each of its rows."""
        options, outcome, views = self._options, self._outcome, self._views
        outcome.biplane = [biplane_row(*pair) for pair in pairs_of(views)]
        outcome.notes += unpaired(views)
        tables.write(options.out / "cines.csv", outcome.rows)
        tables.write(options.out / "biplane.csv", outcome.biplane)
        for path in options.out.glob("biplane_*.sr.dcm"):
            path.unlink()
        if "report" in options.outputs:
            patients = {row["patient"] for row in outcome.rows}
            writing.result_of(self._writers.submit(writing.write_pages, options.out, patients))
        if "sr" not in options.outputs:
            return
        for (patient, *pair), row in zip(pairs_of(views), outcome.biplane, strict=True):
            report = self._writers.submit(
                writing.write_biplane,
                options.out / report_name(row), row,
                [(seen.motion, seen.sources) for seen in pair],
                about=pair[0].about, patient=patient, keep_names=options.keep_names,
            )  # fmt: skip
            outcome.notes += writing.result_of(report)


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
                least_confidence=options.least_confidence,
            )
            about = {**_about(model, source, options), "least_confidence": segment.least}
            self._loaded[source] = segment, about
        return self._loaded[source]

    @property
    def waited_s(self) -> float:
        """Seconds in which nothing was done but wait for programs."""
        return sum(segment.programs.waited_s for segment, _ in self._loaded.values())


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


def warnings_of(item: "files.Found", cine: "files.Cine", segmented: Segmented) -> list[str]:
    """What a reader of the numbers should know."""
    warnings = list(dict.fromkeys([*item.notes, *cine.notes]))
    refused = np.flatnonzero(~segmented.used).tolist()
    if refused and segmented.motion is None:
        warnings.append("the picture is refused: the outline is not to be trusted")
    elif refused:
        warnings.append(
            f"{len(refused)} of {len(segmented.used)} frames are refused, as their outlines are "
            f"not to be trusted: {refused}; they take part in no number"
        )
        if not segmented.is_measurable:
            warnings.append("too few frames are left: nothing is measured")
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
    doubtful = np.flatnonzero(doubtful_segments(segmented)) + 1
    if len(doubtful):
        warnings.append(
            f"the strain of the segments {doubtful.tolist()}, counted from the first basal end, "
            f"may be off by more than {MOST_STRAIN_SD:g} points"
        )
    if segmented.motion is not None and not np.isfinite(cine.time_s).all():
        warnings.append("the times of the frames are unknown")
    if segmented.motion is not None and item.view not in VIEWS[:3]:
        warnings.append("the view is unknown, so the segments have no names")
    elif segmented.motion is not None and cine.to_patient_mm is None:
        warnings.append("the names of the segments rest on --mirrored, as no place is known")
    return warnings
