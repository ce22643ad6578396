"""``python -m prep phantom | import | build | extend | join | verify | landmarks``.

From nothing or a scanner to a data set; and landmarks in images by a network.
"""

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prep.dataset import settings
from prep.dataset.settings import Settings
from prep.errors import Refused
from prep.importer import add_parser as add_import_parser
from prep.landmark_network.cli import add_parser as add_landmark_parser
from prep.phantom.cli import add_parser as add_phantom_parser
from prep.pool import add_engine, opened

if TYPE_CHECKING:
    from prep.dataset import build

GOES_ON = "what is finished is kept, and the same command goes on with it"
BEGINS_ANEW = "empty --out, which is not finished, and run the same command again"
PHANTOM_PATIENT = r"(phantom\d+)"  # in the names of its files, of all views


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; gives 0, 1 when some input was bad, or 2 when nothing was done."""
    parser = argparse.ArgumentParser(prog="python -m prep", description=__doc__)
    parser.set_defaults(mended=GOES_ON)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_phantom_parser(commands)
    add_import_parser(commands)
    add_build_parser(commands)
    add_extend_parser(commands)
    add_join_parser(commands)
    add_verify_parser(commands)
    add_landmark_parser(commands)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except OSError as error:  # a full disk, a folder that may not be written to
        return _refuse(f"{error}; {args.mended}")


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
    add("--layout", help="camus, mnms2 or cmr-multi: a public set as it comes, in place of the two "
        "folders; --label and --patient-regex are its own (docs/DATA.md)")  # fmt: skip
    add("--root", type=Path, help="with --layout: the folder of the set")
    add("--held-out", default="val", help="with --layout: the part of the set's own split that "
        "becomes the validation, val or test (default val)")  # fmt: skip
    add("--quality", default="Poor", help="with --layout camus: images of this "
        "quality or better, Good, Medium or Poor (default Poor)")  # fmt: skip
    add("--out", type=Path, required=True, help="the data set's folder")
    settings.add_options(parser, [item.name for item in fields(Settings) if item.metadata])
    add("--split", type=Path, help="CSV table patient,split that decides the split instead")
    add("--landmarks", type=Path, help="CSV table case,apex_x,apex_y,basal1_x,... in px")
    add_shards(parser)
    add("--jobs", type=int, default=-1, help="processes (default: one per core)")
    add_engine(parser)
    parser.set_defaults(run=run_build)


def add_shards(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--shard-cases``."""
    parser.add_argument("--shard-cases", type=_count, default=0, metavar="K", help="images and "
        "masks in shards of K cases, such as 1000, in place of one file each")  # fmt: skip


