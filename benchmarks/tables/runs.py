"""Training and judging one row of a table: `train.py` and `eval.py`, as a reader would call them.

A run's folder holds what they write, what they print (log.txt), and run.json: the command, and the
seconds that it took. A finished run is kept; one that was stopped goes on where it was.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.tables import plan, subsets
from benchmarks.tables.plan import ROOT, Size, Variant
from jssm import dataset

POLL_S = 1.0  # between looks at how far a run is


class Source(NamedTuple):
    """A data set: its folder, its view and the number of its training cases."""

    path: Path
    view: str
    cases: int


class Run(NamedTuple):
    """One training: the data set, the settings beside those of ``config``, its folder, and the part
    of the method that is exchanged (of ``altered.PARTS``)."""

    data: Path
    config: Path
    settings: dict[str, Any]
    folder: Path
    altered: str = ""

    @property
    def train_command(self) -> list[str]:
        """What follows ``python``, as seen from the checkout."""
        flags = [f"--config.{field}={value}" for field, value in self.settings.items()]
        config = str(self.config.relative_to(ROOT))
        data = f"--config.data={self.data}"
        return self._script("train.py", "--config", config, data, *flags, "--workdir")

    @property
    def eval_command(self) -> list[str]:
        """What follows ``python`` then."""
        return self._script("eval.py", "--ckpt")

    def _script(self, name: str, *flags: str) -> list[str]:
        """A call of a script of the checkout, with the run's folder at its end."""
        exchanged = ["-m", "benchmarks.tables.altered", self.altered] if self.altered else []
        return [*exchanged, name, *flags, str(self.folder)]

    @property
    def cases(self) -> Path:
        """The scores per case."""
        return self.folder / "eval" / "cases.csv"


class Failed(Exception):
    """A run ended with an error; the message names its log."""


def source(path: Path) -> Source:
    """The data set in a folder.

    Raises:
      FileNotFoundError, ValueError: when it is none.
    """
    data = dataset.load(path)
    return Source(path, data.meta["view"], len(data.rows("train")))


def part(data: Source, share: float, out: Path) -> Source:
    """The data set with ``share`` of its training patients; made in ``out`` if need be.

    Raises:
      ValueError: when fewer than two training cases are left.
    """
    folder = subsets.folder_of(data.path, share, out)
    if share < 1:
        subsets.write(data.path, share, folder)
    return source(folder)


def run_of(variant: Variant, whole: Source, size: Size, out: Path) -> Run:
    """The run behind one row, for one data set.

    Raises:
      ValueError: when the row's share of it is fewer than two training cases.
    """
    data = part(whole, variant.share, out)
    steps = plan.equal_steps(size, data.cases)
    settings = plan.changes(steps | variant.settings, size)
    name = plan.name(settings, variant.altered)
    folder = out / "runs" / size.name / data.path.name / name
    return Run(data.path, size.config, settings, folder, variant.altered)


def finish(run: Run, bar: tqdm) -> None:
    """Train and judge ``run`` as far as that is not done yet; ``bar`` says how far it is.

    Raises:
      ValueError: when its folder holds a run with another command.
      Failed: when train.py or eval.py gives an error.
      KeyboardInterrupt: when it was interrupted; train.py has saved everything.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record = run.folder / "run.json"
    known = json.loads(record.read_text()) if record.is_file() else {}
    command = shlex.join(["python", *run.train_command])
    if known.get("command", command) != command:
        raise ValueError(f"{run.folder}: holds the run of `{known['command']}`; choose another out")
    if run.cases.is_file():
        return
    began, before = time.perf_counter(), known.get("seconds", 0.0)

    def note() -> None:
        seconds = before + time.perf_counter() - began
        record.write_text(json.dumps({"command": command, "seconds": seconds}, indent=2) + "\n")

    note()
    try:
        _call(run, run.train_command, bar)
        _call(run, run.eval_command, bar)
    finally:
        note()


def _call(run: Run, command: list[str], bar: tqdm) -> None:
    """One script of the checkout, its output in the run's log."""
    log = run.folder / "log.txt"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    where = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    files = {"train.py", "eval.py", str(run.config.relative_to(ROOT))}
    arguments = [sys.executable, *(str(ROOT / a) if a in files else a for a in command)]
    with log.open("a") as file:
        process = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT, env=where)
        try:
            while process.poll() is None:
                bar.set_postfix_str(f"{run.folder.name}, {_progress(run)}")
                _wait(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise Failed(f"{command[0]} gave the status {process.returncode}; see {log}")


def _wait(process: subprocess.Popen) -> None:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return


def _progress(run: Run) -> str:
    """How far the run is, in a few words."""
    path = run.folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    if not lines:
        return "starting"
    record = json.loads(lines[-1])
    return f"epoch {record['epoch']}, Dice {record['val_dice']:.3f}"
