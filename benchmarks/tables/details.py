"""What Table 1 says beyond its scores: other distances, points, and the hearts' function.

Where the cases of a data set come in pairs of end-diastole and end-systole, ejection fraction and
longitudinal strain of each method are compared with those of the true points.
"""

from pathlib import Path

import pandas as pd

from benchmarks import agreement
from benchmarks.report import Rows
from benchmarks.report import table as markdown_table
from benchmarks.tables import trained
from benchmarks.tables.runs import Source
from benchmarks.tables.writing import Row
from jssm import dataset

DISTANCES = {
    "hd95_mm": "HD95 (mm) ↓",
    "hd95_px": "HD95 (px) ↓",
    "assd_mm": "ASSD (mm) ↓",
    "assd_px": "ASSD (px) ↓",
    "point_rmse_px": "Point RMSE (px) ↓",
}
LEGEND = (
    "Predicted minus true, in percentage points: bias [limits of agreement], mean absolute error, "
    "correlation; each view on its own. A method that gives masks has its points on the boundaries "
    "of the largest piece; pairs in which that is no wall with two ends are left out."
)


def write(rows: list[Row], sources: list[Source], out: Path) -> list[Path]:
    """Write table1_details.md, and table1_agreement.png where there are pairs; their paths."""
    text = f"### Distances and points\n\n{markdown_table(distances(rows))}\n"
    paths = [out / "table1_details.md"]
    compared = {
        source.path.name: found for source in sources if (found := function_of(source, rows))
    }
    if compared:
        lines = [line for name, found in compared.items() for line in function_lines(name, found)]
        text += f"\n### Function\n\n{markdown_table(lines)}\n\n{LEGEND}\n"
    for name, found in compared.items():
        paths.append(out / f"table1_agreement_{name}.png")
        agreement.draw(paths[-1], {k: t.dropna() for k, t in found.items()})
    paths[0].write_text(text, encoding="utf-8")
    return paths


def distances(rows: list[Row]) -> Rows:
    """Mean ± deviation of the distances that the data sets allow, and the share of folded walls."""
    known = [name for name in DISTANCES if any(row.cases[name].notna().any() for row in rows)]
    lines = []
    for row in rows:
        folded = row.cases["folded"].mean()
        lines.append(
            {"Data": row.data, "Method": row.label}
            | {DISTANCES[name]: _spread(row.cases[name]) for name in known}
            | {"Folded (%)": "–" if pd.isna(folded) else f"{100 * folded:.1f}"}
        )
    return lines


def function_of(source: Source, rows: list[Row]) -> dict[str, pd.DataFrame]:
    """The pairs of a data set as each method measures them; empty where there are none."""
    data = dataset.load(source.path)
    try:
        pairs = agreement.pairs_of(data, data.rows("val"), agreement.PAIRS)
    except ValueError:
        return {}
    of_source = [row for row in rows if row.data == source.path.name]
    return {row.label: trained.paired(row.run, pairs) for row in of_source}


def function_lines(data: str, methods: dict[str, pd.DataFrame]) -> Rows:
    """A line for each method: the agreement of each measure."""
    lines = []
    for method, table in methods.items():
        measured = table.dropna()
        line = {"Data": data, "Method": method, "pairs": f"{len(measured)} of {len(table)}"}
        for name, title in agreement.MEASURES.items():
            line[title] = _agreement(measured, name)
        lines.append(line)
    return lines


def _agreement(measured: pd.DataFrame, name: str) -> str:
    if len(measured) < 2:
        return "–"
    found = agreement.agreement(measured, name)
    return (
        f"{found['bias']:+.1f} [{found['lower limit']:+.1f}, {found['upper limit']:+.1f}], "
        f"{found['mean absolute error']:.1f}, {found['correlation']:.2f}"
    )


def _spread(values: pd.Series) -> str:
    known = values.dropna()
    return f"{known.mean():.2f} ± {known.std(ddof=0):.2f}" if len(known) else "–"
