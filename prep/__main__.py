"""``python -m prep phantom | import | build | extend | verify | landmarks``.

From nothing or a scanner to a data set; and landmarks in images by a network.
"""

import argparse
import sys
from pathlib import Path

from prep.errors import Refused
from prep.importer import add_parser as add_import_parser
from prep.landmarks.cli import add_parser as add_landmark_parser
from prep.phantom.cli import add_parser as add_phantom_parser


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; gives 0, 1 when some input was bad, or 2 when nothing was done."""
    parser = argparse.ArgumentParser(prog="python -m prep", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_phantom_parser(commands)
    add_import_parser(commands)
    add_build_parser(commands)
    add_extend_parser(commands)
    add_verify_parser(commands)
    add_landmark_parser(commands)
    args = parser.parse_args(arguments)
    return args.run(args)


def add_build_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``build``."""
    parser = commands.add_parser(
        "build",
        help="make a data set and a shape model from images and masks",
        description="Make a data set and a shape model from images and masks. A second run "
        "continues where the first one stopped.",
    )
    add = parser.add_argument
    add("--images", type=Path, help="folder of images (PNG, JPEG, NIfTI, MetaImage)")
    add("--masks", type=Path, help="folder of masks; a mask has the stem of its image")
    add("--phantom", type=Path, help="a cohort of `prep phantom`, in place of the two folders")
    add("--out", type=Path, required=True, help="the data set's folder")
    add("--label", type=int, default=1, help="the wall's value in the masks (default 1)")
    add("--patient-regex", help="its first group, in the file name, is the patient "
        "(default: the whole stem)")  # fmt: skip
    add("--view", default="unknown", help="free text, such as 4ch")
    add("--size", type=int, default=224, help="rows and columns of the data set (default 224)")
    add("--every", type=int, default=1, help="take every K-th frame (default 1)")
    add("--spacing", type=float, nargs=2, metavar=("ROW", "COLUMN"),
        help="mm per pixel of files that do not say")  # fmt: skip
    add("--points", type=int, default=88, help="points per shape, T (default 88)")
    add("--modes", type=int, default=30, help="modes of the shape model at most (default 30)")
    add("--min-dice", type=float, default=0.9,
        help="exclude cases whose points cover the mask less well (default 0.9)")  # fmt: skip
    add("--val-fraction", type=float, default=0.2, help="of the patients (default 0.2)")
    add("--split", type=Path, help="CSV table patient,split that decides the split instead")
    add("--landmarks", type=Path, help="CSV table case,apex_x,apex_y,basal1_x,... in px")
    add("--shape", default="horseshoe", help="how the two boundaries are found (horseshoe)")
    add("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add("--jobs", type=int, default=-1, help="processes (default: one per core)")
    parser.set_defaults(run=run_build)


def run_build(args: argparse.Namespace) -> int:
    """Build; lists the bad inputs at the end."""
    from prep.dataset import build, cases
    from prep.shapes import point_cloud

    if args.phantom is None and (args.images is None or args.masks is None):
        return _refuse("either --images and --masks or --phantom is needed")
    if args.phantom is not None and (args.images or args.masks):
        return _refuse("--phantom takes the place of --images and --masks; give one of the two")
    if args.shape not in point_cloud.SHAPES:
        return _refuse(f"--shape {args.shape}: one of {', '.join(point_cloud.SHAPES)} was expected")
    if args.jobs == 0:
        return _refuse("--jobs 0: a number of processes, or -1 for every core, was expected")
    settings = cases.Settings(
        size=args.size,
        label=args.label,
        num_points=args.points,
        seed=args.seed,
        min_dice=args.min_dice,
        spacing_mm=tuple(args.spacing) if args.spacing else None,
        shape=args.shape,
    )
    request = build.Request(
        images=args.phantom / "images" if args.phantom else args.images,
        masks=args.phantom / "masks" if args.phantom else args.masks,
        truth=args.phantom / "truth" if args.phantom else None,
        out=args.out,
        settings=settings,
        view=args.view,
        source=f"phantom {args.phantom.name}" if args.phantom else "",
        patient_regex=args.patient_regex,
        every=args.every,
        jobs=args.jobs,
        val_fraction=args.val_fraction,
        num_modes=args.modes,
        landmarks=args.landmarks,
        split=args.split,
    )
    try:
        outcome = build.run(request)
    except Refused as error:
        return _refuse(str(error))
    print(
        f"{outcome.included} of {outcome.total} cases included, mean point-mask Dice "
        f"{outcome.mean_dice:.4f}: {args.out} (report/report.html shows them)"
    )
    for sentence in outcome.bad:
        print(f"bad input: {sentence}", file=sys.stderr)
    return 1 if outcome.bad else 0


def add_extend_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``extend``."""
    parser = commands.add_parser(
        "extend",
        help="add images of which only the cavity, or nothing, is drawn to a data set",
        description="Write a new data set: an old one, its shape model included, and images of "
        "which only the cavity is drawn, or nothing.",
    )
    add = parser.add_argument
    add("base", type=Path, help="what `prep build` wrote")
    add("--images", type=Path, required=True, help="folder of images (PNG, NIfTI, MetaImage)")
    add("--cavities", type=Path, help="folder of masks of the cavity, closed by a straight mitral "
        "line; a mask has the stem of its image (default: images without labels)")  # fmt: skip
    add("--out", type=Path, required=True, help="the new data set's folder")
    add("--label", type=int, default=1, help="the cavity's value in the masks (default 1)")
    add("--patient-regex", help="its first group, in the file name, is the patient "
        "(default: the whole stem)")  # fmt: skip
    add("--every", type=int, default=1, help="take every K-th frame (default 1)")
    add("--spacing", type=float, nargs=2, metavar=("ROW", "COLUMN"),
        help="mm per pixel of files that do not say")  # fmt: skip
    add("--val-fraction", type=float, default=0.2, help="of the new patients (default 0.2)")
    add("--split", type=Path, help="CSV table patient,split that decides the split instead")
    add("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.set_defaults(run=run_extend)


def run_extend(args: argparse.Namespace) -> int:
    """Extend; lists the bad inputs at the end."""
    from prep.dataset import extend

    request = extend.Request(
        base=args.base,
        images=args.images,
        cavities=args.cavities,
        out=args.out,
        label=args.label,
        patient_regex=args.patient_regex,
        every=args.every,
        spacing_mm=tuple(args.spacing) if args.spacing else None,
        val_fraction=args.val_fraction,
        seed=args.seed,
        split=args.split,
    )
    try:
        outcome = extend.run(request)
    except Refused as error:
        return _refuse(str(error))
    print(f"{outcome.included} of {outcome.total} new cases included: {args.out}")
    for sentence in outcome.bad:
        print(f"bad input: {sentence}", file=sys.stderr)
    return 1 if outcome.bad else 0


def add_verify_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``verify``."""
    parser = commands.add_parser("verify", help="check a data set and list all that is wrong")
    parser.add_argument("directory", type=Path, help="what `prep build` wrote")
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Check; one line per finding."""
    from prep.dataset import verify

    findings = verify.check(args.directory)
    for sentence in findings:
        print(sentence)
    print(f"{args.directory}: {len(findings)} findings" if findings else f"{args.directory}: good")
    return 1 if findings else 0


def _refuse(sentence: str) -> int:
    print(f"prep: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
