"""The command ``python -m prep landmarks train | apply``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prep.errors import Refused


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``landmarks`` with its two."""
    parser = commands.add_parser(
        "landmarks",
        help="train a network that finds the landmarks in images, or apply one",
        description="Landmarks of images that have no mask, by a network.",
    )
    kinds = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train_parser(kinds)
    _add_apply_parser(kinds)


def _add_train_parser(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "train",
        help="train on the masks of a data set",
        description="Train on the masks of a data set, and report the errors on its held-out "
        "patients. The same command goes on where it was stopped.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="what `prep build` wrote")
    add("--out", type=Path, required=True, help="the run's folder")
    add("--size", type=int, default=64, help="side of what the network sees, px (default 64)")
    add("--width", type=int, default=16, help="channels of its first level (default 16)")
    add("--levels", type=int, default=4, help="halvings of the resolution (default 4)")
    add("--epochs", type=int, default=15, help="passes over the training cases (default 15)")
    add("--batch-size", type=int, default=16, help="images per step (default 16)")
    add("--seed", type=int, default=0, help="same seed, same network (default 0)")
    add("--threshold", type=float, default=0.5, help="of the report's confidence (default 0.5)")
    parser.set_defaults(run=run_train)


def _add_apply_parser(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "apply",
        help="find the landmarks of a folder of images",
        description="Find the landmarks of a folder of images (PNG, JPEG, NIfTI, MetaImage) that "
        "have no masks. Where the network is not sure it gives none.",
    )
    add = parser.add_argument
    add("--ckpt", type=Path, required=True, help="what `prep landmarks train` wrote")
    add("--images", type=Path, required=True, help="a folder of images or cines")
    add("--out", type=Path, required=True, help="CSV table for `prep build --landmarks`")
    add("--threshold", type=float, default=0.5, help="least confidence, 0 to 1 (default 0.5)")
    add("--every", type=int, default=1, help="take every K-th frame (default 1)")
    add("--align", type=Path, help="also write the frames, upright and at one size, here")
    add("--align-size", type=int, default=128, help="their side in px (default 128)")
    parser.set_defaults(run=run_apply)


def run_train(args: argparse.Namespace) -> int:
    """Train; prints the errors on held-out patients, and lists the masks without landmarks."""
    from jssm.training.loop import Stopped
    from prep.landmark_network import training
    from prep.landmark_network.locator import Settings

    settings = Settings(
        size=args.size,
        width=args.width,
        levels=args.levels,
        epochs=args.epochs,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    try:
        _check([
            (args.size >= 16, f"--size {args.size}: at least 16 was expected"),
            (args.width >= 1, f"--width {args.width}: at least 1 was expected"),
            (args.levels >= 1, f"--levels {args.levels}: at least 1 was expected"),
            (args.epochs >= 1, f"--epochs {args.epochs}: at least 1 was expected"),
            (args.batch_size >= 1, f"--batch-size {args.batch_size}: at least 1 was expected"),
            _threshold_rule(args),
        ])  # fmt: skip
        report, without = training.train(args.data, args.out, settings, threshold=args.threshold)
    except Refused as error:
        return _refuse(str(error))
    except Stopped as stopped:
        return _refuse(str(stopped), code=130)
    except KeyboardInterrupt:
        return _refuse("stopped; the same command goes on", code=130)
    print(f"{report}written to {args.out}")
    return _list("no landmarks", without)


def run_apply(args: argparse.Namespace) -> int:
    """Apply; lists the frames without landmarks and the unusable files."""
    from prep.landmark_network import apply, locator

    try:
        _check([
            (args.images.is_dir(), f"--images {args.images}: a folder of images was expected"),
            (args.every >= 1, f"--every {args.every}: at least 1 was expected"),
            (args.align_size >= 16, f"--align-size {args.align_size}: at least 16 was expected"),
            _threshold_rule(args),
        ])  # fmt: skip
        found = apply.apply(
            locator.load(args.ckpt),
            args.images,
            args.out,
            threshold=args.threshold,
            every=args.every,
            align=args.align,
            align_size=args.align_size,
        )
    except Refused as error:
        return _refuse(str(error))
    total = found.found + len(found.abstained)
    print(f"landmarks of {found.found} of {total} frames: {args.out}")
    return max(_list("no landmarks", found.abstained), _list("bad input", found.bad))


def _threshold_rule(args: argparse.Namespace) -> tuple[bool, str]:
    return 0 < args.threshold <= 1, f"--threshold {args.threshold}: not in 0..1"


def _check(rules: list[tuple[bool, str]]) -> None:
    for good, sentence in rules:
        if not good:
            raise Refused(sentence)


def _list(kind: str, sentences: list[str]) -> int:
    for sentence in sentences:
        print(f"{kind}: {sentence}", file=sys.stderr)
    return 1 if sentences else 0


def _refuse(sentence: str, code: int = 2) -> int:
    print(f"landmarks: {sentence}", file=sys.stderr)
    return code
