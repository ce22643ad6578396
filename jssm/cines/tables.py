"""The tables over all cines: summaries as rows, in CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files.whole import write_whole


def row_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as one row of the table: lists as text, without segments and single frames."""
    return {
        key: "; ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in summary.items()
        if key not in ("segments", "confidence", "used")
    }


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, whose keys may differ; what is not known is empty. Without rows, no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    table = csv.DictWriter(text, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue())


def write_columns(path: Path, columns: Mapping[str, np.ndarray], form: str) -> None:
    """Write columns of one length by name, floats as ``format(value, form)`` and NaN as nothing."""

    def texts(values: np.ndarray) -> list[Any]:
        if not np.issubdtype(values.dtype, np.floating):
            return values.tolist()
        return ["" if value != value else format(value, form) for value in values.tolist()]

    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*map(texts, columns.values()), strict=True))


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
