"""The command `python -m prep phantom`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prep.phantom.cohort import write_cohort
from prep.phantom.patient import CHOICES, Options
from prep.phantom.tissue import LOOKS
from prep.pool import add_engine


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand `phantom` and its options."""
    parser = subparsers.add_parser(
        "phantom",
        help="make a cohort of synthetic hearts with masks, points and true strain",
        description="Make cine sequences of synthetic hearts with their ground truth.",
    )
    parser.add_argument("--view", required=True, choices=CHOICES,
        help="long-axis view, all three of each patient, or three short-axis slices")  # fmt: skip
    parser.add_argument("--patients", required=True, type=int, help="number of patients")
    parser.add_argument("--out", required=True, type=Path, help="a new folder for the cohort")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--frames", type=int, default=30, help="frames of a cycle (default 30)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--points", type=int, default=88, help="points per outline (default 88)")
    parser.add_argument(
        "--looks",
        default="real",
        choices=LOOKS,
        help="signals of a scanner, or of any kind for half the patients (default real)",
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes (default: one per core)")
    add_engine(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the cohort; gives 0, 1 if a patient failed, 2 if an option is wrong."""
    try:
        if args.jobs == 0:
            raise ValueError("--jobs is 0, expected a number of processes or -1 for every core")
        options = Options(
            args.view, args.patients, args.seed, args.frames, args.size, args.points, args.looks
        )
        failures = write_cohort(options, args.out, jobs=args.jobs, dask=args.dask)
    except (ValueError, FileExistsError) as error:
        print(f"phantom: {error}", file=sys.stderr)
        return 2
    for failure in failures:
        print(f"phantom: {failure}", file=sys.stderr)
    total = args.patients * len(options.views)
    print(f"{total - len(failures)} cines of {total} written to {args.out}")
    return 1 if failures else 0
