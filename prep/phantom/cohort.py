"""A whole phantom cohort on disk.

A cohort of all views has the files <patient>_2ch, <patient>_3ch and <patient>_4ch, one of
short-axis slices <patient>_sax_basal, <patient>_sax_mid and <patient>_sax_apical.

DIR/images/<patient>.nii   cine, uint16, (x, y, 1, frames); zooms: column mm, row mm, 1, frame s
DIR/masks/<patient>.nii    the same geometry, uint8, 1 = myocardium; of slices 2 = right ventricle
DIR/truth/<patient>.npz    the fields of `truth_fields`
DIR/cohort.csv             a row per file; written last
DIR/options.json           what was asked for
DIR/contact_sheet.png      a look at the first patients
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

from prep.phantom.patient import Options, attempt_patient
from prep.phantom.sheet import contact_sheet
from prep.pool import opened

_SHEET_PATIENTS = 8


def write_cohort(options: Options, folder: Path, *, jobs: int = -1, dask: str = "") -> list[str]:
    """Write a whole cohort, `jobs` patients at a time (-1: all cores); gives a line per failure.

    dask: the address of a scheduler, whose workers do it and see the folder.

    A whole cohort of the same options is left as it is, one that was stopped is made again, with
    the same bytes. Raises FileExistsError if the folder holds patients of other options: old and
    new ones must not mix. OSError: as `prep.pool.opened`, or when it cannot be written.
    """
    asked = json.dumps(asdict(options), indent=2)
    note = folder / "options.json"
    same = note.exists() and note.read_text() == asked
    if any((folder / "images").glob("*.nii")) and not same:
        raise FileExistsError(
            f"{folder}: --out already holds a cohort of other options, expected a new folder"
        )
    if same and _rows_of(folder / "cohort.csv") == options.patients * len(options.views):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(asked)
    for part in ("images", "masks", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    place = folder.absolute()
    patients = [(options, number, place) for number in range(1, options.patients + 1)]
    with opened(jobs, dask, folder) as pool:
        of_patients = pool.each("phantom", attempt_patient, patients, unit="patient")
    results = [result for of_patient in of_patients for result in of_patient]
    rows = [result for result in results if not isinstance(result, str)]
    if rows:
        with open(folder / "cohort.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        contact_sheet(folder, rows[:_SHEET_PATIENTS])
    return [result for result in results if isinstance(result, str)]


def _rows_of(table: Path) -> int:
    """The number of rows of cohort.csv; 0 if there is none."""
    if not table.exists():
        return 0
    with open(table, newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))
