"""``python -m benchmarks faults``: what is left of commands that are killed, and what they say of a
full disk, a folder that may not be written to, a second program at work there, damaged files.

Every command runs in a process of its own, forked from this one, which has imported all but
computes nothing.
"""

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.measure import machine
from benchmarks.report import Report, Rows
from jssm.dataset import SEAL
from jssm.shards import opened

FORK = multiprocessing.get_context("fork")
SIZE, PATIENTS, FRAMES = 96, 6, 2  # of the phantoms
PARTIAL = (".tmp", ".orbax-checkpoint-tmp")  # in the names of what does not claim to be whole


@dataclass(frozen=True)
class Job:
    """A command. work(out): runs it, gives its exit status. digest(out): of what it must write, the
    same bits each time."""

    name: str
    work: Callable[[Path], int]
    digest: Callable[[Path], str]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``faults``."""
    parser = commands.add_parser("faults", help="what is left of commands that are killed")
    parser.add_argument("--kills", type=int, default=20, help="of each command (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    report.add_options(parser, "faults", repeats=1)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Try all, print, write; gives 1 when anything was lost."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = jobs_in(Path(folder))
        wanted, killed, told = {}, [], []
        for job in jobs:
            row, wanted[job.name] = kill(job, Path(folder), args.kills, args.seed)
            killed.append(row)
            _show([row])
        for job in jobs:
            told += _show(try_faults(job, Path(folder), wanted[job.name]))
        told += _show(try_training(jobs[1], Path(folder), wanted[jobs[1].name]))
    found = Report("faults", machine(), report.settings(args), {"Killed": killed, "Told": told})
    found.write(args.out)
    return int(any("lost" in str(row.values()) for row in killed + told))


def jobs_in(folder: Path) -> list[Job]:
    """Build, training, import, predict, and build in shards, in this order, on phantoms in
    ``folder``."""
    cohort, study = folder / "cohort", folder / "study"
    data, trained = folder / "prep build", folder / "train.py"
    apart(_write_inputs, cohort, study)
    build = [
        "build",
        "--phantom",
        cohort,
        "--view",
        "4ch",
        "--size",
        SIZE,
        "--modes",
        2,
        "--jobs",
        1,
        "--out",
    ]
    shards = [*build[:-1], "--shard-cases", 4, "--out"]
    predict = ["predict", cohort / "images", "--jobs", 0, "--ckpt", trained, "--out"]
    return [
        Job("prep build", partial(prep_command, build), _digest_data),
        Job("train.py", partial(_train, data), _digest_run),
        Job("prep import", partial(prep_command, ["import", "dicom", study, "--out"]), digest_all),
        Job("jssm predict", partial(_jssm, predict), _digest_results),
        Job("prep build, shards", partial(prep_command, shards), _digest_data),
    ]


def kill(job: Job, folder: Path, kills: int, seed: int) -> tuple[dict[str, Any], str]:
    """Run a command whole, then again with SIGKILL at random moments; a row, and the digest."""
    reference, out = folder / job.name, folder / "killed"
    began = time.monotonic()
    status, said = start(job.work, reference)
    whole_s = time.monotonic() - began
    if status:
        raise RuntimeError(f"{job.name}: {said}")
    wanted, rng, done, lost, ended = apart(job.digest, reference), random.Random(seed), 0, [], 0
    while done < kills:
        status, said = start(job.work, out, kill_after_s=rng.uniform(0, whole_s))
        done += status == -9
        lost += [f"lost: {said}"] if status not in (0, -9) else []
        lost += [f"lost: {name} is cut off" for name in apart(broken, out)]
        if status != -9:  # it was quicker; the next one begins anew
            ended += 1
            lost += [] if apart(job.digest, out) == wanted else ["lost: the bits differ"]
            shutil.rmtree(out)
    status, said = start(job.work, out)
    lost += [f"lost: {said}"] if status else []
    lost += [] if apart(job.digest, out) == wanted else ["lost: the bits differ"]
    shutil.rmtree(out)
    row = {
        "command": job.name,
        "s, not interrupted": whole_s,
        "SIGKILLs": done,
        "runs to the end": ended + 1,
        "outcome": "; ".join(dict.fromkeys(lost)) or "the same bits",
    }
    return row, wanted


def try_faults(job: Job, folder: Path, wanted: str) -> Rows:
    """What a command says of a full disk, a folder without permission and another writer, and
    whether it goes on to the same bits when that is mended."""
    from jssm.files.whole import alone

    rows, size = [], sum(p.stat().st_size for p in (folder / job.name).rglob("*") if p.is_file())
    with disk(folder / "disk", size // 2) as resize:
        out = folder / "disk" / "out"
        rows.append(_row(job, "a full disk", *start(job.work, out)))
        resize("size=1g")
        rows[-1] |= _mended(job, out, wanted)
        shutil.rmtree(out)
        out.mkdir()
        resize("ro")
        rows.append(_row(job, "a read-only folder", *start(job.work, out)))
        resize("rw")
        rows[-1] |= _mended(job, out, wanted)
        shutil.rmtree(out)
        with alone(out):
            rows.append(_row(job, "another at work there", *start(job.work, out)))
        rows[-1] |= _mended(job, out, wanted)
        shutil.rmtree(out)
        status, said = start(partial(_with_jumping_clock, job.work), out)
        rows.append(_row(job, "a clock that jumps", status, said, is_error=bool(status)))
        rows[-1] |= _mended(job, out, wanted)
    return rows


def try_training(job: Job, folder: Path, wanted: str) -> Rows:
    """What a training says of another data set in the place of its own, and of a checkpoint of
    which one file is cut off."""
    out, rows = folder / "run", []
    shutil.copytree(folder / job.name, out)
    points = folder / "prep build" / "points.npy"
    before = points.read_bytes()
    points.write_bytes(before[:-8] + bytes(8))
    rows.append(_row(job, "another data set", *start(job.work, out)))
    points.write_bytes(before)
    rows[-1] |= _mended(job, out, wanted)
    for path in sorted(p for p in (out / "checkpoints" / "latest").rglob("*") if p.is_file()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        status, said = start(job.work, out)
        path.write_bytes(content)
        what = f"{path.name} cut off"
        rows.append(_row(job, what, status, said, is_error=bool(status)))
        rows[-1] |= _mended(job, out, wanted)
    return rows


@contextmanager
def disk(place: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A small file system in memory; gives what mounts it with other options. Needs root."""

    def remount(options: str) -> None:
        mount(["mount", "-o", f"remount,{options}", place])

    place.mkdir(exist_ok=True)
    mount = partial(subprocess.run, check=True, capture_output=True)
    mount(["mount", "-t", "tmpfs", "-o", f"size={max(size, 8192)}", "none", place])
    try:
        yield remount
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def start(
    work: Callable[[Path], int], out: Path, *, kill_after_s: float | None = None
) -> tuple[int, str]:
    """Run a command in a process; gives its status, -9 when it was killed, and what it said."""
    with tempfile.NamedTemporaryFile("r") as log:
        process = FORK.Process(target=_run, args=(work, out, log.name))
        process.start()
        process.join(kill_after_s)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode or 0, log.read()


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """A function's result, from a process of its own."""
    here, there = FORK.Pipe(duplex=False)

    def work() -> None:
        there.send(function(*args))
        os._exit(0)  # its threads are not waited for

    process = FORK.Process(target=work)
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def broken(out: Path) -> list[str]:
    """The files that look whole, by their names and seals, and are not."""
    found = []
    for path in out.rglob("*"):
        is_partial = any(mark in part for mark in PARTIAL for part in path.parts)
        if path.is_file() and not is_partial and _is_sealed(path, out):
            try:
                _read(path)
            except Exception as error:
                found.append(f"{path.relative_to(out)} ({error})")
    return found


