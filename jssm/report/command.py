"""``jssm report``: the pages of results."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``report``."""
    report = commands.add_parser(
        "report",
        description="Write the report of each patient, one page, from what jssm predict or jssm "
        "measure wrote.",
    )
    report.add_argument("directory", type=Path, metavar="DIR", help="a folder of results")
    report.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> int:
    """Write the pages; raises ValueError or OSError, in one sentence, where that cannot be."""
    from jssm.report.pages import write_pages

    pages = write_pages(args.directory)
    if not pages:
        raise ValueError(f"{args.directory}: no results of jssm predict that a report can show")
    for page in pages:
        print(page)
    return 0
