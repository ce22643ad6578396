"""``python -m benchmarks COMMAND``, or ``--help``.

Speed beside the peers, of the feed and of a study, with tables, JSON and plots; for motion, the
errors of strain and volumes of phantoms, for agreement those of real hearts; for faults, what is
left of commands that are killed; for tables, the scores of the paper beside those of other systems.
"""

import argparse
import sys

from benchmarks import agreement, faults, feed, motion, predict, prep, rasterizer, study, train
from benchmarks.tables import cli as tables
from jssm import runtime

COMMANDS = (rasterizer, train, feed, predict, study, prep, motion, agreement, faults, tables)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (
        rasterizer,
        train,
        feed,
        predict,
        study,
        prep,
        motion,
        agreement,
        faults,
        tables,
    ):
        module.add_parser(commands)
    args = parser.parse_args(arguments)
    runtime.prepare()
    return args.run(args) or 0


if __name__ == "__main__":
    sys.exit(main())
