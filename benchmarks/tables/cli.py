"""``python -m benchmarks tables``: the paper's tables and figures, as far as they are not done yet.

    python -m benchmarks tables --table 1 --data data/2ch data/3ch data/4ch --small --out tables

Every row is a run of train.py and eval.py under OUT/runs; rows that several tables share are
trained once, finished ones are kept, and one that was stopped goes on.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks.tables import plan, runs, writing
from benchmarks.tables.plan import Size, Table
from benchmarks.tables.runs import Source
from benchmarks.tables.writing import Row


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``tables``."""
    parser = commands.add_parser("tables", help="the paper's tables, beside other systems")
    add = parser.add_argument
    add("--table", type=int, required=True, choices=range(1, 7), nargs="+", metavar="1..6",
        help="which: 1 methods, 2 backbones, 3 loss terms, 4 modes, 5 weight of the mask loss, "
        "6 beyond the paper")  # fmt: skip
    add("--data", type=Path, required=True, nargs="+", help="data sets, one per view")
    add("--small", action="store_true", help="networks for two CPU cores (configs/small.py)")
    add("--out", type=Path, required=True, help="folder of runs, tables and pictures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train what is missing, write the tables; 1 where a run failed, 2 for bad input."""
    size = plan.SMALL if args.small else plan.FULL
    try:
        sources = [runs.source(path) for path in args.data]
        if len({source.path.name for source in sources}) < len(sources):
            raise ValueError("--data: two data sets have the same name, expected different ones")
    except (ValueError, OSError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    tables = [plan.table(number, size) for number in args.table]
    failures = {}
    try:
        failures = train(tables, sources, size, args.out)
    except KeyboardInterrupt:
        print("tables: stopped; the same command continues", file=sys.stderr)
        return 130
    for table in tables:
        rows = rows_of(table, sources, size, args.out)
        if rows:
            paths = writing.write(table, rows, args.out)
            print(writing.markdown(table, rows))
            print("".join(f"wrote {path}\n" for path in paths), end="")
    for folder, message in failures.items():
        print(f"tables: {folder}: {message}", file=sys.stderr)
    return int(bool(failures))


def train(tables: list[Table], sources: list[Source], size: Size, out: Path) -> dict[Path, str]:
    """Finish every run of the tables; those that failed, with the reason."""
    wanted = {
        found.folder: found
        for table in tables
        for source in sources
        for variant in table.variants
        for found in [runs.run_of(variant, source, size, out)]
    }
    failures: dict[Path, str] = {}
    with tqdm(total=len(wanted), desc="tables", unit="run") as bar:
        for folder, wanted_run in wanted.items():
            try:
                runs.finish(wanted_run, bar)
            except (runs.Failed, ValueError) as error:
                failures[folder] = str(error)
            bar.update()
    return failures


def rows_of(table: Table, sources: list[Source], size: Size, out: Path) -> list[Row]:
    """The rows whose runs are finished, data set by data set."""
    return [
        Row(source.path.name, source.view, variant.label, found, writing.read_cases(found))
        for source in sources
        for variant in table.variants
        for found in [runs.run_of(variant, source, size, out)]
        if found.cases.is_file()
    ]
