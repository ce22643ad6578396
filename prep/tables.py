"""Tables that people make, as CSV: from programs and, with all their ways, from spreadsheets."""

import codecs
import csv
import re
from collections.abc import Collection
from pathlib import Path

from prep.errors import Refused

DELIMITERS = [",", ";", "\t"]


def read(path: Path, columns: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows with a value in them, each with the number of its line, as text by column.

    Columns are found whatever their case, in any order. Spreadsheets put a byte order mark first,
    separate by semicolons or tabs, write "sep=;" above the header, save as UTF-16 or in the code
    page of Western Europe, and leave empty rows; all are read. Blanks around a value are dropped.

    Raises:
      Refused: when it cannot be read, a column is missing, or a row has values beyond the header.
    """
    try:
        lines = _text(path.read_bytes()).splitlines()
    except (OSError, UnicodeError) as error:
        raise Refused(f"{path.name}: the table cannot be read ({error})") from error
    declared = re.fullmatch(r'"?sep=(.)"?', lines[0].strip(), re.IGNORECASE) if lines else None
    delimiters = [declared[1]] if declared else DELIMITERS
    tried = [_rows(lines, 1 if declared else 0, delimiter) for delimiter in delimiters]
    rows = min(tried, key=lambda rows: len(set(columns) - set(rows[0][1] if rows else ())))
    head = rows[0][1] if rows else []
    missing = sorted(set(columns) - set(head))
    if missing:
        raise Refused(
            f"{path.name}: the columns {', '.join(missing)} are missing; found are "
            f"{', '.join(filter(None, head)) or 'none'}"
        )
    found = []
    for number, values in rows[1:]:
        if any(values[len(head) :]):
            raise Refused(f"{path.name}: line {number} has more values than the header has names")
        if any(values):
            padded = values + [""] * (len(head) - len(values))
            found.append((number, dict(zip(head, padded, strict=False))))
    return found


def decimal(value: str) -> float:
    """A number, with a point or, as in many countries, a comma.

    Raises:
      ValueError: when it is none.
    """
    return float(value.replace(",", "."))


def _text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _rows(lines: list[str], start: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows from line ``start`` on, values stripped; the header's names in small letters."""
    reader = csv.reader(lines[start:], delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [(start + reader.line_num, [v.strip() for v in values]) for values in reader]
    except csv.Error:
        return []
    if rows:
        rows[0] = rows[0][0], [name.lower() for name in rows[0][1]]
    return rows
