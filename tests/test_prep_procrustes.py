import numpy as np
import pytest

from prep.shapes import procrustes
from prep.shapes.registration import apply, compose, invert, signed_distance
from tests.prep_shapes import Horseshoe


def _similarity(scale, degrees, x, y):
    a = np.deg2rad(degrees)
    c, s = scale * np.cos(a), scale * np.sin(a)
    return np.array([[c, -s, x], [s, c, y]])


def test_a_known_similarity_is_recovered_exactly():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = _similarity(rng.uniform(0.2, 5), rng.uniform(-180, 180), *rng.normal(0, 50, 2))
        source = rng.normal(0, 20, (3, 2))
        found = procrustes.fit_similarity(source, apply(truth, source))
        np.testing.assert_allclose(found, truth, atol=1e-9)


def test_the_similarity_is_least_squares_and_never_mirrors():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    rows, right = [], []
    for (x, y), (u, v) in zip(
        source, target, strict=True
    ):  # u = c·x − s·y + tx, v = s·x + c·y + ty
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    c, s, tx, ty = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    np.testing.assert_allclose(
        procrustes.fit_similarity(source, target), [[c, -s, tx], [s, c, ty]], atol=1e-12
    )
    mirrored = procrustes.fit_similarity(source, source * [-1, 1])
    assert np.linalg.det(mirrored[:, :2]) > 0


def test_coinciding_points_are_refused():
    with pytest.raises(ValueError, match="coincide"):
        procrustes.fit_similarity(np.ones((3, 2)), np.eye(3)[:, :2])


def test_mean_landmarks_of_moved_copies_is_the_triangle_upright():
    triangle = np.array([[0.0, -3], [-1, 2], [1, 2]])
    rng = np.random.default_rng(2)
    copies = [
        apply(
            _similarity(rng.uniform(5, 9), rng.uniform(-180, 180), *rng.normal(0, 9, 2)), triangle
        )
        for _ in range(7)
    ]
    mean = procrustes.mean_landmarks(np.stack(copies), 64)
    fit = procrustes.fit_similarity(triangle, mean)
    np.testing.assert_allclose(apply(fit, triangle), mean, atol=1e-9)
    assert fit[1, 0] == pytest.approx(0, abs=1e-9)  # not turned: the apex is up
    assert mean.mean(axis=0) == pytest.approx((31.5, 31.5))
    radius = np.sqrt(((mean - 31.5) ** 2).sum(axis=1).mean())
    assert radius == pytest.approx(procrustes.SPREAD * 64)


def test_without_drift_the_mean_change_is_the_identity():
    rng = np.random.default_rng(3)
    starts = np.stack([_similarity(*rng.uniform(1, 2, 1), *rng.normal(0, 9, 3)) for _ in range(5)])
    common = np.array([[1.2, 0.3, 4], [-0.1, 0.8, -2]])
    thetas = np.stack([compose(s, compose(common, _similarity(1, 0, x, 0)))
                       for s, x in zip(starts, (-2, -1, 0, 1, 2), strict=True)])  # fmt: skip
    found = procrustes.without_drift(thetas, starts)
    relative = [compose(invert(s), t) for s, t in zip(starts, found, strict=True)]
    np.testing.assert_allclose(np.mean(relative, axis=0), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_centring_puts_the_mean_in_the_middle_at_the_set_size():
    field = signed_distance(Horseshoe(centre=(25, 30)).mask(), 0)
    again = procrustes.mean_field([field], procrustes.centring(field)[None], 64)
    y, x = np.nonzero(again > 0)
    assert (x.mean(), y.mean()) == pytest.approx((31.5, 31.5), abs=0.3)
    radius = np.sqrt(((x - x.mean()) ** 2 + (y - y.mean()) ** 2).mean())
    assert radius == pytest.approx(procrustes.RADIUS * 64, rel=0.02)


def test_mean_field_of_one_shape_seen_from_different_places_is_that_shape():
    shapes = [Horseshoe(turn=t, centre=(32 + t / 30, 30)) for t in (0, 15, -30)]
    fields = [signed_distance(s.mask(), 0) for s in shapes]
    thetas = [procrustes.fit_similarity(shapes[0].landmarks(), s.landmarks()) for s in shapes]
    mean = procrustes.mean_field(fields, np.stack(thetas), 64)
    other = shapes[0].mask()
    assert 2 * ((mean > 0) & other).sum() / ((mean > 0).sum() + other.sum()) > 0.97
