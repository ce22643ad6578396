"""``python -m prep import dicom``: a folder of a scanner as one NIfTI file per cine and a table."""

import argparse
import csv
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jssm import files
from jssm.files.whole import alone, write_whole
from prep.errors import BadInput, Refused
from prep.pool import Pool, add_engine, opened

COLUMNS = (
    "id", "patient", "view", "view_by_description", "view_by_geometry", "agree", "frames", "rows",
    "columns", "row_mm", "column_mm", "frame_time_s", "source", "note",
)  # fmt: skip


@dataclass
class Outcome:
    """What an import came to: the table's rows, and a sentence for whatever gave nothing."""

    rows: list[dict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``import``."""
    parser = commands.add_parser("import", help="turn a scanner's files into NIfTI cines")
    kinds = parser.add_subparsers(title="kinds", required=True, metavar="KIND")
    scans = kinds.add_parser(
        "dicom",
        help="a folder tree of DICOM files, or the Data Science Bowl's",
        description="Write each cine of a folder tree as a NIfTI file, under a pseudonymous id, "
        "and list them in cines.csv.",
    )
    add = scans.add_argument
    add("directory", type=Path, help="any folder with DICOM files in it, however deep")
    add("--out", type=Path, required=True, help="gets images/ and cines.csv")
    add("--salt", default="", help="a secret word for the pseudonyms, so that nobody can find "
        "a patient's by trying; the same word gives the same pseudonyms")  # fmt: skip
    add("--keep-names", action="store_true",
        help="write the patients' own ids and the files' places into the output")  # fmt: skip
    add_engine(scans)
    scans.set_defaults(run=run_dicom)


def run_dicom(args: argparse.Namespace) -> int:
    """Import; lists at the end what was passed over and what is damaged."""
    try:
        outcome = import_dicom(
            args.directory, args.out, salt=args.salt, keep_names=args.keep_names, dask=args.dask
        )
    except (BadInput, Refused) as error:
        print(f"prep: {error}", file=sys.stderr)
        return 2
    for row in outcome.rows:
        note = f": {row['note']}" if row["note"] else ""
        print(f"{row['id']}  {row['frames']} frames, {row['columns']}×{row['rows']}{note}")
    for sentence in outcome.skipped:
        print(f"skipped: {sentence}")
    for sentence in outcome.damaged:
        print(f"damaged: {sentence}", file=sys.stderr)
    print(
        f"{len(outcome.rows)} cines in {args.out}, {len(outcome.skipped)} skipped, "
        f"{len(outcome.damaged)} damaged"
    )
    return 1 if outcome.damaged else 0


def import_dicom(
    directory: Path, out: Path, *, salt: str = "", keep_names: bool = False, dask: str = ""
) -> Outcome:
    """Write every cine under ``directory`` into ``out``: images/<id>.nii.gz and cines.csv.

    One cine is in memory at a time. No name, id or path of a patient is written, unless
    ``keep_names``. dask: the address of a scheduler, whose workers do it and see both folders.

    Raises:
      BadInput: when there is no such folder. Refused: when it holds no cine. OSError: as
        :func:`prep.pool.opened`, or when it cannot be written.
    """
    if not directory.is_dir():
        raise BadInput(f"{directory}: a folder was expected")
    found, problems = files.open_cines(directory, salt=salt, keep_names=keep_names)
    outcome = Outcome()
    for problem in problems:
        (outcome.damaged if problem.damaged else outcome.skipped).append(problem.sentence)
    with alone(out), opened(1, dask, out) as pool:
        _write_all(found, out.absolute(), outcome, pool, keep_names=keep_names)
    if not outcome.rows:
        first = (outcome.damaged + outcome.skipped + ["it is empty"])[0]
        raise Refused(f"{directory}: no cine was found; {first}")
    return outcome


def _write_all(
    found: list[files.Found], out: Path, outcome: Outcome, pool: Pool, *, keep_names: bool
) -> None:
    """Write each cine and, at the end, the table."""
    images = out / "images"
    images.mkdir(exist_ok=True)
    cines = [(item, images, keep_names) for item in found]
    for row, damaged in pool.each("importing", _write_one, cines, unit="cine"):
        outcome.damaged += damaged
        outcome.rows += [row] if row else []
    _write_table(out / "cines.csv", outcome.rows)


def _write_one(
    item: files.Found, images: Path, keep_names: bool
) -> tuple[dict[str, object], list[str]]:
    """Write one cine: its row of the table, empty if it cannot be read, and what is damaged."""
    try:
        cine = item.load()
        files.write_nifti(images / f"{item.name}.nii.gz", cine.frames, cine)
    except BadInput as error:
        return {}, [item.about(str(error))]
    row = _row(item, cine, keep_source=keep_names or item.is_public)
    return row, [item.about(sentence) for sentence in cine.problems]


def _row(item: files.Found, cine: files.Cine, *, keep_source: bool) -> dict:
    step = files.frame_time_s(cine)
    left_out = [f"{len(cine.problems)} damaged frames left out"] if cine.problems else []
    return {
        "id": item.name,
        "patient": item.patient,
        "view": item.view,
        "view_by_description": item.described,
        "view_by_geometry": item.seen,
        "agree": "" if item.agree is None else "yes" if item.agree else "no",
        "frames": len(cine.frames),
        "rows": cine.frames.shape[1],
        "columns": cine.frames.shape[2],
        "row_mm": _number(cine.spacing_mm[0]),
        "column_mm": _number(cine.spacing_mm[1]),
        "frame_time_s": _number(step),
        "source": item.source if keep_source else "",
        "note": "; ".join([*dict.fromkeys([*item.notes, *cine.notes]), *left_out]),
    }


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _write_table(path: Path, rows: list[dict]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())
