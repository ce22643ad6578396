"""A finished table as CSV, as Markdown, and its tests of significance."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.report import table as markdown_table
from benchmarks.tables import paper, plan, runs, statistics
from benchmarks.tables.plan import Size, Table
from benchmarks.tables.runs import Run, Source
from jssm import dataset

SCORES = {"dice": "Dice ↑", "hd_mm": "HD (mm) ↓", "hd_px": "HD (px) ↓", "cc": "CC"}
TESTED = {"dice": "dice", "hd_mm": "hd_mm", "hd_px": "hd_px", "cc": "cc_error"}
LEGEND = (
    "Mean ± standard deviation over the validation cases. **Bold**: the best value, better than "
    "every other by Student's t-test for pairs at 95 %; †: a bootstrap over patients says so too. "
    "Distances in px where the data set has no spacing. The paper's figures are of its own data "
    "and stand here for orientation alone."
)


class Row(NamedTuple):
    """One row with its run and the scores of its cases: those of eval.py, cc and cc_error."""

    data: str
    view: str
    label: str
    run: Run
    cases: pd.DataFrame


def read_cases(run: Run) -> pd.DataFrame:
    """The cases of a finished run; cc is the number of components, cc_error its distance to 1."""
    table = dataset.read_table(run.cases)
    return table.assign(cc=table["components"], cc_error=(table["components"] - 1).abs())


def rows_of(table: Table, sources: list[Source], size: Size, out: Path) -> list[Row]:
    """The rows whose runs are finished, data set by data set."""
    return [
        Row(source.path.name, source.view, variant.label, found, read_cases(found))
        for source in sources
        for variant in table.variants
        for found in [runs.run_of(variant, source, size, out)]
        if found.cases.is_file()
    ]


def summary(rows: list[Row]) -> pd.DataFrame:
    """One line per row: data, view, method, cases, and the mean and deviation of each score."""
    lines = []
    for row in rows:
        line = {"data": row.data, "view": row.view, "method": row.label, "cases": len(row.cases)}
        for score in SCORES:
            values = row.cases[score].dropna()
            line[f"{score}_mean"], line[f"{score}_std"] = values.mean(), values.std(ddof=0)
        lines.append(line)
    return pd.DataFrame(lines)


def tests(rows: list[Row]) -> pd.DataFrame:
    """:func:`statistics.comparisons` for each data set and score."""
    found = []
    for data in dict.fromkeys(row.data for row in rows):
        cases = {row.label: row.cases for row in rows if row.data == data}
        for score in TESTED.values():
            found.append(statistics.comparisons(cases, score).assign(data=data))
    return pd.concat(found, ignore_index=True)


def markdown(table: Table, rows: list[Row]) -> str:
    """The table as text, with the paper's figures beside."""
    found, significant = summary(rows), tests(rows)
    has_mm = found["hd_mm_mean"].notna()
    units = {"hd_mm": has_mm.any(), "hd_px": (~has_mm).any()}
    lines = []
    for row, line in zip(rows, found.to_dict("records"), strict=True):
        cells = {"Data": row.data, "Method": row.label}
        if table.number == 1:
            cells |= {
                "Integrity": "✓" if row.label in plan.KEEPS_SHAPE else "×",
                "Correspondence": "✓" if row.label in plan.KEEPS_POINTS else "×",
            }
        for score, title in SCORES.items():
            if units.get(score, True):
                cells[title] = _cell(line, score, row, significant)
        given = dict.fromkeys(paper.COLUMNS[: 3 if table.number == 1 else 2], "–")
        lines.append(cells | given | paper.reported(table.number, row.view, row.label))
    return f"## Table {table.number}: {table.title}\n\n{markdown_table(lines)}\n\n{LEGEND}\n"


def write(table: Table, rows: list[Row], out: Path) -> list[Path]:
    """Write tableN.csv, tableN_tests.csv, tableN.md and tableN_commands.txt; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    commands = dict.fromkeys(f"python {' '.join(row.run.train_command)}" for row in rows)
    texts = {
        ".csv": summary(rows).to_csv(index=False, float_format="%.6g"),
        "_tests.csv": tests(rows).to_csv(index=False, float_format="%.4g"),
        ".md": markdown(table, rows),
        "_commands.txt": "\n".join(commands) + "\n",
    }
    paths = [out / f"table{table.number}{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def spread(line: dict, score: str) -> str:
    """Mean ± deviation of a score in a line of :func:`summary`; a dash where it is not known."""
    mean, std = line[f"{score}_mean"], line[f"{score}_std"]
    return "–" if pd.isna(mean) else f"{mean:.3f} ± {std:.3f}"


def _cell(line: dict, score: str, row: Row, significant: pd.DataFrame) -> str:
    """:func:`spread`, marked where it is significantly the best of its data set."""
    of_score = (significant["data"] == row.data) & (significant["score"] == TESTED[score])
    mark = statistics.marked(significant[of_score]).get(row.label, "")
    bold, dagger = mark[:2], mark[2:]
    return f"{bold}{spread(line, score)}{bold}{dagger}"
