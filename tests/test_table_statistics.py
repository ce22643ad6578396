"""Which system of a table is better: the paired test, and the bootstrap over patients."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.tables import statistics


def test_the_difference_is_the_paired_one_and_its_test_that_of_student():
    rng = np.random.default_rng(0)
    ours, other = rng.normal(0.8, 0.1, 40), rng.normal(0.75, 0.1, 40)
    found = statistics.difference(ours, other, np.arange(40))
    change = ours - other
    t = change.mean() / (change.std(ddof=1) / np.sqrt(40))
    assert found.mean == pytest.approx(change.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 39))
    # Patients with one case each: the bootstrap is that of cases, about ± 2 standard errors.
    half_width = 1.96 * change.std() / np.sqrt(40)
    assert found.high - found.mean == pytest.approx(half_width, rel=0.1)
    assert found.mean - found.low == pytest.approx(half_width, rel=0.1)


@pytest.mark.filterwarnings("ignore:Precision loss")  # of the t-test, where all are equal
def test_patients_with_many_cases_weigh_as_many():
    """Where every case differs by 1, so does every draw of patients, whatever their cases."""
    patients = np.repeat(["a", "b", "c"], [1, 5, 30])
    found = statistics.difference(np.ones(36), np.zeros(36), patients)
    assert found.mean == found.low == found.high == 1


def test_the_interval_is_that_of_the_mean_over_cases():
    """Twenty patients have one case each, which differs by 1, twenty have nine that do not."""
    cases = np.repeat([1, 9], 20)
    change = np.repeat([1.0, 0.0], 20).repeat(cases)
    found = statistics.difference(change, np.zeros(200), np.arange(40).repeat(cases))
    assert found.mean == pytest.approx(0.1)
    assert 0.03 < found.low < 0.1 < found.high < 0.2


def test_alike_cases_of_few_patients_do_not_count_as_many():
    of_patient = np.array([0.02, -0.01, 0.03, 0.04, -0.015, 0.01])
    patients = np.repeat(np.arange(6), 50)
    change = of_patient[patients] + np.random.default_rng(1).normal(0, 1e-3, 300)
    found = statistics.difference(change, np.zeros(300), patients)
    assert found.by_test
    assert not found.by_patients


def test_equal_scores_are_not_different():
    found = statistics.difference(np.full(5, 0.5), np.full(5, 0.5), np.arange(5))
    assert (found.mean, found.p, found.by_test, found.by_patients) == (0, 1, False, False)
    with pytest.raises(ValueError, match="expected as many of each and at least 2"):
        statistics.difference(np.zeros(1), np.zeros(1), np.zeros(1))


def test_the_best_is_marked_only_where_it_beats_every_other():
    cases = {"case": list("abcdef"), "patient": list("uvwxyz")}
    noise = np.array([0.01, -0.01, 0.02, 0, -0.02, 0])
    tables = {
        name: pd.DataFrame(cases | {"dice": mean + sign * noise, "hd_mm": 10 - mean + noise * sign})
        for name, mean, sign in (("A", 0.8, 1), ("B", 0.7, -1), ("C", 0.6, 0))
    }
    found = statistics.comparisons(tables, "dice")
    assert set(found["best"]) == {"A"}
    assert list(found["difference"].round(6)) == [0.1, 0.2]
    assert statistics.marked(found) == {"A": "**†"}
    tables["D"] = tables["A"].assign(dice=tables["A"]["dice"] - [-0.1, 0.2, 0, 0.1, 0.1, -0.1])
    assert statistics.marked(statistics.comparisons(tables, "dice")) == {"A": ""}
    assert set(statistics.comparisons(tables, "hd_mm")["best"]) == {"A"}  # smaller is better
    unknown = {k: t.assign(hd_px=np.nan) for k, t in tables.items()}
    assert statistics.marked(statistics.comparisons(unknown, "hd_px")) == {}
