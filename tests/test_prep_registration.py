import numpy as np
import pytest

from prep.shapes import registration
from prep.shapes.point_cloud import (
    dice,
    horseshoe_boundaries,
    polygon_mask,
    resample_arc,
    sample_points,
)
from prep.shapes.registration import apply, compose, invert
from tests.prep_shapes import Horseshoe


def test_maps():
    rng = np.random.default_rng(0)
    outer, inner, points = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(9, 2))
    together = apply(outer, apply(inner, points))
    np.testing.assert_allclose(apply(compose(outer, inner), points), together, atol=1e-12)
    np.testing.assert_allclose(apply(invert(outer), apply(outer, points)), points, atol=1e-9)


def test_signed_distance_of_a_half_plane_is_exact_away_from_corners():
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True  # the boundary runs at x = 19.5
    field = registration.signed_distance(mask, 5)
    np.testing.assert_allclose(field[25, 5 + 12 : 5 + 28], 19.5 - np.arange(12, 28), atol=0.12)


def test_resample_moves_and_scales_the_distance():
    field = registration.signed_distance(Horseshoe().mask(), 0)
    theta = np.array([[0.5, 0, 10], [0, 0.5, 8]])
    seen = registration.resample(field, theta, 32)
    assert seen[0, 0] == pytest.approx(2 * field[8, 10], rel=1e-5)
    assert seen[10, 6] == pytest.approx(2 * field[13, 13], rel=1e-5)


def test_affine_registration_recovers_a_known_map():
    truth = np.array([[1.1, 0.08, -4], [-0.05, 0.93, 3]])  # fixed -> moving
    field = registration.signed_distance(Horseshoe().mask(), 20)
    shift = np.array([[1.0, 0, 20], [0, 1, 20]])
    moving = registration.resample(field, shift, 64)
    fixed = registration.resample(field, compose(shift, truth), 64)
    found = registration.register_affine(fixed, moving, seed=0)
    points = np.argwhere(Horseshoe().mask())[:, ::-1].astype(float)

    def distance(theta):
        return np.sqrt(((apply(theta, points) - apply(truth, points)) ** 2).sum(axis=1).mean())

    assert distance(found) < 0.15


def test_deformation_carries_the_points_from_fixed_to_moving():
    thin, thick = Horseshoe(), Horseshoe(inner=9.5, outer=18.5, arm=20)
    fixed, moving = (registration.signed_distance(s.mask(), 0) for s in (thin, thick))
    points = sample_points(thin.mask(), 88, horseshoe_boundaries)
    found = registration.deform_points(fixed, moving, points, seed=0)
    assert dice(polygon_mask(points, (64, 64)), thick.mask()) < 0.85
    assert dice(polygon_mask(found, (64, 64)), thick.mask()) > 0.96
    inner, outer = horseshoe_boundaries(thick.mask())
    wanted = np.concatenate([resample_arc(inner, 44), resample_arc(outer, 44)])
    assert np.linalg.norm(found - wanted, axis=1).mean() < 1.0  # the order is kept


def test_the_same_seed_gives_the_same_bytes():
    fixed, moving = (registration.signed_distance(Horseshoe(turn=t).mask(), 0) for t in (0.0, 5.0))
    points = np.array([[31.0, 12.0], [20.0, 40.0]])
    first = registration.deform_points(fixed, moving, points, seed=3)
    second = registration.deform_points(fixed, moving, points, seed=3)
    assert first.tobytes() == second.tobytes()
