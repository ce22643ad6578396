"""``jssm COMMAND``, the same as ``python -m jssm COMMAND``: what is done with a trained model."""

import argparse
import importlib
import sys

from jssm import runtime

# What each command does, by the module that adds and runs it: it is imported when it is asked for.
COMMANDS = {
    "jssm.cines.command": {"predict": "segment a scanner's files and measure motion and strain"},
    "jssm.report.command": {
        "report": "write a page for each patient, to look at results and to correct them",
        "modes": "write a page to explore the modes of a shape model",
    },
    "jssm.cines.measuring": {
        "measure": "write all outputs anew from points that were corrected in a report",
    },
    "jssm.methods.export": {"export": "write a trained model as one file for plain JAX"},
    "jssm.methods.packing": {
        "pack": "write a trained model as one small file",
        "models": "list the models that come with the package",
    },
    "jssm.evaluation.calibration": {"calibrate": "find how sure a packed model may be"},
}


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; gives its exit status, 1 with one sentence where it cannot work."""
    runtime.prepare()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="jssm", description=__doc__)
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    for home, helps in COMMANDS.items():
        if arguments and arguments[0] in helps:
            importlib.import_module(home).add_parser(commands)
        else:
            for name, text in helps.items():
                commands.add_parser(name, help=text)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"jssm {args.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
