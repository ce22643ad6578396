import numpy as np
import pytest

from prep.errors import Unsuitable
from prep.shapes import point_cloud
from tests.prep_shapes import Horseshoe, cohort

TURNS = (0, 35, 90, 180, -120)


@pytest.mark.parametrize("turn", TURNS)
def test_boundaries_run_from_corner_to_corner(turn):
    shape = Horseshoe(turn=turn, centre=(31.5, 31.5), arm=12)
    inner, outer = point_cloud.horseshoe_boundaries(shape.mask())
    ends = np.stack([inner[0], outer[0], inner[-1], outer[-1]])
    assert np.abs(ends - shape.corners()).max() < 1.6  # a corner is rounded by a pixel
    local = np.linalg.norm(inner - shape.centre, axis=1)
    assert local.min() > shape.inner - 1
    assert np.linalg.norm(outer - shape.centre, axis=1).min() > shape.outer - 1


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_both_boundaries_run_clockwise(turn, mirrored):
    mask = Horseshoe(turn=turn, centre=(31.5, 31.5), arm=12).mask()
    mask = mask[:, ::-1] if mirrored else mask
    for line in point_cloud.horseshoe_boundaries(mask):
        assert point_cloud.signed_area(line) > 0


def test_uneven_and_slanted_arms():
    mask = Horseshoe(arm=20).mask()
    y, x = np.mgrid[:64, :64]
    mask &= y < 44 - 0.5 * (x - 31.5)  # the base cut at 27 degrees, the right arm short
    inner, outer = point_cloud.horseshoe_boundaries(mask)
    assert inner[0] == pytest.approx((20.5, 47.5), abs=2)
    assert outer[-1] == pytest.approx((48.5, 35.5), abs=2)


def test_a_ring_and_a_blob_are_refused_with_the_cause():
    y, x = np.mgrid[:64, :64]
    radius = np.hypot(x - 31, y - 31)
    with pytest.raises(Unsuitable, match="closed ring"):
        point_cloud.horseshoe_boundaries((radius < 20) & (radius > 12))
    with pytest.raises(Unsuitable, match="no cavity"):
        point_cloud.horseshoe_boundaries(radius < 20)


def test_arc_length_sampling_is_uniform():
    t = np.linspace(0, np.pi, 2000) ** 2 / np.pi  # unevenly spaced points of a half circle
    line = 10 * np.stack([np.cos(t), np.sin(t)], 1)
    points = point_cloud.resample_arc(line, 44)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.ptp(steps) < 1e-3 * steps.mean()
    np.testing.assert_allclose(points[[0, -1]], line[[0, -1]], atol=1e-12)


def test_points_lie_half_inside_half_outside_and_cover_the_mask():
    for shape in cohort(4):
        points = point_cloud.sample_points(shape.mask(), 88, point_cloud.horseshoe_boundaries)
        assert points.shape == (88, 2)
        for part in (points[:44], points[44:]):
            steps = np.linalg.norm(np.diff(part, axis=0), axis=1)
            assert np.ptp(steps) < 0.1 * steps.mean()
        covered = point_cloud.polygon_mask(points, (64, 64))
        assert point_cloud.dice(covered, shape.mask()) > 0.95


def test_another_kind_of_boundaries_can_take_the_place():
    def ring(mask):
        t = np.linspace(0, 2 * np.pi, 200)
        circle = np.stack([np.sin(t), -np.cos(t)], 1)
        return 31 + 12 * circle, 31 + 20 * circle

    y, x = np.mgrid[:64, :64]
    radius = np.hypot(x - 31, y - 31)
    mask = (radius < 20) & (radius > 12)
    points = point_cloud.sample_points(mask, 88, ring)
    assert point_cloud.dice(point_cloud.polygon_mask(points, (64, 64)), mask) > 0.98


def test_polygon_mask_takes_the_pixels_whose_centre_is_inside():
    inner = np.array([[9.5, 7.5], [9.5, 3.5]])
    outer = np.array([[4.5, 7.5], [4.5, 3.5]])
    wanted = np.zeros((12, 14), bool)
    wanted[4:8, 5:10] = True
    found = point_cloud.polygon_mask(np.concatenate([inner, outer]), (12, 14))
    np.testing.assert_array_equal(found, wanted)


def test_dice():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert point_cloud.dice(a, b) == 1
    a[0], b[:2] = True, True
    assert point_cloud.dice(a, b) == pytest.approx(2 * 4 / 12)
