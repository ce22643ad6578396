"""Scores of one method on images made worse, against the strength."""

import dataclasses
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.tables.degrade import DEGRADATIONS, STRENGTHS, degrade_case
from jssm.dataset import Dataset
from jssm.evaluation import scores

KEYS = ["degradation", "strength"]


def curves(
    predict: scores.Predict,
    data: Dataset,
    rows: NDArray,
    *,
    seed: int,
    batch_size: int = 32,
    progress: bool = True,
) -> pd.DataFrame:
    """Scores of ``predict`` on ``rows`` of ``data``, a line per degradation and strength.

    Columns: degradation, strength, those of :func:`summarize`. The same seed gives every method
    the same images. Strength 0 is the same for all degradations.
    """
    return summarize(
        per_case(predict, data, rows, seed=seed, batch_size=batch_size, progress=progress)
    )


def per_case(
    predict: scores.Predict,
    data: Dataset,
    rows: NDArray,
    *,
    seed: int,
    batch_size: int = 32,
    progress: bool = True,
) -> pd.DataFrame:
    """The same per case: for each degradation and strength the table of `jssm.evaluation.scores`,
    below one another, with the columns degradation and strength before it.
    """
    rows = np.asarray(rows)
    chosen = _subset(data, rows)

    def judge(images: NDArray) -> pd.DataFrame:
        worse, places = dataclasses.replace(chosen, images=images), np.arange(len(rows))
        return scores.evaluate(predict, worse, places, batch_size=batch_size, progress=False).table

    clean, tables = judge(np.asarray(chosen.images)), []
    steps = list(product(DEGRADATIONS, STRENGTHS))
    for name, strength in tqdm(steps, "degraded images", unit="step", disable=not progress):
        table = clean
        if strength:
            table = judge(_degraded(chosen, rows, name, strength, seed=seed))
        tables.append(table.assign(degradation=name, strength=strength))
    whole = pd.concat(tables, ignore_index=True)
    return whole[KEYS + [column for column in whole if column not in KEYS]]


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Of the ``table`` of :func:`per_case`, a line per degradation and strength: cases, of each
    score that there is NAME_mean and NAME_std (dice, hd_mm, ..., cc, correspondence_mm),
    failed_share and folded_share, as `jssm.evaluation.scores.summarize` counts them.
    """
    lines = []
    for (name, strength), cases in table.groupby(KEYS, sort=False):
        found = scores.summarize(cases)
        line = {"degradation": name, "strength": strength, "cases": found["cases"]}
        for score in scores.SCORES:
            if found[score] is not None:
                short = "cc" if score == "components" else score
                line |= {f"{short}_{part}": value for part, value in found[score].items()}
        lines.append(line | {share: found[share] for share in ("failed_share", "folded_share")})
    return pd.DataFrame(lines)


def _degraded(chosen: Dataset, rows: NDArray, name: str, strength: float, *, seed: int) -> NDArray:
    """The images of ``chosen``, whose cases have ``rows`` in the whole data set, made worse."""
    shown = np.asarray(chosen.images), np.asarray(chosen.masks)
    pairs = zip(rows.tolist(), *shown, strict=True)
    return np.stack(
        [
            degrade_case(name, image, mask, strength, seed=seed, row=row)
            for row, image, mask in pairs
        ]
    )


def _subset(data: Dataset, rows: NDArray) -> Dataset:
    """The data set of these rows alone, in their order."""
    arrays = ("images", "masks", "points", "canonical_points", "thetas", "spacing_mm")
    truth = None if data.truth_points is None else data.truth_points[rows]
    return dataclasses.replace(
        data,
        **{name: getattr(data, name)[rows] for name in arrays},
        truth_points=truth,
        cases=data.cases.iloc[rows].reset_index(drop=True),
    )
