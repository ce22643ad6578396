"""Closed shapes: the order, what is drawn of them, their certificate and their searches."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jssm import dataset
from jssm.config import Augmentation, Config
from jssm.methods.evidence import landmark_loss, map_loss
from jssm.networks.heatmaps import targets
from jssm.networks.layers import along
from jssm.rasterizer import draw, kernels, tiles
from jssm.report.command import shape_of
from jssm.shape import labels, order, placing, shape_model
from jssm.shape.integrity import integrity
from jssm.shape.polygon import encloses
from jssm.shape.strip import thicken
from jssm.training import plan
from jssm.training.augment import augment
from tests import reference
from tests.rings import ring, signed_distance, soft_mask

pytestmark = pytest.mark.usefixtures("real_rasterizer")
SHAPE = (40, 44)
drawn = jax.jit(lambda p: draw.signed_distance(p, SHAPE, closed=True))


def single(points):
    return jnp.asarray(points, jnp.float32)


def test_triangles_fill_the_ring_and_the_outline_is_what_one_triangle_has():
    triangles = order.strip_triangles(12, closed=True)
    assert len(triangles) == 12
    sides = [frozenset((t[i], t[i - 1])) for t in triangles.tolist() for i in range(3)]
    once = {side for side in sides if sides.count(side) == 1}
    start = order.outline_indices(12)
    edges = zip(start.tolist(), order.following(start, closed=True).tolist(), strict=True)
    assert {frozenset(edge) for edge in edges} == once
    for corners in (order.outline(ring(6)), ring(6)[order.outline_indices(12)]):
        back = order.following(order.following(corners, closed=True), -1, closed=True)
        np.testing.assert_array_equal(back, corners)


def test_facing_corners_complete_the_triangle_and_the_quad_of_an_edge():
    half, triangles = 6, order.strip_triangles(12, closed=True).tolist()
    quads = [{i, (i + 1) % half, half + i, half + (i + 1) % half} for i in range(half)]
    start = order.outline_indices(12)
    edges = zip(start.tolist(), order.following(start, closed=True).tolist(), strict=True)
    facing = order.facing_corners(12, closed=True).T.tolist()
    for edge, (third, fourth) in zip(edges, facing, strict=True):
        (triangle,) = [t for t in triangles if set(edge) <= set(t)]
        assert {third} == set(triangle) - set(edge)
        assert {*triangle, fourth} in quads


@pytest.mark.parametrize(("noise", "seed"), [(0, 0), (0.25, 1), (0.25, 2)])
def test_the_mask_is_the_annulus(noise, seed):
    points = ring(noise=noise, start=seed, seed=seed)
    expected = signed_distance(np.split(points, 2), SHAPE)
    np.testing.assert_allclose(drawn(single(points)), expected, atol=1e-5)
    pixels = jnp.stack(jnp.meshgrid(*map(jnp.arange, SHAPE[::-1])), axis=-1)
    inside = encloses(order.outline(single(points)), pixels, closed=True)
    np.testing.assert_array_equal(inside, expected > 0)


def test_rings_on_the_pixels_and_partly_outside():
    for points in (np.round(ring()), ring(centre=(2.0, 38.0)), ring(outer=30.0)):
        expected = signed_distance(np.split(points, 2), SHAPE)
        found = np.asarray(drawn(single(points)))
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-5)
        off = np.abs(expected) > 1e-4
        np.testing.assert_array_equal(np.sign(found)[off], np.sign(expected)[off])


def test_the_kernels_of_a_gpu_draw_the_same():
    points, shape = single(ring(4, centre=(8, 7), inner=3, outer=6)), (16, 16)
    sides = tiles.all_sides(points, closed=True)
    by_kernels = jax.jit(partial(kernels.draw, shape, interpret=True))
    windows, trace = by_kernels(sides, jnp.float32(0.5))
    expected, kept = jax.jit(lambda p, tau: draw._draw(p, tau, shape, True))(points, 0.5)
    np.testing.assert_allclose(windows, expected, atol=1e-6)
    seen = np.asarray(trace.runs.length).sum(axis=1) > 0
    np.testing.assert_array_equal(trace.codes[seen], kept.codes[seen])


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_those_of_differences(seed):
    points = np.float64(single(ring(6, noise=0.2, seed=seed)))
    weights = np.random.default_rng(seed).normal(size=SHAPE)
    found = jax.grad(
        lambda p: jnp.sum(weights * draw.rasterize(p, SHAPE, closed=True))
    )(single(points))  # fmt: skip
    expected = reference.central_difference(lambda p: np.sum(weights * soft_mask(p, SHAPE)), points)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_cavity_label_draws_the_inner_loop_and_moves_it():
    points = ring(12, noise=0.2)
    strip = labels.covered_strip(single(points), labels.CAVITY, closed=True)
    expected = signed_distance([points[:12]], SHAPE)
    np.testing.assert_allclose(drawn(strip), expected, atol=1e-5)

    def area(points):
        strip = labels.covered_strip(points, labels.CAVITY, closed=True)
        return jnp.sum(draw.rasterize(strip, SHAPE, closed=True))

    slope = jax.grad(area)(single(points))
    assert not np.asarray(slope[12:]).any()
    expected = reference.central_difference(
        lambda inner: np.sum(1 / (1 + np.exp(-signed_distance([inner], SHAPE) / 0.5))), points[:12]
    )
    np.testing.assert_allclose(slope[:12], expected, atol=2e-3 * np.abs(expected).max())


def test_a_thin_ring_is_widened_all_round():
    thin = single(ring(inner=9.8, outer=10.0))
    for boundary, radius in zip(order.boundaries(thicken(thin, 1.1, closed=True)), (9.35, 10.45),
                                strict=True):  # fmt: skip
        radii = np.linalg.norm(boundary - np.array([20.3, 18.7]), axis=1)
        np.testing.assert_allclose(radii, radius, atol=0.01)


def test_certificate_of_good_and_of_bad_rings():
    good = ring(10)
    for points in (good, good * (-1, 1), order.reversed_order(good, closed=True)):
        found = integrity(single(points), closed=True)
        assert bool(found.ok)
        # From a corner of the inner polygon to an edge of the outer one.
        assert float(found.min_thickness_px) == pytest.approx(4 * np.cos(np.pi / 10), abs=1e-4)
    turned = good.copy()
    turned[0] = turned[5]  # an inner point across the cavity
    inside_out = good.copy()
    inside_out[:10] = 20.3 + 1.5 * (good[:10] - 20.3)
    shifted = good + np.where(np.arange(20) < 10, 6.0, 0.0)[:, None]
    for points in (turned, shifted, np.full_like(good, np.nan), np.zeros_like(good)):
        assert not bool(integrity(single(points), closed=True).ok)
    found = integrity(single(shifted), closed=True)
    assert int(found.crossings) == 2
    assert float(found.min_thickness_px) == 0
    # The seam is an edge like others: what crosses there is seen.
    crossed = good.copy()
    crossed[[0, 9]] = crossed[[9, 0]]
    assert int(integrity(single(crossed), closed=True).crossings) > 0


def test_numbered_the_other_way_it_begins_at_the_same_points():
    points = ring(7, noise=0.3)
    back = order.reversed_order(points, closed=True)
    np.testing.assert_array_equal(back[[0, 7]], points[[0, 7]])
    np.testing.assert_array_equal(back[[1, 8]], points[[6, 13]])
    np.testing.assert_array_equal(order.reversed_order(back, closed=True), points)
    found = order.reversed_order(single(points), closed=True)
    np.testing.assert_array_equal(found, single(back))


def test_a_mirror_keeps_the_first_point_and_the_clockwise_order(monkeypatch):
    monkeypatch.setattr("jssm.training.augment.recolour", lambda key, image, *_: image)
    points, image = single(ring(8, centre=(16, 16))), jnp.zeros((33, 33))
    options = Augmentation(flip_left_right=True)

    def moved_by(key):
        return augment(key, image, image, points, options=options, closed=True)[2]

    seen = np.asarray(jax.jit(jax.vmap(moved_by))(jax.random.split(jax.random.key(0), 8)))
    mirrored = seen[:, 0, 0] != seen[0, 0, 0]
    assert mirrored.any()
    x, y = points[0]
    np.testing.assert_allclose(np.sort(np.unique(seen[:, 0, 0])), np.sort([x, 32 - x]), atol=1e-4)
    np.testing.assert_allclose(seen[:, 0, 1], y, atol=1e-4)
    for moved in seen:
        x, y = moved[8:].T
        assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0


def test_training_refuses_mirrored_rings(small_data):
    open_data = dataset.load(small_data)
    data = replace(open_data, shape_model=open_data.shape_model.replace(closed=True))
    for name in ("flip_left_right", "flip_up_down"):
        config = Config(data="rings", augment=Augmentation(**{name: True}))
        with pytest.raises(ValueError, match="the side on which a ring begins"):
            plan.settle(config, data)
        plan.settle(config, open_data)


def test_landmarks_are_thirds_of_the_way_round_clockwise():
    third, first, last = placing.middles(jnp.asarray(ring(12)), closed=True)
    angles = [np.arctan2(*(p - np.array([20.3, 18.7]))[::-1]) for p in (first, third, last)]
    np.testing.assert_allclose(np.mod(np.array(angles) - 0.3, 2 * np.pi), [0, 2.0944, 4.1888],
                               atol=1e-3)  # fmt: skip


def test_a_search_round_a_ring_knows_no_beginning():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 6, 3)), jnp.float32)
    layer = nn.Conv(4, (3, 3), (1, 2), use_bias=False)
    variables = layer.init(jax.random.key(0), x)

    def of(x):
        return along(layer.bind(variables), x, 1, closed=True)

    np.testing.assert_allclose(of(jnp.roll(x, 4, axis=1)), jnp.roll(of(x), 4, axis=1), atol=1e-6)
    inner = layer.apply(variables, x)
    np.testing.assert_allclose(of(x)[:, 1:-1], inner[:, 1:-1], atol=1e-6)


def test_a_shape_model_says_that_it_is_closed(tmp_path, small_shape):
    for closed in (False, True):
        shape = small_shape.replace(closed=closed)
        shape_model.save(tmp_path / "shape.npz", shape)
        assert shape_model.load(tmp_path / "shape.npz").closed is closed
        assert ("closed" in np.load(tmp_path / "shape.npz")) is closed
        assert shape_model.from_arrays(shape_model.arrays_of(shape)).closed is closed
    shape_model.save(tmp_path / "shape_model.npz", shape)
    assert shape_of(str(tmp_path))["closed"] is True


def test_maps_and_landmarks_of_a_ring_have_their_targets():
    points = ring(12)
    wall, cavity = (signed_distance(loops, SHAPE) > 0
                    for loops in (np.split(points, 2), [points[:12]]))  # fmt: skip
    classes = 20.0 * np.stack([~wall & ~cavity, wall, cavity], axis=-1)
    of = jax.jit(lambda c: map_loss(c, wall.astype(np.float32), single(points), closed=True))
    assert float(of(single(classes))) < 1e-3
    assert float(of(single(classes[..., [0, 2, 1]]))) > 1
    marks = placing.middles(single(points), closed=True) / 4 - 0.375  # a map of every fourth pixel
    chances = targets(marks, (10, 11), sigma_px=1.5)
    logits = jnp.log(chances[:, :-1] / chances[:, -1:]).T.reshape(10, 11, 3)
    assert float(landmark_loss(logits, single(points), closed=True)) < 1e-4
