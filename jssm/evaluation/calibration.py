"""``jssm calibrate``: how sure a model may be, by the held-out patients of a data set.

One temperature multiplies the covariances of all points, so that the 95 % ellipses hold 95 % of the
true points; and the Dice to be expected is learned (:mod:`jssm.evaluation.doubt`). How well either
carries over is told by patients other than those it was found on: found on one half of them and
measured on the other, both ways.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from jssm import dataset
from jssm.dataset import Dataset
from jssm.evaluation import doubt, reliability, scores
from jssm.image_path import from_uint8
from jssm.methods import model_file, registry
from jssm.methods.model import Model, predict_prepared, uncertainty
from jssm.shape import labels

TARGET = 0.95
BATCH = 16


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``calibrate``."""
    parser = commands.add_parser(
        "calibrate",
        description="Find the temperature of the covariances and the Dice to be expected on the "
        "held-out patients of a data set, keep both in the file, and tell how true they are.",
    )
    parser.add_argument("file", type=Path, help="a file of jssm pack; what is found goes into it")
    parser.add_argument("--data", type=Path, required=True, help="a data set directory")
    parser.add_argument("--split", default="val", help="which cases (val)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Calibrate the file; raises ValueError or OSError, in one sentence, where that cannot be."""
    if not args.file.is_file():
        raise ValueError(f"{args.file}: no such file; jssm pack makes one of a run")
    config, arrays = model_file.read(args.file)
    uncalibrated = arrays | {"temperature": np.float32(1.0)}
    model = registry.model_from(config, uncalibrated, source=args.file)
    data = dataset.load(args.data)
    scores.check_suits(config, arrays, data, source=args.file, directory=str(args.data))
    rows = data.rows(args.split)
    rows = rows[data.covers[rows] == labels.MYOCARDIUM]
    if not len(rows):
        raise ValueError(
            f"{args.data}: the split {args.split} has no case whose label covers the myocardium"
        )
    squares = distances(model, data, rows)
    held = crossed_coverage(squares, data.cases["patient"].iloc[rows].to_numpy())
    examples = doubt.collect(model, data, rows)
    judged = doubt.crossed(examples)
    found, confidence = temperature(squares), doubt.fit(examples)
    learned = {"temperature": np.float32(found), "confidence": dict(vars(confidence))}
    model_file.write(args.file, config, arrays | learned)
    table = [
        {"share": f"{s:.0%}", "held": f"{h:.1%}"}
        for s, h in zip(reliability.SHARES, held, strict=True)
    ]
    print(f"temperature {found:.3g}, by {squares.size} points of {len(rows)} cases")
    print("true points in the ellipses, of patients that the temperature was not found on:\n")
    print(tabulate(table, headers="keys", tablefmt="github"))
    print(f"\nrefused below a confidence of {float(confidence.least):.3f}")
    print("of patients that the confidence was not learned on:\n")
    print(tabulate(doubt.summary(examples, judged), headers="keys", tablefmt="github"))
    return 0


def distances(model: Model, data: Dataset, rows: NDArray) -> NDArray:
    """The squared Mahalanobis distances (N, T) of the true points from the predicted ones.

    Raises:
      ValueError: when the model does not tell how sure it is, or a case lacks points.
    """
    images = jnp.zeros((1, model.size, model.size))
    if jax.eval_shape(predict_prepared, model, images).spread is None:
        raise ValueError("the model does not tell how sure it is; the method evidence does")
    look = jax.jit(partial(_points, model))
    parts = []
    for start in tqdm(range(0, len(rows), BATCH), "calibrating", unit="batch", disable=None):
        chosen = rows[start : start + BATCH]
        (batch,) = dataset.batches(data, chosen[None])
        points, covariance = look(from_uint8(batch["image"]))
        parts.append(reliability.squared_distances(batch["points"] - points, covariance))
    squares = np.concatenate(parts)
    if not np.isfinite(squares).all():
        raise ValueError("a case lacks some of its points")
    return squares


def _points(model: Model, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The points (N, T, 2) in images (N, S, S), and their covariances (N, T, 2, 2)."""
    found = predict_prepared(model, images)
    return found.points, uncertainty(found)


def temperature(squares: NDArray) -> float:
    """What the covariances are multiplied by so that :data:`TARGET` of the points are held."""
    return float(np.quantile(squares, TARGET) / reliability.ellipse(TARGET))


def crossed_coverage(squares: NDArray, patients: NDArray) -> NDArray:
    """The share of points (N, T) that the ellipses of ``reliability.SHARES`` hold, each half of
    the patients (N,) with the temperature of the other half.

    Raises:
      ValueError: when there is but one patient.
    """
    halves = [squares[own] / temperature(squares[~own]) for own in doubt.halves(patients)]
    return reliability.held(np.concatenate(halves))
