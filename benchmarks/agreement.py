"""Ejection fraction and longitudinal strain of real hearts, against those of their true contours.

    python -m benchmarks agreement --ckpt echo --data data/echo --out agreement

takes the validation cases that come in pairs, end-diastole and end-systole of one view, and
measures both from the predicted and from the true points: bias, limits of agreement, and a
Bland–Altman plot (Bland and Altman, "Statistical methods for assessing agreement between two
methods of clinical measurement", Lancet 327, 1986). A method that gives masks alone is measured on
the boundaries of the largest piece; pairs in which that is no wall with two ends are left out, and
counted.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.tables.tracked import points_of_mask
from jssm import dataset
from jssm.cines.motion import measure_motion
from jssm.dataset import Dataset
from jssm.evaluation.scores import Evaluation, Predict, evaluate
from jssm.methods import registry

MEASURES = {"ef_percent": "Ejection fraction (%)", "gls_percent": "GLS, endocardium (%)"}
LIMITS = 1.96  # standard deviations: 95 % of a normal distribution
PAIRS = r"(.*)_(ED|ES)$"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``agreement``."""
    parser = commands.add_parser("agreement", help="ejection fraction and strain of real hearts")
    add = parser.add_argument
    add("--ckpt", required=True, help="a run directory, a file of jssm pack, or a model's name")
    add("--data", required=True, help="a data set directory")
    add("--split", default="val", help="which cases (default val)")
    add("--pairs", default=PAIRS, metavar="REGEX", help="two groups in a case's name: what a pair "
        f"has in common, and ED or ES (default {PAIRS})")  # fmt: skip
    add("--out", type=Path, default=Path("benchmarks/results/agreement"), help="folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and draw the plot."""
    try:
        method, variables = registry.load_method(args.ckpt)
        data = dataset.load(args.data)
        rows = data.rows(args.split)
        pairs = pairs_of(data, rows, args.pairs)
    except (ValueError, OSError, re.error) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2
    predict = jax.jit(method.predict)
    measured = compare(lambda images: predict(variables, images), data, pairs)
    args.out.mkdir(parents=True, exist_ok=True)
    measured.to_csv(args.out / "pairs.csv", index=False)
    measured = measured.dropna()
    table = report.table([agreement(measured, name) for name in MEASURES])
    (args.out / "agreement.md").write_text(table + "\n")
    draw(args.out / "bland_altman.png", {"": measured})
    print(f"{len(measured)} of {len(pairs)} pairs of {args.split} of {args.data} could be measured")
    print(f"\n{table}\n\nwritten to {args.out}")
    return 0


def compare(predict: Predict, data: Dataset, pairs: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Both measures of each of :func:`pairs_of`, predicted and true; NaN where the method gives
    no points."""
    paired = np.array(list(pairs.values()))
    true = data.points[paired]
    found = points_of(evaluate(predict, data, paired.ravel()), true.shape[2])
    measured = pd.DataFrame({"pair": list(pairs)})
    for kind, points in (("predicted", found.reshape(true.shape)), ("true", true)):
        for name, values in measures(points).items():
            measured[f"{kind}_{name}"] = values
    return measured


def points_of(found: Evaluation, num_points: int) -> NDArray:
    """The points (N, T, 2) px of a method, or those on the boundaries of its masks; NaN where there
    are none."""
    if found.points is not None:
        return found.points
    return np.stack([points_of_mask(mask, num_points) for mask in found.masks])


def pairs_of(data: Dataset, rows: NDArray, regex: str) -> dict[str, tuple[int, int]]:
    """The rows of end-diastole and end-systole, by what the names of both cases have in common.

    Cases that lack points are left out.

    Raises:
      ValueError: when there is no pair.
    """
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        match = re.match(regex, str(data.cases["case"].iloc[row]))
        if match and np.isfinite(data.points[row]).all():
            found.setdefault(match[1], {})[match[2]] = int(row)
    pairs = {name: (of["ED"], of["ES"]) for name, of in found.items() if {"ED", "ES"} <= of.keys()}
    if not pairs:
        raise ValueError(f"no two cases are a pair by the names that --pairs {regex} describes")
    return pairs


def measures(points: NDArray) -> dict[str, NDArray]:
    """The ejection fraction, by area and length, and the endocardium's longitudinal strain of
    pairs (N, 2, T, 2), end-diastole first; both in percent, each (N,)."""
    motion = jax.vmap(lambda p: measure_motion(p, ed_frame=0, periodic=False))(jnp.asarray(points))
    return {
        "ef_percent": np.asarray(motion.ejection_fraction_percent),
        "gls_percent": np.asarray(motion.endo.strain_percent[:, 1]),
    }


def agreement(measured: pd.DataFrame, name: str) -> dict[str, Any]:
    """One row of the table: bias and limits of agreement of a measure, predicted minus true."""
    predicted, true = measured[f"predicted_{name}"], measured[f"true_{name}"]
    difference = predicted - true
    bias, deviation = float(difference.mean()), float(difference.std())
    return {
        "Measure": MEASURES[name],
        "pairs": len(measured),
        "true mean": float(true.mean()),
        "predicted mean": float(predicted.mean()),
        "bias": bias,
        "lower limit": bias - LIMITS * deviation,
        "upper limit": bias + LIMITS * deviation,
        "mean absolute error": float(difference.abs().mean()),
        "correlation": float(predicted.corr(true)),
    }


def draw(path: Path, methods: dict[str, pd.DataFrame]) -> None:
    """The Bland–Altman plot of each measure, a row for each method."""
    figure = Figure(figsize=(10, 1 + 3 * len(methods)), layout="constrained")
    grid = figure.subplots(len(methods), len(MEASURES), squeeze=False)
    for row, (method, measured) in zip(grid, methods.items(), strict=True):
        for axes, (name, title) in zip(row, MEASURES.items(), strict=True):
            _plot(axes, measured, name)
            axes.set(title=f"{method}: {title}" if method else title)
    for axes in grid[-1]:
        axes.set(xlabel="mean of both")
    report.save(figure, path)


def _plot(axes: Axes, measured: pd.DataFrame, name: str) -> None:
    predicted, true = measured[f"predicted_{name}"], measured[f"true_{name}"]
    found = agreement(measured, name)
    axes.scatter((predicted + true) / 2, predicted - true, s=14, alpha=0.7)
    for line in ("bias", "lower limit", "upper limit"):
        axes.axhline(found[line], color="black", linestyle="-" if line == "bias" else "--")
        axes.annotate(f" {found[line]:+.1f}", (1, found[line]), xycoords=("axes fraction", "data"),
            va="center")  # fmt: skip
    axes.set(ylabel="predicted − true (points)")
