"""What a command found: tables on the screen and in a file, and plots."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.measure import Timing
from benchmarks.peers import PROJECT

Rows = list[dict[str, Any]]
COLOURS = {PROJECT: "#E69F00", "DEODR": "#0072B2", "PyTorch": "#0072B2"}  # Okabe and Ito's


@dataclass
class Report:
    """What one command found. tables: by title, rows of equal columns. notes: sentences."""

    command: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    tables: dict[str, Rows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """All of it as text: the machine, the tables, the notes."""
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [f"# {self.command}: {self.machine['processor']}", facts]
        parts += [f"## {title}\n\n{table(rows)}" for title, rows in self.tables.items()]
        return "\n\n".join(parts + self.notes) + "\n"

    def write(self, folder: Path) -> None:
        """Prints the report and writes it to ``folder`` as report.md and report.json."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.markdown()
        print(text)
        (folder / "report.md").write_text(text, encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(vars(self), indent=2), encoding="utf-8")
        print(f"written to {folder}")


def table(rows: Rows) -> str:
    """A Markdown table of rows with equal columns."""
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    return tabulate(cells, headers="keys", tablefmt="github", disable_numparse=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else _plain(value)


def _plain(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def comparison(
    timings: Mapping[str, Timing], tasks: Sequence[str], makers: Sequence[str], *, items: int
) -> Rows:
    """A row per task with each maker's ms per item and, for a peer, how many times this project
    takes as long. The timings have the names ``task, maker``; a task that a maker lacks is empty.
    """
    rows = []
    for task in tasks:
        own = timings[f"{task}, {PROJECT}"]
        row: dict[str, Any] = {"ms per image": task}
        for maker in makers:
            found = timings.get(f"{task}, {maker}")
            row[maker] = found and found.ms_per(items)
            row[f"{maker} ±%"] = found and found.spread_percent()
            if maker != PROJECT:
                row[f"{PROJECT} / {maker}"] = found and own.median_s / found.median_s
        rows.append(row)
    return rows


def bars(path: Path, rows: Rows, makers: Sequence[str], title: str, unit: str) -> None:
    """A bar per row and maker, as :func:`comparison` gives them."""
    figure = Figure(figsize=(7, 0.9 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    label = next(iter(rows[0]))
    height = 0.8 / len(makers)
    for number, maker in enumerate(makers):
        found = [(place, row[maker]) for place, row in enumerate(rows) if row[maker] is not None]
        places = [place + (number - (len(makers) - 1) / 2) * height for place, _ in found]
        bar = axes.barh(
            places,
            [v for _, v in found],
            height,
            label=maker,
            color=COLOURS.get(maker, COLOURS[PROJECT]),
        )
        axes.bar_label(bar, fmt="%.3g", padding=2)
    axes.set_yticks(range(len(rows)), [row[label] for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel=unit, title=title)
    if len(makers) > 1:
        axes.legend()
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=100)


def add_options(parser: argparse.ArgumentParser, command: str, *, repeats: int) -> None:
    """Adds what every command has."""
    parser.add_argument("--repeats", type=int, default=repeats, help=f"rounds (default {repeats})")
    default = Path("benchmarks/results") / command
    parser.add_argument("--out", type=Path, default=default, help=f"folder (default {default})")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The command's options as JSON takes them."""
    return {k: v for k, v in vars(args).items() if k not in ("run", "out")}
