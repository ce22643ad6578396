"""``jssm report``, ``jssm modes``: the pages of results, and one of a shape model."""

import argparse
from pathlib import Path
from typing import Any

from jssm.report import record


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands ``report`` and ``modes``."""
    report = commands.add_parser(
        "report",
        description="Write the report of each patient, one page, from what jssm predict or jssm "
        "measure wrote.",
    )
    report.add_argument("directory", type=Path, metavar="DIR", help="a folder of results")
    report.set_defaults(run=run_report)
    modes = commands.add_parser(
        "modes",
        description="Write a page that shows a shape model: a slider for each mode within its "
        "bounds, and whether the shape folds over itself.",
    )
    modes.add_argument("source", metavar="RUN_OR_DATASET", help="a run directory, a file of jssm "
        "pack, the name of a model of the package, or what prep build wrote")  # fmt: skip
    modes.add_argument("--out", type=Path, default=Path("modes.html"), help="the page (modes.html)")
    modes.set_defaults(run=run_modes)


def run_report(args: argparse.Namespace) -> int:
    """Write the pages; raises ValueError or OSError, in one sentence, where that cannot be."""
    from jssm.report.pages import write_pages

    pages = write_pages(args.directory)
    if not pages:
        raise ValueError(f"{args.directory}: no results of jssm predict that a report can show")
    for page in pages:
        print(page)
    return 0


def run_modes(args: argparse.Namespace) -> int:
    """Write the page; raises ValueError or OSError, in one sentence, where that cannot be."""
    from jssm.report.page import page

    shape = shape_of(args.source)
    data = {"source": Path(args.source).name, "shape": shape}
    args.out.write_text(page(f"Modes of {data['source']}", "modes", data), encoding="utf-8")
    print(args.out)
    return 0


def shape_of(source: str) -> dict[str, Any]:
    """The shape model of a data set, a run or a model, as lists of numbers, and whether it is
    closed.

    Raises:
      OSError, ValueError: when there is none.
    """
    from jssm.methods import registry
    from jssm.shape import shape_model

    path = Path(source) / "shape_model.npz"
    if path.is_file():
        arrays = vars(shape_model.load(path))
    else:
        arrays = registry.read(source)[1].get("shape", {})
    if not arrays:
        raise ValueError(f"{source}: its method has no shape model")
    numbers = {name: record.numbers(arrays[name], 7) for name in ("mean", "modes", "variances")}
    return numbers | {"closed": bool(arrays.get("closed", False))}
