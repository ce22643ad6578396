"""``jssm predict``: files of scanners to masks, points, motion, strain and movies.

docs/PREDICT.md tells what is written.
"""

import argparse
import importlib.util
import signal
import sys
import time
from pathlib import Path

from jssm.cines import writing
from jssm.cines.batch import predict_all
from jssm.cines.options import BATCH_SIZE, HARMONICS, VIEWS, Options
from jssm.cines.result import NAMES
from jssm.methods import packing

EXTRAS = ("pydicom", "nibabel", "SimpleITK", "highdicom")
STOPPED = 130  # the exit status after Ctrl-C, by custom


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``predict``."""
    parser = commands.add_parser(
        "predict",
        description="Segment every cine of DICOM, NIfTI, MetaImage or picture files, and write "
        "masks, points, movies, motion and strain into a folder for each.",
    )
    add = parser.add_argument
    packing.add_source(parser, default="that for the modality which a DICOM file tells")
    add("inputs", type=Path, nargs="+", metavar="INPUT", help="files, or folders however deep")
    add("--out", type=Path, required=True, help="gets a folder for each cine, and cines.csv")
    add("--view", nargs="+", choices=VIEWS, help="segment cines of these views alone (default: "
        "all but short-axis cines and those described as another plane)")  # fmt: skip
    add("--smooth", type=int, default=HARMONICS, metavar="N", help="harmonics of the heart cycle "
        f"in the one fit of all frames ({HARMONICS}); 0 takes each frame alone")  # fmt: skip
    add("--half-cycle", action="store_true",
        help="the cines do not show a whole heart cycle")  # fmt: skip
    add("--mirrored", action="store_true", help="where a file does not say how it lies in the "
        "patient: the septum is on the right with the apex up, as in most MRI; else the septal "
        "and lateral names of the segments are exchanged")  # fmt: skip
    add("--least-confidence", type=float, metavar="C", help="refuse frames of which a lower Dice "
        "is to be expected; 0 keeps all (default: what the model has learned)")  # fmt: skip
    add("--batch-size", type=int, default=BATCH_SIZE, help=f"frames at a time ({BATCH_SIZE})")
    add("--outputs", default=",".join(NAMES), metavar="NAME,...",
        help=f"what to write beside the summaries ({','.join(NAMES)})")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="processes that write while this one computes; 0 for "
        f"none (default: one for two cores, at most {writing.MOST})")  # fmt: skip
    add("--patient-regex", default="", help="its first group, in the cine's name, is the patient, "
        "for biplane volumes of files other than DICOM")  # fmt: skip
    add("--salt", default="", help="a secret word for the pseudonyms, so that nobody can find a "
        "patient's by trying")  # fmt: skip
    add("--keep-names", action="store_true", help="write the patients' own names and ids")
    add("--dask", default="", metavar="ADDRESS", help="of a dask scheduler, such as "
        "tcp://host:8786, whose workers do it (docs/SCALE.md)")  # fmt: skip
    parser.set_defaults(run=run)


def options_of(args: argparse.Namespace) -> Options:
    """The options that the command line gives."""
    return Options(
        inputs=args.inputs,
        source=args.source,
        out=args.out,
        step=args.step,
        views=args.view or (),
        harmonics=args.smooth,
        whole_cycle=not args.half_cycle,
        mirrored=args.mirrored,
        least_confidence=args.least_confidence,
        batch_size=args.batch_size,
        outputs=[name for name in args.outputs.split(",") if name],
        jobs=writing.usual_number() if args.jobs is None else args.jobs,
        patient_regex=args.patient_regex,
        salt=args.salt,
        keep_names=args.keep_names,
        dask=args.dask,
    )


def run(args: argparse.Namespace) -> int:
    """Segment all; lists at the end what was passed over and what is damaged.

    Gives 0, 1 when some input was bad, 2 when nothing was done, or 130 when it was stopped: then
    what is finished is in the tables.
    """
    began = time.perf_counter()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        _check_extras()
        options = options_of(args)
        outcome = predict_all(options, began=began)
    except KeyboardInterrupt:
        print(f"jssm predict: stopped; what is finished is in {args.out}", file=sys.stderr)
        return STOPPED
    except (ValueError, OSError) as error:
        print(f"jssm predict: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)
    for sentence in outcome.skipped:
        print(f"skipped: {sentence}")
    for sentence in outcome.notes:
        print(f"note: {sentence}")
    for sentence in outcome.damaged:
        print(f"damaged: {sentence}", file=sys.stderr)
    print(
        f"{len(outcome.rows)} cines in {options.out}, {len(outcome.skipped)} skipped, "
        f"{len(outcome.damaged)} damaged"
    )
    if not outcome.rows:
        return 2
    print(outcome.speed())
    return 1 if outcome.damaged else 0


def _check_extras() -> None:
    """Before anything is read."""
    for name in EXTRAS:
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"{name} is needed: pip install 'jssm[predict]'")
