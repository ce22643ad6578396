"""``jssm pack``, ``jssm models``: a trained model as one file, and those of the package."""

import argparse
import hashlib
from pathlib import Path

from jssm import weights
from jssm.steps import STEPS


def add_source(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Add the options that name a trained model: ``--model`` or ``--ckpt``, and ``--step``.

    One of the first two is required, unless ``default`` says what happens without.
    """
    source = parser.add_mutually_exclusive_group(required=not default)
    without = f"; by default {default}" if default else ""
    source.add_argument("--model", choices=sorted(weights.RELEASED), dest="source",
        help=f"a model that comes with the package (jssm models){without}")  # fmt: skip
    source.add_argument("--ckpt", dest="source",
        help="the run directory that train.py wrote, or a file of jssm pack")  # fmt: skip
    parser.add_argument("--step", choices=STEPS, default="best",
        help="which checkpoint of a run (best)")  # fmt: skip


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands ``pack`` and ``models``."""
    pack = commands.add_parser(
        "pack",
        description="Write settings, weights (in half precision) and shape model of a run as one "
        "file, which jssm.load and --ckpt take in place of the run directory; or the mean of its "
        "weights and of those of the models that it went on from.",
    )
    pack.add_argument("--ckpt", type=Path, required=True, help="the run directory")
    pack.add_argument("--mean-with", metavar="MODEL", nargs="+", default=(),
        help="take the mean of the weights and of those of these models, from which the run went "
        "on: it keeps more of what they knew")  # fmt: skip
    pack.add_argument("--step", choices=STEPS, default="best")
    pack.add_argument("--out", type=Path, required=True, help="the file to write, NAME.npz")
    pack.set_defaults(run=run_pack)
    models = commands.add_parser(
        "models", description="List the models that come with the package."
    )
    models.set_defaults(run=run_models)


def run_pack(args: argparse.Namespace) -> int:
    """Write the file; raises ValueError or OSError, in one sentence, where that cannot be."""
    from jssm.methods import model_file, registry

    if args.out.suffix != ".npz":
        raise ValueError(f"--out {args.out}: a name that ends in .npz was expected")
    config, arrays = registry.read(args.ckpt, step=args.step)
    if args.mean_with:
        others = {source: registry.read(source)[1] for source in args.mean_with}
        arrays = model_file.mean_of(arrays, others)
    model_file.write(args.out, config, arrays)
    content = args.out.read_bytes()
    print(f"wrote {args.out}: {len(content) / 2**20:.1f} MiB")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


def run_models(_: argparse.Namespace) -> int:
    """Print the table of the models of the package."""
    from tabulate import tabulate

    rows = [
        {"model": name, "for": model.shows, "licence of the weights": model.licence}
        for name, model in sorted(weights.RELEASED.items())
    ]
    print(tabulate(rows, headers="keys", tablefmt="github"))
    return 0
