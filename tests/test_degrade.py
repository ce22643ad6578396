"""Images made worse: what each fault does, and a method's scores against its strength."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.tables import degrade, robustness
from benchmarks.tables.degrade import DEGRADATIONS, STRENGTHS
from jssm import dataset

SHAPE = (96, 80)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def picture():
    """A smooth bright blob on grey."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (60 + 120 * np.exp(-((y - 50) ** 2 + (x - 35) ** 2) / 400)).astype(np.uint8)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_no_strength_gives_the_image_and_more_strength_more_change(name, picture):
    before = picture.copy()
    found = [DEGRADATIONS[name](picture, s, rng()) for s in np.linspace(0, 1, 21)]
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(found[0], picture)
    assert all(f.dtype == np.uint8 and f.shape == picture.shape for f in found)
    change = [np.abs(f.astype(float) - picture).mean() for f in found]
    assert np.all(np.diff(change) > 0)
    assert np.max(np.diff(change)) < 0.2 * change[-1]  # no jump


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_same_seed_gives_the_same_bytes(name, picture):
    mask = picture > 120
    change = degrade.degrade_case
    first = change(name, picture, mask, 0.5, seed=3, row=7)
    np.testing.assert_array_equal(first, change(name, picture, mask, 0.5, seed=3, row=7))
    others = [change(name, picture, mask, 0.5, seed=s, row=r) for s in range(3) for r in range(8)]
    assert len({other.tobytes() for other in others}) >= (4 if name == "dark half" else 20)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_a_strength_out_of_range_is_refused(name, strength, picture):
    with pytest.raises(ValueError, match="expected a number from 0 to 1"):
        DEGRADATIONS[name](picture, strength, rng())


