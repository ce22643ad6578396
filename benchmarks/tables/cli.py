"""``python -m benchmarks tables``: the paper's tables and figures, as far as they are not done yet.

    python -m benchmarks tables --table 1 --data data/2ch data/3ch data/4ch --small --out tables

Every row is a run of train.py and eval.py under OUT/runs; rows that several tables share are
trained once, finished ones are kept, and one that was stopped goes on.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks.tables import beyond, details, figures, plan, runs, writing
from benchmarks.tables.plan import Size, Table
from benchmarks.tables.runs import Run, Source

METHODS, BEYOND = 1, 6  # the tables with pictures, and with parts of their own


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``tables``."""
    parser = commands.add_parser("tables", help="the paper's tables, beside other systems")
    add = parser.add_argument
    add("--table", type=int, required=True, choices=range(1, 8), nargs="+", metavar="1..7",
        help="which: 1 methods, 2 backbones, 3 loss terms, 4 modes, 5 weight of the mask loss, "
        "6 beyond the paper, 7 what ours is made of")  # fmt: skip
    add("--data", type=Path, required=True, nargs="+", help="data sets, one per view")
    add("--small", action="store_true", help="networks for two CPU cores (configs/small.py)")
    add("--longer", type=float, default=1.0, metavar="TIMES",
        help="how many times as many steps as the configuration means (1)")  # fmt: skip
    add("--out", type=Path, required=True, help="folder of runs, tables and pictures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train what is missing, write the tables; 1 where a run failed, 2 for bad input."""
    size = (plan.SMALL if args.small else plan.FULL)._replace(longer=args.longer)
    try:
        sources = [runs.source(path) for path in args.data]
        if len({source.path.name for source in sources}) < len(sources):
            raise ValueError("--data: two data sets have the same name, expected different ones")
        if args.longer <= 0:
            raise ValueError(f"--longer: {args.longer:g}, expected more than 0")
        tables = [plan.table(number, size) for number in args.table]
        wanted = {run.folder: run for t in tables for run in wanted_by(t, sources, size, args.out)}
    except (ValueError, OSError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    try:
        failures = train(list(wanted.values()))
        paths = [path for t in tables for path in write(t, sources, size, args.out)]
    except KeyboardInterrupt:
        print("tables: stopped; the same command continues", file=sys.stderr)
        return 130
    for path in paths:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    print("".join(f"wrote {path}\n" for path in paths), end="")
    for folder, message in failures.items():
        print(f"tables: {folder}: {message}", file=sys.stderr)
    return int(bool(failures))


def wanted_by(table: Table, sources: list[Source], size: Size, out: Path) -> list[Run]:
    """Every run that a table takes."""
    if table.number == BEYOND:
        return beyond.wanted(table, sources, size, out)
    return [runs.run_of(v, source, size, out) for source in sources for v in table.variants]


def train(wanted: list[Run]) -> dict[Path, str]:
    """Finish the runs; those that failed, with the reason."""
    failures: dict[Path, str] = {}
    with tqdm(total=len(wanted), desc="tables", unit="run") as bar:
        for each in wanted:
            try:
                runs.finish(each, bar)
            except (runs.Failed, ValueError) as error:
                failures[each.folder] = str(error)
            bar.update()
    return failures


def write(table: Table, sources: list[Source], size: Size, out: Path) -> list[Path]:
    """Write what the finished runs give; the paths."""
    rows = writing.rows_of(table, sources, size, out)
    if not rows:
        return []
    out.mkdir(parents=True, exist_ok=True)
    if table.number == BEYOND:
        return beyond.write(table, sources, size, out)
    paths = writing.write(table, rows, out)
    if table.number == METHODS:
        paths += details.write(rows, sources, out) + figures.write(rows, sources, out)
    return paths
