"""Is one system better than another, over the same cases? The paper's test, and one by patients.

The frames of one patient are alike, so a test that takes cases as independent is too sure of
itself; the bootstrap draws whole patients.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05
DRAWS = 2000
HIGHER_IS_BETTER = {"dice": True, "hd_mm": False, "hd_px": False, "cc_error": False}


class Difference(NamedTuple):
    """The mean of one system's scores minus another's over n cases of m patients.

    p: of Student's t-test for pairs. low, high: the middle 95 % of the same mean over patients
    drawn with replacement.
    """

    mean: float
    p: float
    low: float
    high: float

    @property
    def by_test(self) -> bool:
        """The t-test calls it different from 0."""
        return self.p < LEVEL

    @property
    def by_patients(self) -> bool:
        """The bootstrap over patients calls it different from 0."""
        return self.low > 0 or self.high < 0


def difference(ours: NDArray, other: NDArray, patients: NDArray, *, seed: int = 0) -> Difference:
    """The difference between scores (n,) of two systems, paired by case, of ``patients`` (n,).

    Raises:
      ValueError: when the lengths differ, or fewer than two cases are given.
    """
    if not len(ours) == len(other) == len(patients) or len(ours) < 2:
        raise ValueError(
            f"{len(ours)}, {len(other)} scores of {len(patients)} cases, expected as many of each "
            "and at least 2"
        )
    change = np.asarray(ours, np.float64) - np.asarray(other, np.float64)
    p = float(stats.ttest_rel(ours, other).pvalue) if change.any() else 1.0
    _, group = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(group, change), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return Difference(float(change.mean()), p, float(low), float(high))


def comparisons(tables: dict[str, pd.DataFrame], score: str) -> pd.DataFrame:
    """The best system's difference from every other, one row each.

    ``tables`` has the cases of each system, as eval.py writes them; they are paired by ``case``.
    Columns: score, best, other, difference, p, low, high, by_test, by_patients. No row where no
    case has the score.
    """
    columns = ["score", "best", "other", "difference", "p", "low", "high", "by_test", "by_patients"]
    scores = pd.DataFrame({k: t.set_index("case")[score] for k, t in tables.items()}).dropna()
    if len(scores) < 2:
        return pd.DataFrame(columns=columns)
    patients = next(iter(tables.values())).set_index("case")["patient"].loc[scores.index]
    means = scores.mean()
    best = means.idxmax() if HIGHER_IS_BETTER[score] else means.idxmin()
    rows = []
    for other in [name for name in scores if name != best]:
        found = difference(scores[best].to_numpy(), scores[other].to_numpy(), patients.to_numpy())
        rows.append([score, best, other, *found, found.by_test, found.by_patients])
    return pd.DataFrame(rows, columns=columns)


def marked(found: pd.DataFrame) -> dict[str, str]:
    """The best system of :func:`comparisons`, and its mark.

    "**" where the t-test calls it better than every other, "**†" where the bootstrap does too, ""
    where neither holds; empty without comparisons.
    """
    if found.empty:
        return {}
    if not found["by_test"].all():
        return {found["best"].iloc[0]: ""}
    return {found["best"].iloc[0]: "**†" if found["by_patients"].all() else "**"}
