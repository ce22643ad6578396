"""``jssm COMMAND``, the same as ``python -m jssm COMMAND``: what is done with a trained model."""

import argparse
import sys

from jssm import compile_cache, export, predicting


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; gives its exit status."""
    parser = argparse.ArgumentParser(prog="jssm", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    predicting.add_parser(commands)
    export.add_parser(commands)
    args = parser.parse_args(arguments)
    compile_cache.enable()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
