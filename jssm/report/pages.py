"""The report of each patient: of all their cines in a folder of results, one page."""

import csv
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from jssm.files.whole import write_whole
from jssm.report import record
from jssm.report.page import page


def write_pages(out: Path, patients: Collection[str] | None = None) -> list[Path]:
    """Write ``PATIENT_report.html`` into a folder of results, of these patients or all.

    One patient's frames are in memory at a time. Gives the files, by name.

    Raises:
      OSError: when nothing can be read or written.
      ValueError: when a record is damaged.
    """
    folders = folders_of(out)
    chosen = sorted(folders if patients is None else folders.keys() & set(patients))
    return [write_page(out, patient, folders[patient]) for patient in chosen]


def folders_of(out: Path) -> dict[str, list[Path]]:
    """The folders of the cines of each patient, those that have a record."""
    folders: dict[str, list[Path]] = {}
    for summary in sorted(out.glob("*/summary.json")):
        if (summary.parent / record.NAME).exists():
            patient = json.loads(summary.read_text(encoding="utf-8"))["patient"]
            folders.setdefault(patient, []).append(summary.parent)
    return folders


def write_page(out: Path, patient: str, folders: Sequence[Path]) -> Path:
    """Write the page of one patient, of the cines in these folders; gives the file.

    Raises:
      OSError, ValueError: as :func:`write_pages`.
    """
    path = out / f"{patient}_report.html"
    cines = [_cine(folder) for folder in folders]
    text = page(f"jssm report: {patient}", "app", _data(patient, cines, _pairs(out, patient)))
    write_whole(path, text)
    return path


def _cine(folder: Path) -> dict[str, Any]:
    """What a page is told of one cine: its record, and its summary for what is only there."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return record.read(folder / record.NAME) | {"summary": summary}


def _data(patient: str, cines: list[dict], pairs: list[dict]) -> dict[str, Any]:
    """All of one page. A shape model that cines share is in it once."""
    shapes: list[dict] = []
    for cine in cines:
        shape = cine.pop("shape")
        if shape not in shapes:
            shapes.append(shape)
        cine["shape"] = shapes.index(shape)
    return {"patient": patient, "cines": cines, "shapes": shapes, "pairs": pairs}


def _pairs(out: Path, patient: str) -> list[dict[str, str]]:
    """The patient's pairs of a 2ch and a 4ch cine."""
    path = out / "biplane.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: row[key] for key in ("cine_2ch", "cine_4ch")}
            for row in csv.DictReader(file)
            if row["patient"] == patient
        ]