def _count(text: str) -> int:
    """A number of cases; 0 for none."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: a number of cases was expected")
    return int(text)


def run_build(args: argparse.Namespace) -> int:
    """Build; lists the bad inputs at the end."""
    from prep.dataset import build

    try:
        request = _build_request(args)
        with opened(args.jobs, args.dask, args.out) as pool:
            outcome = build.run(replace(request, pool=pool))
    except Refused as error:
        return _refuse(str(error))
    return _tell(
        f"{outcome.included} of {outcome.total} cases included, mean point-mask Dice "
        f"{outcome.mean_dice:.4f}: {args.out} (report/report.html shows them)",
        outcome.bad,
        outcome.notes,
    )


def _build_request(args: argparse.Namespace) -> "build.Request":
    """What the flags of ``build`` ask for.

    Raises:
      Refused: naming the first flag that is wrong.
    """
    from prep.dataset import build, layouts

    ways = [args.images or args.masks, args.phantom, args.layout or args.root]
    if sum(way is not None for way in ways) > 1:
        raise Refused("--phantom or --layout takes the place of --images and --masks; give one")
    whole = (args.images and args.masks) or args.phantom or (args.layout and args.root)
    if not whole:
        raise Refused("--images and --masks, or --phantom, or --layout and --root are needed")
    if args.jobs == 0:
        raise Refused("--jobs 0: a number of processes, or -1 for every core, was expected")
    public = None
    for name in ("images", "masks", "phantom", "root", "out") if args.dask else ():
        path = getattr(args, name)
        setattr(args, name, path and path.absolute())  # the workers may run in other folders
    if args.layout:
        public = layouts.Public(args.layout, args.root, args.held_out, args.quality)
        args.label = layouts.of_name(args.layout).label
    if args.phantom and args.patient_regex is None:
        args.patient_regex = PHANTOM_PATIENT
    folder = args.phantom or args.root
    return build.Request(
        images=args.phantom / "images" if args.phantom else args.root or args.images,
        masks=args.phantom / "masks" if args.phantom else args.root or args.masks,
        truth=args.phantom / "truth" if args.phantom else None,
        out=args.out,
        settings=settings.from_arguments(args),
        source=f"{args.layout or 'phantom'} {folder.name}" if folder else "",
        landmarks=args.landmarks,
        split=args.split,
        public=public,
        shard_cases=args.shard_cases,
    )


def add_extend_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``extend``."""
    parser = commands.add_parser(
        "extend",
        help="add images to a data set: corrected ones, or with the cavity or nothing drawn",
        description="Write a new data set: an old one, its shape model included, and images of "
        "which only the cavity is drawn, or nothing, or whose points were corrected in a report.",
    )
    add = parser.add_argument
    add("base", type=Path, help="what `prep build` wrote")
    add("--images", type=Path, help="folder of images (PNG, JPEG, NIfTI, MetaImage)")
    add("--points", type=Path, nargs="+", metavar="POINTS.json", default=(), help="in place of "
        "images: what a report saved; its corrected frames are the new cases")  # fmt: skip
    add("--cavities", type=Path, help="folder of masks of the cavity, closed by a straight mitral "
        "line; a mask has the stem of its image (default: images without labels)")  # fmt: skip
    add("--walls", default="", metavar="MODEL", help="with --cavities: whole walls around those of "
        "patients to train on, completed by this model, such as mri")  # fmt: skip
    add("--out", type=Path, required=True, help="the new data set's folder")
    settings.add_options(
        parser,
        ["label", "patient_regex", "every", "spacing_mm", "val_fraction", "seed"],
        label="the cavity's value in the masks",
        val_fraction="of the new patients",
    )
    add("--split", type=Path, help="CSV table patient,split that decides the split instead")
    add_shards(parser)
    parser.set_defaults(run=run_extend, mended=BEGINS_ANEW)


def run_extend(args: argparse.Namespace) -> int:
    """Extend; lists the bad inputs at the end."""
    from prep.dataset import extend

    try:
        request = extend.Request(
            base=args.base,
            images=args.images,
            cavities=args.cavities,
            walls=args.walls,
            points=tuple(args.points),
            out=args.out,
            settings=settings.from_arguments(args),
            split=args.split,
            shard_cases=args.shard_cases,
        )
        outcome = extend.run(request)
    except Refused as error:
        return _refuse(str(error))
    return _tell(
        f"{outcome.included} of {outcome.total} new cases included: {args.out}",
        outcome.bad,
        outcome.notes,
    )


def add_join_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``join``."""
    parser = commands.add_parser(
        "join",
        help="several data sets as one; images and masks stay where they are",
        description="Write a data set of the cases of several others, with the shape model of the "
        "first. Its images and masks stay in their folders, which have to stay where they are.",
    )
    add = parser.add_argument
    add("folders", type=Path, nargs="+", help="what `prep build` wrote, two or more")
    add("--out", type=Path, required=True, help="the new data set's folder")
    add("--prefix", action="store_true", help="put the name of its folder in front of every case "
        "and patient, where folders use the same names for others")  # fmt: skip
    parser.set_defaults(run=run_join, mended=BEGINS_ANEW)


def run_join(args: argparse.Namespace) -> int:
    """Join."""
    from prep.dataset import join

    try:
        count = join.run(join.Request(args.folders, args.out, args.prefix))
    except Refused as error:
        return _refuse(str(error))
    print(f"{count} cases of {len(args.folders)} data sets: {args.out}")
    return 0


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


def _tell(sentence: str, bad: list[str], notes: list[str]) -> int:
    """Print notes, what came of it and, to the errors, each bad input; the exit status."""
    for note in notes:
        print(f"note: {note}")
    print(sentence)
    for cause in bad:
        print(f"bad input: {cause}", file=sys.stderr)
    return 1 if bad else 0


def _refuse(sentence: str) -> int:
    print(f"prep: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
