"""Errors over heart cycles, from points whose errors are known."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import motion
from benchmarks.tables import cycles
from prep.phantom.patient import Options, make_patient

OPTIONS = Options("4ch", patients=2, seed=5, frames=6, size=64)


@pytest.fixture(scope="module")
def cohort():
    return list(motion.cohort(OPTIONS, "test"))


@pytest.fixture(scope="module")
def found(cohort):
    """All methods of this file, judged in one go."""
    true = {cine.tobytes(): patient.points for patient, cine in cohort}

    def follow(change):
        return lambda cine: change(true[cine.tobytes()].astype(np.float64))

    def lost(points, frame):
        return np.where(np.arange(len(points))[:, None, None] == frame, np.nan, points)

    frames = np.arange(OPTIONS.frames)[:, None, None]
    methods = {
        "true": follow(lambda points: points),
        "shifted": follow(lambda points: points + np.array([3.0, -4.0])),
        "sliding": follow(slid),
        "drifting": follow(lambda points: points + frames * np.array([0.5, 0.0])),
        "frozen": follow(lambda points: np.repeat(points[:1], len(points), axis=0)),
        "once lost": follow(lambda points: lost(points, 2)),
        "lost at first": follow(lambda points: lost(points, 0)),
        "lost": follow(lambda points: points * np.nan),
        "infinite": follow(lambda points: points * np.where(frames == 1, np.inf, 1.0)),
    }
    return cycles.compare(methods, OPTIONS)


def slid(points):
    """Every point half way to its neighbour on its boundary, on the polygon; the last one stays."""
    moved = points.copy()
    half = points.shape[1] // 2
    for part in (slice(0, half - 1), slice(half, 2 * half - 1)):
        after = slice(part.start + 1, part.stop + 1)
        moved[:, part] = (points[:, part] + points[:, after]) / 2
    return moved


def of(found, method):
    return found.patients[found.patients["method"] == method]


def spacing(cohort):
    return np.array([patient.truth["spacing_mm"][0] for patient, _ in cohort])


def test_the_truth_has_no_error(found):
    own = of(found, "true")
    assert own[list(cycles.DISTANCES)].to_numpy() == pytest.approx(0, abs=1e-3)
    assert own[["gls_endo_pp", "gls_epi_pp"]].abs().to_numpy().max() < 0.1
    assert own["gls_mid_pp"].abs().max() < 0.5
    assert own[list(cycles.COUNTS)].to_numpy().sum() == 0


def test_shifted_points_are_off_by_their_shift_and_do_not_drift(found, cohort):
    own, true = of(found, "shifted"), of(found, "true")
    np.testing.assert_allclose(own["point_mm"], 5 * spacing(cohort), rtol=1e-6)
    assert (own["across_mm"] < own["point_mm"]).all()
    together = np.hypot(own["across_mm"], own["along_mm"])
    assert (together <= own["point_mm"] + 1e-9).all()  # means of frames, equal in each frame
    assert own[["motion_mm", "drift_mm"]].to_numpy() == pytest.approx(0, abs=1e-6)
    strains = [f"gls_{line}_pp" for line in cycles.LINES]
    np.testing.assert_allclose(own[strains], true[strains], atol=1e-2)
    frames = found.frames[found.frames["method"] == "shifted"]
    np.testing.assert_allclose(
        np.hypot(frames["across_mm"], frames["along_mm"]), frames["point_mm"]
    )


def test_points_that_slide_along_the_wall_are_not_off_across_it(found):
    own = of(found, "sliding")
    assert (own["point_mm"] > 1).all()
    assert (own["across_mm"] < 0.1 * own["point_mm"]).all()
    np.testing.assert_allclose(own["along_mm"], own["point_mm"], rtol=0.01)


def test_drift_is_the_error_of_the_last_displacement(found, cohort):
    own = of(found, "drifting")
    np.testing.assert_allclose(own["drift_mm"], 2.5 * spacing(cohort), rtol=1e-5)
    np.testing.assert_allclose(own["motion_mm"], 1.25 * spacing(cohort), rtol=1e-5)
    assert of(found, "frozen")["drift_mm"].max() < of(found, "frozen")["motion_mm"].min()


def test_a_heart_that_stands_still_has_no_strain(found, cohort):
    own = of(found, "frozen")
    truth = [patient.truth["gls_endo"].min() for patient, _ in cohort]
    np.testing.assert_allclose(own["gls_endo_pp"], np.negative(truth), atol=1e-2)


def test_failures_are_counted_and_have_the_diagonal(found, cohort):
    diagonal = np.hypot(64, 64) * spacing(cohort)
    for method, frames in (("once lost", 1), ("lost at first", 1), ("infinite", 1), ("lost", 6)):
        own = of(found, method)
        assert own["failed_frames"].tolist() == [frames] * 2
        assert own["gls_failed"].tolist() == [1, 1]
        assert own[[f"gls_{line}_pp" for line in cycles.LINES]].isna().all(axis=None)
        for name in ("point_mm", "across_mm", "along_mm"):
            np.testing.assert_allclose(own[name], diagonal * frames / 6, rtol=1e-3)
    np.testing.assert_allclose(of(found, "once lost")["motion_mm"], diagonal / 6)
    np.testing.assert_allclose(of(found, "lost at first")["motion_mm"], diagonal)
    np.testing.assert_allclose(of(found, "lost at first")["drift_mm"], diagonal)


def test_a_summary_has_means_spreads_and_counts(found):
    summary = cycles.summarize(found.patients).set_index("method")
    assert summary.index.tolist() == found.patients["method"].unique().tolist()
    own, line = of(found, "frozen"), summary.loc["frozen"]
    assert line["patients"] == 2
    assert line["point_mm_mean"] == pytest.approx(own["point_mm"].mean())
    assert line["point_mm_std"] == pytest.approx(np.std(own["point_mm"].to_numpy()))
    assert line["point_mm_median"] == pytest.approx(own["point_mm"].median())
    assert line["gls_mid_bias_pp"] == pytest.approx(own["gls_mid_pp"].mean())
    assert line["gls_mid_abs_pp_mean"] == pytest.approx(own["gls_mid_pp"].abs().mean())
    lost = summary.loc["lost"]
    assert (lost["failed_frames"], lost["gls_failed"]) == (12, 2)
    assert np.isnan(lost["gls_endo_bias_pp"])
    mixed = pd.concat([own.iloc[:1], of(found, "lost").iloc[1:].assign(method="frozen")])
    one = cycles.summarize(mixed).iloc[0]
    assert one["gls_failed"] == 1
    assert one["gls_endo_bias_pp"] == own["gls_endo_pp"].iloc[0]  # the known one alone


def test_the_error_of_each_point_and_frame_is_given(found, cohort):
    arc = found.arc["shifted"]
    assert arc.shape == (12, 88)
    np.testing.assert_allclose(arc, np.repeat(5 * spacing(cohort), 6)[:, None] + 0 * arc)
    frames = found.frames[found.frames["method"] == "true"]
    assert len(frames) == 12
    np.testing.assert_allclose(frames["phase"], np.tile(np.arange(6) / 6, 2))


def test_the_true_boundary_holds_the_true_points():
    boundary = cycles.true_boundary(OPTIONS, 1)
    points = make_patient(OPTIONS, 1).points
    for line, own in zip(boundary, np.split(points, 2, axis=1), strict=True):
        apart = np.linalg.norm(own[:, :, None] - line[:, None], axis=-1).min(axis=-1)
        assert apart.max() < 0.1


def test_anisotropic_pixels_count_in_mm():
    points = np.zeros((1, 2, 2))
    found = cycles.distances_mm(points + np.array([1.0, 0.0]), points, (3.0, 2.0), limit_mm=9.0)
    np.testing.assert_allclose(found, [[2.0, 2.0]])


def test_points_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"points of short have shape \(6, 10, 2\), expected"):
        cycles.compare({"short": lambda cine: np.zeros((6, 10, 2))}, OPTIONS)
