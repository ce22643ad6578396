"""Many cines, one after another: each is read, segmented and written, and tables list them all.

One is written while the next is segmented, so few are in memory at a time; or each is sent to a
worker of an engine (docs/SCALE.md). One that is damaged, or cannot be written, does not stop the
others.
"""

import re
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jssm import weights
from jssm.cines import tables, writing
from jssm.cines.one_cine import Models, PassedOver, Seen, predict_there
from jssm.cines.options import Options, Outcome
from jssm.cines.pairs import OneView, biplane_row, pairs_of, report_name, unpaired
from jssm.files.whole import alone

if TYPE_CHECKING:
    from tqdm import tqdm

    from jssm import files
    from jssm.cines.outputs import Written
    from jssm.engine import Call, Engine


def predict_all(options: Options, *, began: float) -> Outcome:
    """Segment every cine of the inputs and write the results.

    began: when the command was started, ``time.perf_counter``.

    Raises:
      ValueError, OSError: when the model or an input is missing or damaged, or nothing can be
        written.
    """
    if options.dask:  # the workers may run in other folders
        options = replace(options, jobs=0, out=options.out.absolute(), source=_absolute(options))
    with (
        alone(options.out),
        _engine(options) as engine,
        writing.Writers(options.jobs) as writers,  # they get ready meanwhile
    ):
        return _Predicting(options, writers, engine).run(began)


class _Pending(NamedTuple):
    """A cine that is being written, and how to tell of it."""

    item: "files.Found"
    seen: Seen
    written: Future


class _Predicting:
    """A run of ``jssm predict``, and what is under way in it."""

    def __init__(self, options: Options, writers: writing.Writers, engine: "Engine | None"):
        self._options, self._writers, self._engine = options, writers, engine
        self._outcome = Outcome(jobs=options.jobs)
        self._models = Models(options)
        self._pending: deque[_Pending] = deque()
        self._views: dict[tuple[str, str, str], list[OneView]] = {}

    def run(self, began: float) -> Outcome:
        """Predict all; raises as :func:`predict_all` does."""
        options, outcome = self._options, self._outcome
        if options.source is not None:
            self._models.of(options.source)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "cines.csv").open("a").close()  # before the work, if it cannot be written
        found = _open(options, outcome, self._engine)
        opened = time.perf_counter()
        try:
            if self._engine is None:
                self._predict_here(found)
            else:
                self._predict_there(found, self._engine)
        finally:  # also when it was stopped: what is being written is finished
            self._collect(0)
            waited_s = 0.0 if self._engine else outcome.waited_s
            outcome.start_s = opened - began + waited_s
            self._write_tables()
            outcome.work_s = time.perf_counter() - opened - waited_s
        return outcome

    @contextmanager
    def _told(self, item: "files.Found") -> Iterator[None]:
        """Whatever one cine brings about, the others go on."""
        try:
            yield
        except PassedOver as reason:
            self._outcome.skipped.append(str(reason))
        except Exception as error:
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            self._outcome.damaged.append(item.about(cause))

    def _predict_here(self, found: Sequence["files.Found"]) -> None:
        """Read and segment one cine after the other, and write it meanwhile."""
        options, outcome = self._options, self._outcome
        with _bar(found) as bar:
            for item in found:
                with self._told(item):
                    result, about, seen = self._models.see(item)
                    written = self._writers.submit(
                        writing.write_cine, options.out / item.name, result,
                        about=about, keep_names=options.keep_names, outputs=options.outputs,
                    )  # fmt: skip
                    self._pending.append(_Pending(item, seen, written))
                self._collect(2 * options.jobs)
                bar.update(len(outcome.rows) + len(outcome.damaged) - bar.n)
            self._collect(0)

    def _predict_there(self, found: Sequence["files.Found"], engine: "Engine") -> None:
        """Let the workers read, segment and write each cine; taken in by the order of the cines."""
        run, options = secrets.token_hex(8), replace(self._options, inputs=())
        calls: Iterator[Call] = ((predict_there, (run, options, item), {}) for item in found)
        done: dict[int, Future] = {}
        self._outcome.workers = engine.workers
        try:
            with _bar(found) as bar:
                for number, future in engine.each(calls):
                    done[number] = future
                    bar.update()
        finally:
            for number in sorted(done):
                with self._told(found[number]):
                    self._take(found[number], *done[number].result())

    def _collect(self, most: int) -> None:
        """Wait until no more than this many are being written, and take in those that are."""
        while len(self._pending) > most:
            wait([self._pending[0].written])
            item, seen, future = self._pending.popleft()
            with self._told(item):
                self._take(item, seen, writing.result_of(future))

    def _take(self, item: "files.Found", seen: Seen, written: "Written") -> None:
        """Take in what came of a cine."""
        outcome = self._outcome
        outcome.damaged += [item.about(sentence) for sentence in seen.problems]
        outcome.rows.append(tables.row_of(written.summary))
        outcome.frames += seen.frames
        outcome.read_s += seen.read_s
        outcome.segment_s += seen.segment_s
        outcome.waited_s += seen.waited_s
        outcome.written_s.update(written.seconds)
        if seen.view is not None and item.view in ("2ch", "4ch"):
            self._views.setdefault((item.patient, item.study, item.view), []).append(seen.view)

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
            self._write(self._pages())
        if "sr" in options.outputs:
            for sentences in self._write(self._reports()):
                outcome.notes += sentences

    def _pages(self) -> "list[Call]":
        """The calls that write the pages of the patients seen."""
        from jssm.report import pages

        out, patients = self._options.out, {row["patient"] for row in self._outcome.rows}
        return [
            (writing.write_page, (out, patient, folders), {})
            for patient, folders in sorted(pages.folders_of(out).items())
            if patient in patients
        ]

    def _reports(self) -> "list[Call]":
        """The calls that write a report of each row of biplane.csv."""
        options = self._options
        calls: list[Call] = []
        for (patient, *pair), row in zip(pairs_of(self._views), self._outcome.biplane, strict=True):
            views = [(seen.motion, seen.sources) for seen in pair]
            names = {"patient": patient, "keep_names": options.keep_names}
            place = options.out / report_name(row)
            calls.append(
                (writing.write_biplane, (place, row, views), {"about": pair[0].about, **names})
            )
        return calls

    def _write(self, calls: "list[Call]") -> list[Any]:
        """What the calls give, in their order: made by the workers, or the processes that write."""
        if self._engine is not None:
            found = dict(self._engine.results(calls))
            return [found[i] for i in range(len(calls))]
        futures = [self._writers.submit(call, *args, **named) for call, args, named in calls]
        return [writing.result_of(future) for future in futures]


