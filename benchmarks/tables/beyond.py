"""Table 6, beyond the paper: correspondence and strain, small training sets, images made worse."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import Rows
from benchmarks.report import table as markdown_table
from benchmarks.tables import cycles, pictures, plan, runs, trained, writing
from benchmarks.tables.plan import Size, Table
from benchmarks.tables.runs import Run, Source
from benchmarks.tables.writing import Row
from jssm import dataset

LEGENDS = {
    "Correspondence and strain": (
        "Whole cycles of phantom patients whom no run has seen. Point: distance from the true "
        "material point; across the wall: from the true boundary; along it: the rest; motion: of "
        "the displacement since the first frame. GLS: absolute error (bias) of the peak, in "
        "percentage points. Mean ± standard deviation over the patients; the median in brackets."
    ),
    "Size of the training set": (
        "All runs take as many steps. The shape model is computed from the cases that are left; "
        "the validation cases are the same."
    ),
    "Images made worse": (
        "Scores at the greatest strength, 1 (benchmarks/tables/degrade.py says what it means), "
        "beside those of the images as they are. The file table6_degraded.csv has all strengths."
    ),
}


def parts(source: Source, out: Path) -> dict[float, Source]:
    """The data sets with each of :data:`plan.SHARES` of the training patients; made if need be.

    A share that leaves fewer than two training cases is left out.
    """
    found = {}
    for share in plan.SHARES:
        with suppress(ValueError):
            found[share] = runs.part(source, share, out)
    return found


def wanted(table: Table, sources: list[Source], size: Size, out: Path) -> list[Run]:
    """Every run that the table takes."""
    return [
        runs.run_of(variant, part, size, out)
        for source in sources
        for part in parts(source, out).values()
        for variant in table.variants
    ]


def write(table: Table, sources: list[Source], size: Size, out: Path) -> list[Path]:
    """Measure what the finished runs lack, and write table6*.csv, table6.md and the plots."""
    rows = {source: writing.rows_of(table, [source], size, out) for source in sources}
    found = {
        "Correspondence and strain": _correspondence(rows, out),
        "Size of the training set": _sizes(table, sources, size, out),
        "Images made worse": _degraded(rows, out),
    }
    text = f"## Table {table.number}: {table.title}\n"
    for title, lines in found.items():
        if lines:
            text += f"\n### {title}\n\n{markdown_table(lines)}\n\n{LEGENDS[title]}\n"
    (out / "table6.md").write_text(text, encoding="utf-8")
    return sorted(out.glob("table6*"))


def _correspondence(rows: dict[Source, list[Row]], out: Path) -> Rows:
    """Of the methods that claim it, on data sets of phantoms."""
    summaries, lines = [], []
    for source, methods in rows.items():
        if dataset.load(source.path).truth_points is None:
            continue
        each = [
            trained.followed(row.run, source, row.label)
            for row in methods
            if row.label in plan.KEEPS_POINTS
        ]
        if not each:
            continue
        patients = pd.concat([found.patients for found in each], ignore_index=True)
        summary = cycles.summarize(patients).assign(data=source.path.name)
        summaries.append(summary)
        lines += [_correspondence_line(line) for line in summary.to_dict("records")]
        arcs = {name: arc for found in each for name, arc in found.arc.items()}
        pictures.arc_lines(out / f"table6_arc_{source.path.name}.png", arcs)
        frames = pd.concat([found.frames for found in each], ignore_index=True)
        pictures.drift_lines(out / f"table6_cycle_{source.path.name}.png", frames)
    if summaries:
        pd.concat(summaries).to_csv(out / "table6_correspondence.csv", index=False)
    return lines


def _correspondence_line(line: dict) -> dict:
    cells = {"Data": line["data"], "Method": line["method"]}
    names = {"point": "Point", "across": "across", "along": "along", "motion": "Motion"}
    for name, title in names.items():
        mean, std, median = (line[f"{name}_mm_{kind}"] for kind in ("mean", "std", "median"))
        cells[f"{title} (mm) ↓"] = f"{mean:.2f} ± {std:.2f} [{median:.2f}]"
    for muscle in cycles.LINES:
        error, bias = line[f"gls_{muscle}_abs_pp_mean"], line[f"gls_{muscle}_bias_pp"]
        cells[f"GLS {muscle} (pp) ↓"] = f"{error:.2f} ({bias:+.2f})"
    return cells | {"GLS failed": str(line["gls_failed"])}


def _sizes(table: Table, sources: list[Source], size: Size, out: Path) -> Rows:
    """Scores against the share of the training patients."""
    summaries, lines = [], []
    for source in sources:
        of_source = []
        for share, part in parts(source, out).items():
            found = writing.rows_of(table, [part], size, out)
            if found:
                summary = writing.summary(found).assign(
                    data=source.path.name, train_percent=100 * share, train_cases=part.cases
                )
                of_source.append(summary)
        if not of_source:
            continue
        joined = pd.concat(of_source, ignore_index=True)
        summaries.append(joined)
        pictures.size_lines(out / f"table6_sizes_{source.path.name}.png", joined)
        for line in joined.to_dict("records"):
            scores = {title: writing.spread(line, name) for name, title in writing.SCORES.items()}
            lines.append(
                {
                    "Data": line["data"],
                    "Training patients": f"{line['train_percent']:.0f} %",
                    "cases": str(line["train_cases"]),
                    "Method": line["method"],
                    **scores,
                }
            )
    if summaries:
        pd.concat(summaries).to_csv(out / "table6_sizes.csv", index=False)
    return lines


def _degraded(rows: dict[Source, list[Row]], out: Path) -> Rows:
    """Scores on images made worse."""
    tables, lines = [], []
    for source, methods in rows.items():
        each = [trained.degraded(row.run).assign(method=row.label) for row in methods]
        if not each:
            continue
        joined = pd.concat(each, ignore_index=True).assign(data=source.path.name)
        tables.append(joined)
        pictures.robustness_lines(out / f"table6_degraded_{source.path.name}.png", joined)
        for method, found in joined.groupby("method", sort=False):
            clean = found[found["strength"] == 0].iloc[0]
            line = {"Data": source.path.name, "Method": str(method), "As they are": _three(clean)}
            worst = found[found["strength"] == found["strength"].max()]
            line |= {str(row["degradation"]): _three(row) for _, row in worst.iterrows()}
            lines.append(line)
    if tables:
        pd.concat(tables).to_csv(out / "table6_degraded.csv", index=False)
    return lines


def _three(line: pd.Series) -> str:
    """Dice, HD and components of one line, as means."""
    unit = "mm" if np.isfinite(line["hd_mm_mean"]) else "px"
    hd = line[f"hd_{unit}_mean"]
    return f"{line['dice_mean']:.3f}, {hd:.1f} {unit}, {line['cc_mean']:.2f}"
