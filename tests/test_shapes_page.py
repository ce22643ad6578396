"""The recipe of docs/SHAPES.md, as it stands there, and filled regions."""

import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from jssm import dataset
from jssm.shape.integrity import integrity
from prep.__main__ import main
from prep.dataset.verify import check
from prep.errors import Unsuitable
from prep.shapes import kinds, point_cloud

SIZE, RADIUS = 64, 30.0


def _band(turn: float, *, width: float = 8.0, half_angle: float = 50.0) -> np.ndarray:
    """A part of a ring, open downwards before it is turned (degrees, clockwise)."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    a = np.deg2rad(turn)
    x, y = np.cos(a) * x + np.sin(a) * y, np.cos(a) * y - np.sin(a) * x - 22
    angle = np.abs(np.rad2deg(np.arctan2(x, -y)))
    return (np.abs(np.hypot(x, y) - RADIUS) <= width / 2) & (angle <= half_angle)


@pytest.fixture
def band(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", Path("docs/SHAPES.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) < 60
    (tmp_path / "band.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return kinds.find("band:BAND")


def test_a_kind_of_ones_own_becomes_a_data_set(band, tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for k, turn in enumerate((0, 20, -15)):
        mask = _band(turn, width=8 + k)
        iio.imwrite(masks / f"p{k}.png", mask.astype(np.uint8))
        iio.imwrite(images / f"p{k}.png", (50 + 100 * mask).astype(np.uint8))
    words = ["build", "--shape", "band:BAND", "--images", images, "--masks", masks, "--size", SIZE]
    words += ["--points", 12, "--modes", 1, "--jobs", 1, "--out", tmp_path / "out"]
    assert main([*map(str, words)]) == 0
    assert check(tmp_path / "out") == []
    data = dataset.load(tmp_path / "out")
    assert data.meta["shape"] == "band:BAND"
    assert len(data.cases) == 3


@pytest.mark.parametrize("turn", [0, 90, 200])
def test_its_sides_are_those_of_the_ring(band, turn):
    a = np.deg2rad(turn)
    down = 22 * np.array([-np.sin(a), np.cos(a)])
    for side, wanted in zip(band.boundaries(_band(turn)), (26, 34), strict=True):
        radii = np.linalg.norm(side - (SIZE - 1) / 2 - down, axis=1)
        assert np.median(np.abs(radii - wanted)) < 0.7


def test_masks_of_another_kind_are_refused(band):
    y, x = np.mgrid[:SIZE, :SIZE] - 31.5
    with pytest.raises(Unsuitable, match="straight"):
        band.boundaries((np.abs(y) < 4) & (np.abs(x) < 25))


def _ellipse(across: float, down: float, turn: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    a = np.deg2rad(turn)
    x, y = np.cos(a) * x + np.sin(a) * y, np.cos(a) * y - np.sin(a) * x
    return (x / across) ** 2 + (y / down) ** 2 <= 1


@pytest.mark.parametrize(("across", "down", "turn"), [(20, 12, 0), (14, 22, 30), (16, 16, 0)])
def test_a_region_has_two_sides_from_its_top_to_its_bottom(across, down, turn):
    mask = _ellipse(across, down, turn)
    middle, (inner, outer) = (SIZE - 1) / 2, kinds.REGION.boundaries(mask)
    assert inner[1:-1, 0].max() < middle < outer[1:-1, 0].min() or turn
    for side in (inner, outer):  # cut off beside the vertical line through the middle
        assert np.abs(side[[0, -1], 0] - middle).max() < 2.5
        assert side[0, 1] < middle < side[-1, 1]
    points = point_cloud.sample_points(mask, 88, kinds.REGION.boundaries)
    assert point_cloud.dice(point_cloud.polygon_mask(points, mask.shape), mask) > 0.98
    assert integrity(points).ok
    side, first, last = kinds.REGION.landmarks(inner, outer)
    assert first[1] < side[1] < last[1]
    assert side[0] > middle + 8


def test_what_does_not_lie_round_its_centroid_is_no_region():
    y, x = np.mgrid[:SIZE, :SIZE] - 31.5
    arc = (np.abs(np.hypot(x, y) - 25) < 3) & (y < 0)
    with pytest.raises(Unsuitable, match="centroid"):
        kinds.REGION.boundaries(arc)