def _is_sealed(path: Path, out: Path) -> bool:
    """Whether what tells that a folder is whole is there, where one does."""
    if path.parent.suffix == ".zarr" or (path.parent == out and path.suffix in (".npy", ".npz")):
        return (out / "dataset.json").exists()
    of_cine = path.parent != out and (path.parent / "points.csv").exists()
    return not of_cine or (path.parent / "summary.json").exists()


def _read(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".npy":
        np.load(path)
    elif path.parent.suffix == ".zarr":
        np.asarray(opened(path.parent, path.parent.parent / SEAL))
    elif path.suffix == ".npz":
        np.load(path).items()
    elif path.suffix == ".gz":
        gzip.decompress(path.read_bytes())
    elif path.suffix == ".csv" and not path.read_text().endswith("\n"):
        assert path.stat().st_size == 0, "its last line is cut off"


def _show(rows: Rows) -> Rows:
    """The same rows, told at once: all of it takes minutes."""
    for row in rows:
        print("  ".join(map(str, row.values())), file=sys.stderr, flush=True)
    return rows


def _row(job: Job, fault: str, status: int, said: str, *, is_error: bool = True) -> dict[str, Any]:
    """One row; what is no sentence with an error's status counts as lost."""
    lines = [line for line in said.splitlines() if line.startswith((f"{job.name}:", "prep:"))]
    sentence = lines[-1] if lines else ""
    wrong = "Traceback" in said or bool(status) != is_error or (is_error and not sentence)
    return {
        "command": job.name,
        "fault": fault,
        "status": status,
        "said": f"lost: {said[-800:]}" if wrong else sentence.replace(str(job.work), ""),
    }


def _mended(job: Job, out: Path, wanted: str) -> dict[str, str]:
    status, said = start(job.work, out)
    same = not status and apart(job.digest, out) == wanted
    return {"then": "the same bits" if same else f"lost: {said[-300:]}"}


def _run(work: Callable[[Path], int], out: Path, log: str) -> None:
    """In the process: whatever it says goes into a file."""
    descriptor = os.open(log, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    status = 1
    try:
        status = work(out)
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def _with_jumping_clock(work: Callable[[Path], int], out: Path) -> int:
    """A day back and forth, each time that it is asked."""
    real, asked = time.time, iter(range(10**9))
    time.time = lambda: real() + 86400 * (-1) ** next(asked)
    return work(out)


def _write_inputs(cohort: Path, study: Path) -> None:
    from benchmarks.study import write_study
    from prep.phantom.cohort import write_cohort
    from prep.phantom.patient import Options

    write_cohort(Options("4ch", PATIENTS, 0, FRAMES, SIZE, 88), cohort)
    write_study(study, 4, FRAMES)


def prep_command(words: list, out: Path) -> int:
    from prep.__main__ import main

    return main([str(word) for word in (*words, out)])


def _jssm(words: list, out: Path) -> int:
    from jssm.__main__ import main

    return main([str(word) for word in (*words, out)])


def _train(data: Path, out: Path) -> int:
    options = {
        "data": data, "model.width": 4, "model.num_modes": 2, "model.searches": 0,
        "model.locate_size": 0, "train.validate_every": 1,
        "train.batch_size": 4, "train.epochs": 12, "train.points_epochs": 6,
    }  # fmt: skip
    flags = [f"--config.{name}={value}" for name, value in options.items()]
    sys.argv = ["train.py", "--config", "configs/small.py", *flags, "--workdir", str(out)]
    from jssm.training import loop

    loop.SAVE_S = 0.0  # a checkpoint after each validation, to be hit more often
    try:
        runpy.run_path("train.py", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _digest_files(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()


def _digest_data(out: Path) -> str:
    return _digest_files([p for p in [*out.iterdir(), *out.glob("*.zarr/*")] if p.is_file()])


def digest_all(out: Path) -> str:
    return _digest_files([p for p in out.rglob("*") if p.is_file() and p.suffix != ".tmp"])


def _digest_results(out: Path) -> str:
    names = ("points.csv", "mask.nii.gz", "summary.json", "curves.csv")
    return _digest_files([p for name in names for p in out.rglob(name)])


def _digest_run(out: Path) -> str:
    import jax

    from jssm import checkpoint

    whole = hashlib.sha256()
    for step in ("best", "latest"):
        for leaf in jax.tree.leaves(checkpoint.read_weights(out, step=step)):
            whole.update(np.asarray(leaf).tobytes())
    for line in (out / "metrics.jsonl").read_text().splitlines():
        values = json.loads(line)
        values.pop("images_per_second")
        whole.update(json.dumps(values).encode())
    return whole.hexdigest()
