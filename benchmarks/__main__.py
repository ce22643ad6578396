"""``python -m benchmarks rasterizer | train | predict | prep``: speed beside the peers.

Each command prints tables and writes them to its folder, with a plot.
"""

import argparse
import sys

from benchmarks import predict, prep, rasterizer, train


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (rasterizer, train, predict, prep):
        module.add_parser(commands)
    args = parser.parse_args(arguments)
    args.run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