def _opened(
    options: Options, engine: "Engine | None"
) -> "list[tuple[list[files.Found], list[files.Problem]]]":
    """What ``files.open_cines`` finds in each input, of which the workers open one each."""
    from jssm import files

    names: dict[str, Any] = {"salt": options.salt, "keep_names": options.keep_names}
    try:
        if engine is None:
            return [files.open_cines(path, **names) for path in options.inputs]
        inputs = [path.absolute() for path in options.inputs]
        found = dict(engine.results((files.open_cines, (path,), names) for path in inputs))
        return [found[i] for i in range(len(inputs))]
    except files.BadInput as error:
        raise ValueError(error) from error


def _open(options: Options, outcome: Outcome, engine: "Engine | None") -> list["files.Found"]:
    """The cines to segment; their names are unique, their patients those of the regex."""
    chosen: list[files.Found] = []
    names: set[str] = set()
    for found, problems in _opened(options, engine):
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


def _bar(found: Sequence["files.Found"]) -> "tqdm":
    from tqdm import tqdm

    return tqdm(total=len(found), desc="predicting", unit="cine", disable=None)


@contextmanager
def _engine(options: Options) -> "Iterator[Engine | None]":
    """The engine that is asked for; None without."""
    if not options.dask:
        yield None
        return
    from jssm import engine

    with engine.connected(options.dask, options.out) as found:
        yield found


def _absolute(options: Options) -> str | Path | None:
    """The source of the model, as it can be found from any folder."""
    source = options.source
    return source if source is None or source in weights.RELEASED else Path(source).absolute()
