"""``jssm COMMAND``, the same as ``python -m jssm COMMAND``: what is done with a trained model."""

import argparse
import sys

from jssm import runtime
from jssm.cines import command
from jssm.evaluation import calibration
from jssm.methods import export, packing


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; gives its exit status, 1 with one sentence where it cannot work."""
    parser = argparse.ArgumentParser(prog="jssm", description=__doc__)
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    command.add_parser(commands)
    export.add_parser(commands)
    packing.add_parsers(commands)
    calibration.add_parser(commands)
    args = parser.parse_args(arguments)
    runtime.prepare()
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"jssm {args.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
