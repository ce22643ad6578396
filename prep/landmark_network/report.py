"""How good found landmarks are: errors against those of masks, a table, and a picture sheet."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jssm.dataset import Dataset
from jssm.networks.heatmaps import NAMES, Landmarks

COLOURS = ("#E69F00", "#56B4E9", "#009E73")  # apex, basal 1, basal 2; Okabe and Ito's
SHEET_CASES = 20


def errors(data: Dataset, rows: np.ndarray, truth: np.ndarray, found: Landmarks) -> pd.DataFrame:
    """A row per case: case, patient, found, and of each landmark confidence, error in px and mm.

    ``truth`` (n, 3, 2) and ``found`` are in px of the data set. Errors are NaN where the network
    abstained, in mm also where the spacing is not known.
    """
    offset = np.asarray(found.points) - truth
    in_mm = offset * np.asarray(data.spacing_mm[rows])[:, None, ::-1]
    table = data.cases.iloc[rows][["case", "patient"]].reset_index(drop=True)
    table["found"] = np.asarray(found.found).astype(int)
    for k, name in enumerate(NAMES):
        table[f"{name}_confidence"] = np.asarray(found.confidence)[:, k]
        table[f"{name}_error_px"] = np.linalg.norm(offset[:, k], axis=1)
        table[f"{name}_error_mm"] = np.linalg.norm(in_mm[:, k], axis=1)
    return table


def summarize(table: pd.DataFrame) -> dict:
    """Of each landmark and of all: mean, median and 95th percentile of the errors of found cases;
    None where none is known. Also the number of cases and the share that was found."""

    def of(values: np.ndarray) -> dict[str, float] | None:
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        middle, high = np.percentile(values, (50, 95))
        return {"mean": float(values.mean()), "median": float(middle), "p95": float(high)}

    summary: dict = {"cases": len(table), "found_share": float(table["found"].mean())}
    for unit in ("px", "mm"):
        columns = {name: table[f"{name}_error_{unit}"].to_numpy(np.float64) for name in NAMES}
        columns["all"] = np.concatenate(list(columns.values()))
        summary |= {f"{name}_error_{unit}": of(values) for name, values in columns.items()}
    return summary


def format_summary(summary: dict) -> str:
    """The summary as a Markdown table, with what share was found."""
    lines = ["| landmark | mean | median | 95th percentile |", "|---|---|---|---|"]
    for name in (*NAMES, "all"):
        both = [(unit, summary[f"{name}_error_{unit}"]) for unit in ("px", "mm")]
        known = [(unit, values) for unit, values in both if values]
        cells = (
            " / ".join(f"{values[kind]:.2f} {unit}" for unit, values in known) or "–"
            for kind in ("mean", "median", "p95")
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    share = f"{100 * summary['found_share']:.1f} % of {summary['cases']} cases found"
    return "\n".join([*lines, share]) + "\n"


def write(
    folder: Path, data: Dataset, rows: np.ndarray, truth: np.ndarray, found: Landmarks
) -> dict:
    """Write errors.csv, errors.json and landmarks.png into ``folder``; gives the summary.

    The sheet shows cases evenly picked from all, the worst last.
    """
    table = errors(data, rows, truth, found)
    table.to_csv(folder / "errors.csv", index=False, float_format="%.3f")
    summary = summarize(table)
    (folder / "errors.json").write_text(json.dumps(summary, indent=1) + "\n")
    worst = table[[f"{name}_error_px" for name in NAMES]].max(axis=1).fillna(np.inf)
    order = np.argsort(worst.to_numpy(), kind="stable")
    picked = order[np.unique(np.linspace(0, len(order) - 1, SHEET_CASES).round().astype(int))]
    titles = [
        f"{table['case'][k]}\nconfidence {found.confidence[k].min():.2f}"
        + ("" if found.found[k] else "  abstained")
        for k in picked
    ]
    points = np.asarray(found.points)[picked]
    sheet(folder / "landmarks.png", data.images[rows[picked]], points, titles, truth=truth[picked])
    return summary


def sheet(
    path: Path,
    pictures: Sequence[np.ndarray] | np.ndarray,
    points: np.ndarray,
    titles: Sequence[str],
    *,
    truth: np.ndarray | None = None,
    columns: int = 5,
) -> None:
    """Write a PNG of images (H, W) with landmarks (n, 3, 2) as crosses, and the truth as rings."""
    columns = min(columns, len(pictures))
    bands = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * bands + 0.3), dpi=90, layout="constrained")
    grid = figure.subplots(bands, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for k, (axes, picture) in enumerate(zip(grid.flat, pictures, strict=False)):
        axes.imshow(picture, cmap="gray")
        axes.set_title(titles[k], fontsize=8)
        for mark, colour in enumerate(COLOURS):
            if truth is not None:
                axes.plot(*truth[k, mark], "o", color=colour, markersize=9, fillstyle="none")
            if np.isfinite(points[k, mark]).all():
                axes.plot(*points[k, mark], "+", color=colour, markersize=9, markeredgewidth=2)
    names = ", ".join(f"{n}: {c}" for n, c in zip(NAMES, ("orange", "blue", "green"), strict=True))
    rings = "; rings: of the mask" if truth is not None else ""
    figure.supxlabel(f"crosses: found ({names}){rings}", fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))