def test_noise_has_its_level_and_the_mean_of_rician_noise():
    for strength in (0.25, 0.5):
        sigma = 64 * strength
        bright = degrade.noise(np.full((400, 400), 150, np.uint8), strength, rng())
        dark = degrade.noise(np.zeros((400, 400), np.uint8), strength, rng())
        assert dark.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh
        assert dark.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.01)
        assert np.mean(bright.astype(float) ** 2) == pytest.approx(150**2 + 2 * sigma**2, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_ghosts_are_those_of_modulated_lines_of_k_space(seed, picture):
    """The reference multiplies the lines of the image's Fourier transform."""
    strength = 0.4
    dim = picture // 2  # so that nothing saturates
    draw = rng(seed)
    shift, phase = int(draw.integers(12, 33)), draw.uniform(0, 2 * np.pi)
    line = np.arange(SHAPE[0])
    weights = 1 + strength * np.cos(2 * np.pi * line * shift / SHAPE[0] + phase)
    lines = np.fft.fft2(dim) * weights[:, None]
    expected = np.abs(np.fft.ifft2(lines))
    found = degrade.ghosting(dim, strength, rng(seed))
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_ghosts_of_a_point_lie_above_and_below_it():
    point = np.zeros((100, 60), np.uint8)
    point[50, 20] = 200
    rows, columns = np.nonzero(degrade.ghosting(point, 1.0, rng(4)))
    assert set(columns) == {20}
    low, middle, high = rows
    assert middle == 50
    assert high - middle == middle - low
    assert 12 <= middle - low <= 33
    ghosts = degrade.ghosting(point, 1.0, rng(4))[[low, high], 20]
    np.testing.assert_array_equal(ghosts, [100, 100])


def test_one_half_gets_dark_and_the_other_stays():
    white = np.full(SHAPE, 200, np.uint8)
    sides = set()
    for seed in range(20):
        found = degrade.dark_half(white, 1.0, rng(seed))
        axis = 0 if np.ptp(found, axis=0).max() > 0 else 1
        line = found.mean(axis=1 - axis)
        dark_last = line[-1] == 0
        sides.add((axis, bool(dark_last)))
        line = line if dark_last else line[::-1]
        size = len(line)
        assert np.all(line[: size * 3 // 8] == 200)
        assert np.all(line[-(size * 3 // 8) :] == 0)
        assert np.all(np.diff(line) <= 0)
        assert line[size // 2 - 1 : size // 2 + 1].mean() == pytest.approx(100, abs=1)
        faint = degrade.dark_half(white, 0.25, rng(seed))
        assert (faint.min(), faint.max()) == (150, 200)
    assert sides == {(0, True), (0, False), (1, True), (1, False)}


@pytest.mark.parametrize("seed", range(6))
def test_the_slab_has_its_width_and_crosses_the_heart(seed):
    white = np.full((160, 160), 200, np.uint8)
    heart = np.zeros((160, 160), bool)
    heart[100:120, 30:50] = True
    draw = rng(seed)
    angle = draw.uniform(0, np.pi)
    row, column = np.argwhere(heart)[draw.integers(heart.sum())]
    y, x = np.indices(white.shape)
    distance = np.abs((x - column) * np.cos(angle) + (y - row) * np.sin(angle))
    for strength in (0.25, 1.0):
        found = degrade.missing_slab(white, strength, rng(seed), heart=heart)
        half = strength * 0.25 * 160 / 2
        assert np.all(found[distance < half - 0.6] == 0)
        assert np.all(found[distance > half + 0.6] == 200)
        assert np.any((found == 0) & heart)
        lost, inside = np.sum(1 - found / 200), np.mean(distance < 10) * 160**2 / 20
        assert lost / inside == pytest.approx(2 * half, rel=0.1)  # its area over its length


def test_a_slab_without_a_heart_crosses_the_middle(picture):
    empty = np.zeros(SHAPE, bool)
    for seed in range(20):
        found = degrade.missing_slab(picture, 0.5, rng(seed), heart=empty)
        np.testing.assert_array_equal(found, degrade.missing_slab(picture, 0.5, rng(seed)))
        assert np.any(found[24:72, 20:60] == 0)


def bright(images):
    """A method: what is brighter than the wall's noise, without points."""
    return SimpleNamespace(mask=(np.asarray(images) > 110 / 255).astype(float), points=None)


def test_the_curves_start_together_and_fall(small_data):
    data = dataset.load(small_data)
    rows = data.rows("val")
    seen = []

    def predict(images):
        seen.append(np.array(images))
        return bright(images)

    table = robustness.per_case(predict, data, rows, seed=5, progress=False)
    assert len(table) == len(DEGRADATIONS) * len(STRENGTHS) * len(rows)
    assert table["case"].tolist()[: len(rows)] == data.cases["case"].iloc[rows].tolist()
    curves = robustness.summarize(table)
    again = robustness.curves(bright, data, rows, seed=5, progress=False)
    pd.testing.assert_frame_equal(curves, again)
    assert curves["degradation"].unique().tolist() == list(DEGRADATIONS)
    assert curves["strength"].tolist() == list(STRENGTHS) * len(DEGRADATIONS)
    assert (curves["cases"] == len(rows)).all()
    for _, curve in curves.groupby("degradation"):
        assert curve["dice_mean"].iloc[0] == curves["dice_mean"].iloc[0]
    for name in ("noise", "missing slab"):
        dice = curves.loc[curves["degradation"] == name, "dice_mean"]
        assert dice.iloc[-1] < dice.iloc[0] - 0.03
    assert {"hd_mm_std", "cc_mean", "cc_std", "failed_share"} <= set(curves)
    assert "point_rmse_px_mean" not in curves  # the method has no points
    # What the method saw last is the slab at its full strength, of just these rows.
    for image, row in zip(255 * seen[-1], rows, strict=True):
        expected = degrade.degrade_case(
            "missing slab", data.images[row], data.masks[row], 1.0, seed=5, row=int(row)
        )
        np.testing.assert_allclose(image, expected, atol=1e-3)
