"""``python -m benchmarks prep``: how fast a data set is made from phantoms."""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.measure import machine, measure
from benchmarks.report import Report


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``prep``."""
    parser = commands.add_parser("prep", help="the making of a data set, by processes")
    add = parser.add_argument
    add("--patients", type=int, default=8, help="phantoms (default 8)")
    add("--frames", type=int, default=3, help="cases of each (default 3)")
    add("--size", type=int, default=128, help="rows and columns (default 128)")
    add("--jobs", type=int, nargs="+", default=[1, 2], help="processes (default 1 2)")
    report.add_options(parser, "prep", repeats=3)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    from prep.dataset import build
    from prep.dataset.settings import Settings
    from prep.phantom.cohort import write_cohort
    from prep.phantom.patient import Options
    from prep.pool import Pool

    with tempfile.TemporaryDirectory() as folder:
        cohort, out = Path(folder) / "cohort", Path(folder) / "data"
        write_cohort(Options("4ch", args.patients, 0, args.frames, args.size, 88), cohort)

        def whole(jobs: int) -> None:
            shutil.rmtree(out, ignore_errors=True)
            request = build.Request(
                images=cohort / "images",
                masks=cohort / "masks",
                truth=cohort / "truth",
                out=out,
                settings=Settings(size=args.size),
                pool=Pool(jobs),
            )
            build.run(request)

        named = {f"{jobs}": lambda jobs=jobs: whole(jobs) for jobs in args.jobs}
        timings = measure(named, repeats=args.repeats)
    cases = args.patients * args.frames
    rows = [
        {
            "processes": jobs,
            "s per case": found.median_s / cases,
            "±%": found.spread_percent(),
            "cases per second": found.per_second(cases),
            "times as fast as the first": timings[f"{args.jobs[0]}"].median_s / found.median_s,
        }
        for jobs, found in timings.items()
    ]
    title = f"`prep build`, {cases} phantom cases of {args.size}×{args.size}"
    found_all = Report("prep", machine(), report.settings(args), {title: rows})
    report.bars(args.out / "prep.png", rows, ["cases per second"], title, "cases per second")
    found_all.write(args.out)
