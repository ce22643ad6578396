"""``python -m benchmarks study``: a study of DICOM cines from the prompt to the last file.

The study is made of phantoms. Each run is a process of its own; of several runs the quickest
counts, since what else a machine does can only slow it. Cold is a run whose cache of compiled
programs is empty.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.measure import machine
from benchmarks.report import Report, Rows

SHAPE = (256, 208)
VIEWS = ("2ch", "3ch", "4ch", "4ch")  # of each patient
FRAME_OF_REFERENCE = "1.2.9"
STARTS = {
    "`jssm --help`": ["-m", "jssm", "--help"],
    "`import jssm`": ["-c", "import jssm"],
    "`import jssm; jssm.load`": ["-c", "import jssm; jssm.load"],
    "`import jax`, for comparison": ["-c", "import jax"],
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``study``."""
    parser = commands.add_parser("study", help="jssm predict, from the prompt to the last file")
    add = parser.add_argument
    add("--cines", type=int, nargs="+", default=[4, 100], help="how many (default 4 100)")
    add("--frames", type=int, default=25, help="of each (default 25)")
    add("--model", default="mri", help="of the package, or a run directory (default mri)")
    add("--jobs", type=int, default=1, help="processes that write (default 1)")
    add("--outputs", default="", help="as for jssm predict (default all)")
    report.add_options(parser, "study", repeats=3)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    from jssm.cines.result import NAMES

    outputs = args.outputs or ",".join(NAMES)
    whole: Rows = []
    parts: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in args.cines:
            study = Path(folder) / f"study{count}"
            write_study(study, count, args.frames)
            for kind in ("cold", "warm") if count == min(args.cines) else ("warm",):
                found = quickest(study, args, outputs, kind == "cold", Path(folder) / "cache")
                whole.append({"cines": count, "cache": kind, **_whole(found)})
                parts.append({"cines": count, "cache": kind, **_parts(found)})
        starts = [{"": name, "s": start(words, args.repeats)} for name, words in STARTS.items()]
    tables = {
        "From the prompt to the last file": whole,
        "ms per frame written, in the processes that write": parts,
        "Starts": starts,
    }
    made = Report("study", machine(), report.settings(args), tables)
    made.notes.append(f"The quickest of {args.repeats}; load average {os.getloadavg()[0]:.1f}.")
    report.bars(args.out / "study.png", _bars(whole), ["s"], "jssm predict", "s")
    made.write(args.out)


def quickest(
    study: Path, args: argparse.Namespace, outputs: str, is_cold: bool, cache: Path
) -> dict[str, Any]:
    """What the quickest of several runs told, and its seconds."""
    words = [str(study), str(study.with_name("out")), args.model, str(args.jobs), outputs]
    command = [sys.executable, "-m", "benchmarks.study_child", *words]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    best: dict[str, Any] = {}
    for _ in range(args.repeats):
        if is_cold:
            shutil.rmtree(cache, ignore_errors=True)
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - began
        found = json.loads(done.stdout.splitlines()[-1]) | {"s": seconds}
        if found["damaged"]:
            raise ValueError(found["damaged"][0])
        best = min(best or found, found, key=lambda one: one["s"])
    return best


def start(words: list[str], repeats: int) -> float:
    """The seconds of the quickest of several starts of Python."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def _whole(found: dict[str, Any]) -> dict[str, Any]:
    ms = 1000 / found["frames"]
    return {
        "s": found["s"],
        "CPU s": found["own_cpu_s"] + found["writers_cpu_s"],
        "start and waiting for programs, s": found["start_s"],
        "in all after that, ms per frame": ms * found["work_s"],
        "reading": ms * found["read_s"],
        "segmenting": ms * found["segment_s"],
        "writing, beside": ms * sum(found["written_s"].values()),
        "most memory, MB": found["own_mb"],
        "of a writer": found["writers_mb"],
    }


def _parts(found: dict[str, Any]) -> dict[str, float]:
    return {name: 1000 * s / found["frames"] for name, s in found["written_s"].items()}


def _bars(whole: Rows) -> Rows:
    return [{"run": f"{row['cines']} cines, {row['cache']}", "s": row["s"]} for row in whole]


def write_study(folder: Path, count: int, frames: int) -> None:
    """Write ``count`` cines, four of each patient; all patients look alike, but have names of their
    own."""
    from prep.phantom.patient import Options, make_patient
    from tests import dicom_files

    rows, columns = SHAPE
    left = (rows - columns) // 2
    phantoms = [
        make_patient(Options(view, 1, seed=7, frames=frames, size=rows), number)
        for number, view in enumerate(VIEWS, 1)
    ]
    for k in range(count):
        phantom, patient = phantoms[k % len(VIEWS)], k // len(VIEWS) + 1
        pixels = phantom.images[:, :, left : left + columns]

        def show(data: Any, number: int, pixels: Any = pixels, phantom: Any = phantom) -> None:
            data.PixelData = pixels[number - 1].tobytes()
            data.PixelSpacing = phantom.truth["spacing_mm"].tolist()
            data.FrameOfReferenceUID = FRAME_OF_REFERENCE

        dicom_files.write_cine(
            folder / f"cine{k:03d}", frames=frames, view=VIEWS[k % len(VIEWS)], shape=SHAPE,
            series=f"1.2.3.{k + 1}", patient=f"patient{patient}", study=f"1.2.{patient}",
            change=show,
        )  # fmt: skip
