"""What an evaluation writes: the table, the summary, the scores per case, and the pictures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from jssm import dataset
from jssm.dataset import Dataset
from jssm.evaluation import reliability
from jssm.evaluation.scores import FAILURE_RULE, PREFIXES, Evaluation, check_suits, evaluate
from jssm.methods import registry
from jssm.pictures import movies, plots

SHEET_CASES = 8
SHARES = np.linspace(0.02, 0.98, 49)  # of the ellipses in the diagram
CINE_PATIENTS, CINE_FRAMES = 3, 5  # movies of so many patients, of those with so many frames
CINE_NAME = r"^(.*)_frame\d+$"  # the cine in a case's name


def evaluate_run(
    run: str | Path,
    out: str | Path = "",
    *,
    data_dir: str = "",
    split: str = "val",
    step: str = "best",
    batch_size: int = 32,
) -> str:
    """Evaluates a trained model, writes the results, gives the report to print.

    `run` is a run directory, or another source as `jssm.load` takes it. `data_dir` is the one that
    it was trained on, and `out` is RUN/eval, where they are empty.
    Raises FileNotFoundError or ValueError, in one sentence, where the run, the data set or the
    split is not there, or the data set does not suit the model.
    """
    config, arrays = registry.read(run, step=step)
    data_dir = data_dir or config.data
    if not data_dir:
        raise ValueError(f"{run}: its settings name no data, expected --data DIR")
    data = dataset.load(data_dir)
    rows = data.rows(split)
    check_suits(config, arrays, data, source=run, directory=data_dir)
    method, variables = registry.load_method(run, step=step)
    predict = jax.jit(method.predict)
    if not out and not Path(run).is_dir():
        raise ValueError(f"{run}: no run directory to write into, expected --out DIR")
    out = Path(out or Path(run) / "eval")
    out.mkdir(parents=True, exist_ok=True)  # before the work, in case it cannot be written
    found = evaluate(lambda images: predict(variables, images), data, rows, batch_size=batch_size)
    name = Path(run).resolve().name
    paths = write(found, data, out, name=name)
    return (
        f"{format_table({name: found.summary})}"
        f"split {split} of {data_dir}; mean ± standard deviation; {FAILURE_RULE}\n"
        f"{problems(found.table)}" + "".join(f"wrote {path}\n" for path in paths)
    )


def format_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table like the paper's Table 1: a row per method, mean ± standard deviation.

    Distances are in mm; in px where a case has no spacing. Cavities have columns of their own,
    where there are any. A dash stands for what is not known.
    """
    columns = _columns(list(summaries.values()))
    rows = [
        {"Method": name, "Cases": summary["cases"]}
        | {title: _cell(summary[score]) for title, score in columns.items()}
        for name, summary in summaries.items()
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + "\n"


def problems(table: pd.DataFrame, *, limit: int = 20) -> str:
    """Lines that name the failed and the folded cases, the first `limit` of each; may be empty."""
    lines = []
    for flag in ("failed", "folded"):
        cases = table.loc[table[flag] == 1, "case"].astype(str).tolist()
        if cases:
            more = f" and {len(cases) - limit} more" if len(cases) > limit else ""
            lines.append(f"{flag}: {', '.join(cases[:limit])}{more}\n")
    return "".join(lines)


def write(
    found: Evaluation, data: Dataset, out: str | Path, *, name: str, progress: bool = True
) -> list[Path]:
    """Writes metrics.json, table.md, cases.csv, the sheets and the cines into `out`; the paths.

    Sheets: best, median and worst cases by Dice, of myocardia and of cavities. Cines: the first
    three patients (by id) with at least five frames among the cases, where the method has points.
    Where it tells how sure it is, reliability.png shows how true that is.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "metrics.json": json.dumps(found.summary, indent=2, allow_nan=False) + "\n",
        "table.md": format_table({name: found.summary}),
        "cases.csv": found.table.to_csv(index=False),
    }
    for file, text in texts.items():
        (out / file).write_text(text, encoding="utf-8")
    return [
        *(out / file for file in texts),
        *_write_sheets(found, data, out, progress),
        *_write_cines(found, data, out, progress),
        *_write_reliability(found, out),
    ]


def _columns(summaries: list[Mapping[str, Any]]) -> dict[str, str]:
    """The scores that a table of these summaries shows, by the columns' titles."""
    columns: dict[str, str] = {}
    for kind, prefix in PREFIXES.items():
        counts = [(s[f"{kind}_cases"], s[f"{kind}_cases_with_spacing"]) for s in summaries]
        if not any(cases for cases, _ in counts):
            continue
        some_mm, some_px = any(mm for _, mm in counts), any(mm < cases for cases, mm in counts)
        units = [unit for unit, shown in (("mm", some_mm), ("px", some_px)) if shown]
        label = "Cavity " if prefix else ""
        columns[f"{label}Dice ↑"] = f"{prefix}dice"
        for title, name in (("HD", "hd"), ("HD95", "hd95"), ("ASSD", "assd")):
            columns |= {f"{label}{title} ({unit}) ↓": f"{prefix}{name}_{unit}" for unit in units}
    columns |= {"CC": "components", "Point RMSE (px) ↓": "point_rmse_px"}
    return columns | {"Folded": "folded_share", "Failed": "failed_share"}


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"{value['mean']:.3f} ± {value['std']:.3f}"
    return f"{100 * value:.1f} %"


def _write_sheets(found: Evaluation, data: Dataset, out: Path, progress: bool) -> list[Path]:
    """The sheets of :func:`_sheets`; their paths."""
    sheets = list(_sheets(found.table))
    for file, places in tqdm(sheets, "sheets", disable=not progress, delay=1):
        rows = found.rows[places]
        points = None if found.points is None else found.points[places]
        titles = [_title(found.table.iloc[k]) for k in places]
        plots.overlay_sheet(
            out / file, data.images[rows], data.masks[rows], found.masks[places], points, titles,
            closed=data.shape_model.closed,
        )  # fmt: skip
    return [out / file for file, _ in sheets]


def _write_cines(found: Evaluation, data: Dataset, out: Path, progress: bool) -> list[Path]:
    """The movies of :func:`_cines`, where the method has points; their paths."""
    if found.points is None:
        return []
    cines = _cines(found.table)
    for file, (patient, places) in cines.items():
        images, points = data.images[found.rows[places]], found.points[places]
        fps = _fps(found.table.iloc[places])
        plots.cine_gif(
            out / file, images, points, fps, title=patient, progress=progress,
            closed=data.shape_model.closed,
        )  # fmt: skip
    return [out / file for file in cines]


def _write_reliability(found: Evaluation, out: Path) -> list[Path]:
    """reliability.png, where the method tells how sure it is; its path."""
    table = found.table.dropna(subset=["confidence", "dice"])
    if np.isnan(found.squares).all() and table.empty:
        return []
    path = out / "reliability.png"
    confidence, dice = (table[name].to_numpy(np.float64) for name in ("confidence", "dice"))
    plots.reliability(
        path,
        held=(SHARES, reliability.held(found.squares, SHARES)),
        confidence=(confidence, dice),
        kept=reliability.kept_dice(confidence, dice),
    )
    return [path]


def _sheets(table: pd.DataFrame) -> Iterator[tuple[str, NDArray]]:
    """File name and places in the table of each sheet, by falling Dice; the worst from below."""
    for prefix in PREFIXES.values():
        dice = table[f"{prefix}dice"].to_numpy(np.float64)
        ranked = np.argsort(-dice, kind="stable")[: np.count_nonzero(~np.isnan(dice))]
        if not len(ranked):
            continue
        count = min(SHEET_CASES, len(ranked))
        middle = (len(ranked) - count) // 2
        yield f"{prefix}best.png", ranked[:count]
        yield f"{prefix}median.png", ranked[middle : middle + count]
        yield f"{prefix}worst.png", ranked[::-1][:count]


def _title(case: pd.Series) -> str:
    prefix = PREFIXES[case["covers"]]
    mm, px = case[f"{prefix}hd_mm"], case[f"{prefix}hd_px"]
    distance = f"{px:.1f} px" if np.isnan(mm) else f"{mm:.1f} mm"
    flags = [word for word in ("failed", "folded") if case[word] == 1]
    name = "Cavity Dice" if prefix else "Dice"
    scores = f"{name} {case[f'{prefix}dice']:.3f}  HD {distance}"
    return "  ".join([f"{case['case']}\n{scores}", *flags])


def _cines(table: pd.DataFrame) -> dict[str, tuple[str, NDArray]]:
    """Per file name a patient and the places of the frames in the table, in their order; of a
    patient with several cines, as the cases' names tell them, the first."""
    found: dict[str, tuple[str, NDArray]] = {}
    if not {"patient", "frame"} <= set(table.columns):
        return found
    numbered = table[["patient", "frame"]].reset_index(drop=True)
    names = table["case"].astype(str) if "case" in table.columns else table["patient"].astype(str)
    cine = names.str.extract(CINE_NAME, expand=False).fillna("").to_numpy()
    for (patient, _), frames in numbered.groupby(["patient", cine], sort=True):
        plain = "".join(c if c.isalnum() or c in ".-" else "_" for c in str(patient))
        file = f"cine_{plain}.gif"
        if len(frames) >= CINE_FRAMES and len(found) < CINE_PATIENTS and file not in found:
            places = frames.sort_values("frame", kind="stable").index.to_numpy()
            found[file] = (str(patient), places)
    return found


def _fps(cases: pd.DataFrame) -> float:
    """Frames per second as they were taken, as far as a movie can show them."""
    times = cases.get("time_s", pd.Series(dtype=float)).to_numpy(np.float64)
    step = np.median(np.diff(times)) if len(times) > 1 else np.nan
    return movies.frames_per_second(float(step))
