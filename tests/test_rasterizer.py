from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jssm.methods import losses
from jssm.rasterizer import draw, grid, kernels, loops, tiles
from jssm.shape import order
from tests import reference
from tests.strips import SHAPE, SHAPES, masks_and_gradients, small_horseshoe, twelve

pytestmark = pytest.mark.usefixtures("whole_turns")


@pytest.mark.parametrize("name", SHAPES)
def test_signed_distance_agrees_with_the_slow_reference(name):
    points = SHAPES[name]
    expected = reference.signed_distance(points, SHAPE)
    found = np.asarray(draw.signed_distance(jnp.asarray(points), SHAPE))
    # On the outline itself both signs are right.
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-5)
    off = np.abs(expected) > 1e-4
    np.testing.assert_array_equal(np.sign(found)[off], np.sign(expected)[off])


@pytest.mark.parametrize("tau", [0.25, 0.5, 2.0])
def test_mask_is_the_sigmoid_of_the_distance(tau):
    expected = reference.rasterize(SHAPES["horseshoe"], SHAPE, tau)
    found = draw.rasterize(jnp.asarray(SHAPES["horseshoe"]), SHAPE, tau=tau)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_seams_inside():
    """SoftRas-like renderers show 0.75 on the triangles' common edges."""
    points = twelve([4, 4], [4, 10], [4, 16], [20, 4], [20, 10], [20, 16])
    mask = np.asarray(draw.rasterize(jnp.asarray(points), SHAPE))
    assert mask[7:14, 7:18].min() > 0.99


@pytest.mark.parametrize("direction", [(0.6, 0.8), (5 / 13, 12 / 13), (8 / 17, 15 / 17)])
def test_no_holes_in_a_wall_of_thin_triangles(direction):
    """Their common sides run through pixels' centres, 0.2 px apart across a wall of 40 px."""
    along = np.array(direction)
    across = np.array([-along[1], along[0]])
    middle = 32 + 0.2 * np.arange(-100, 100)[:, None] * along
    points = np.concatenate([middle - 20 * across, middle + 20 * across])
    y, x = np.mgrid[:64, :64] - 32
    off_middle, off_center = np.abs(x * across[0] + y * across[1]), x * along[0] + y * along[1]
    inside = (off_middle < 19.9) & (np.abs(off_center) < 19.7)
    found = np.asarray(draw.signed_distance(jnp.asarray(points, jnp.float32), (64, 64)))
    assert found[inside].min() > 0


def test_area_of_a_large_shape():
    points = reference.horseshoe(88, center=(112, 112), inner=40, outer=52)
    loop = points[order.outline_indices(88)]
    x, y = loop.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    mask = draw.rasterize(jnp.asarray(points), (224, 224), tau=0.5)
    assert float(mask.sum()) == pytest.approx(area, rel=0.002)


def test_triangles_and_outline_are_equation_7():
    assert {tuple(t) for t in order.strip_triangles(12)} == set(reference.strip_triangles(12))
    assert len(order.strip_triangles(88)) == 86
    loop = order.outline_indices(12)
    edges = {frozenset(e) for e in zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)}
    assert edges == {frozenset(e) for e in reference.outline_edges(12)}


def test_facing_corners_complete_the_triangle_and_the_quad_of_an_edge():
    half = 6
    quads = [{i, i + 1, half + i, half + i + 1} for i in range(half - 1)]
    loop = order.outline_indices(12).tolist()
    edges = zip(loop, loop[1:] + loop[:1], strict=True)
    for edge, corners in zip(edges, order.facing_corners(12).T.tolist(), strict=True):
        (triangle,) = [t for t in reference.strip_triangles(12) if set(edge) <= set(t)]
        assert {corners[0]} == set(triangle) - set(edge)
        assert {*triangle, corners[1]} in quads


@pytest.mark.parametrize("num_points", [2, 7])
def test_a_strip_needs_an_even_number_of_points(num_points):
    with pytest.raises(ValueError, match="even number of points, at least 4"):
        order.strip_triangles(num_points)


@pytest.mark.parametrize(
    "name",
    ["horseshoe", "mirrored", "reversed", "partly outside", "repeated points", "on the pixels"],
)
def test_gradient_agrees_with_central_differences(name):
    points = np.float64(np.float32(SHAPES[name]))
    _check_gradient(points, np.random.default_rng(0).normal(size=SHAPE))


@pytest.mark.parametrize("grid", [0, 1, 0.5], ids=["anywhere", "on pixels", "on half pixels"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradient_of_random_shapes(seed, grid):
    """Outlines through pixel centres have kinks and ties there; differences see both sides."""
    rng = np.random.default_rng(seed)
    points = small_horseshoe(inner=4 + 2 * rng.random()) + rng.normal(size=(12, 2)) * 0.5
    points = np.round(points / grid) * grid if grid else np.float64(np.float32(points))
    _check_gradient(points, rng.normal(size=SHAPE))


def test_gradient_where_a_triangle_is_collinear():
    """Its outline edge still knows which side is the inner one."""
    points = twelve([5, 5], [5, 10], [5, 15], [5, 1], [20, 10], [20, 15])
    np.testing.assert_array_equal(points[[0, 1, 6], 0], 5)
    slope = _weighted_gradient(jnp.asarray(points, jnp.float32), np.ones(SHAPE))
    assert float(slope[1, 0]) < -1.5  # the wall to its right shrinks as it moves right
    assert np.isfinite(slope).all()


def _check_gradient(points, weights):
    expected = reference.central_difference(
        lambda p: np.sum(weights * reference.soft_mask(p, SHAPE, 0.5)), points
    )
    found = _weighted_gradient(jnp.asarray(points, jnp.float32), weights)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


@jax.jit
def _weighted_gradient(points, weights):
    return jax.grad(lambda p: jnp.sum(weights * draw.rasterize(p, SHAPE)))(points)


def test_gradient_of_an_outline_on_the_pixels():
    """A rectangle whose sides run through pixel centres: moving a side by h adds h · length."""
    points = twelve([5, 5], [5, 10], [5, 15], [20, 5], [20, 10], [20, 15])
    right = np.zeros((12, 2))
    right[6:, 0] = 1
    ends = [np.sum(reference.soft_mask(points + h * right, SHAPE, 0.5)) for h in (0.01, -0.01)]
    gradient = _weighted_gradient(jnp.asarray(points, jnp.float32), np.ones(SHAPE))
    assert float(np.sum(gradient * right)) == pytest.approx((ends[0] - ends[1]) / 0.02, rel=0.02)
    assert float(np.sum(gradient * right)) == pytest.approx(10, rel=0.05)


@st.composite
def shapes(draw):
    """Twelve points: any, on the pixels, repeated, all on a line, or far outside."""
    anywhere = st.floats(-40, 60, width=32)
    on_pixels = st.integers(-2, 28).map(float)
    coordinate = draw(st.sampled_from([anywhere, on_pixels, st.one_of(anywhere, on_pixels)]))
    points = draw(st.lists(st.tuples(coordinate, coordinate), min_size=12, max_size=12))
    points = np.array(points)
    kind = draw(st.sampled_from(["as drawn", "repeated", "collinear", "outside", "one point"]))
    if kind == "repeated":
        points = np.repeat(points[::2], 2, axis=0)
    elif kind == "collinear":
        points[:, 1] = points[:, 0]
    elif kind == "outside":
        points += 200
    elif kind == "one point":
        points[:] = points[0]
    return jnp.asarray(points, jnp.float32)


SLIVER = "0 2, 0 2, 1 0, 1e-5 0, 0 0, 0 0, 0 2, 0 2, 0 2, 1 0, 0 0, 0 0"
SEAMS = """-1 26.00001, -1 26.00001, 3 19, 3 19, -2 6, -2 6, 18.00001 22.00001, 18 22.00001,
17 -1.99999, 17 -2, -5.99999 19, -6 19"""


def _points(text):
    return jnp.array([[float(x) for x in point.split()] for point in text.split(",")])


@settings(deadline=None, max_examples=80)
@given(shapes())
@example(jnp.zeros((12, 2)).at[0, 1].set(16.0))  # a point on a pixel just below the image
@example(jnp.zeros((12, 2)).at[10, 1].set(2.0).at[11, 0].set(1e-5))  # a triangle 1e-5 px high
@example(_points(SLIVER))
@example(_points(SEAMS))  # triangles meet on pixels' centres
def test_any_shape_has_the_right_mask_and_finite_gradients(points):
    value, gradient, forward = _value_and_gradients(points)
    expected = reference.soft_mask(np.asarray(points), (16, 16), 0.5)
    settled = _settled(np.asarray(points, np.float64), expected)
    np.testing.assert_allclose(value[settled], expected[settled], atol=2e-5)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(forward, gradient, atol=1e-4 * (1 + np.abs(gradient).max()))


def test_forward_and_reverse_mode_agree():
    points = jnp.asarray(SHAPES["horseshoe"] * 0.6, jnp.float32)
    _, reverse, forward = _value_and_gradients(points)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-5)


def _settled(points, mask):
    """Where the sign does not change within 1e-4 px. A pixel on the outline, on the edge of a fold,
    or in a triangle that rounding flattens, may be inside or outside."""
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False) + 0.1
    shifts = 1e-4 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    moved = [reference.soft_mask(points + shift, mask.shape, 0.5) for shift in shifts]
    inside = np.array([mask, *moved]) > 0.5
    return (inside.all(axis=0) | ~inside.any(axis=0)) & (np.abs(mask - 0.5) > 1e-3)


@jax.jit
def _value_and_gradients(points):
    def total(p):
        mask = draw.rasterize(p, (16, 16))
        return jnp.sum(mask * jnp.arange(256.0).reshape(16, 16)) / 256, mask

    gradient, mask = jax.grad(total, has_aux=True)(points)
    return mask, gradient, jax.jacfwd(total, has_aux=True)(points)[0]


@pytest.mark.parametrize("num_points", [88, 150])
def test_a_large_image_agrees_with_the_slow_reference(num_points):
    """Of many blocks of tiles; with more than 128 points the numbers of edges need more bits."""
    shape, rng = (72, 150), np.random.default_rng(num_points)
    points = reference.horseshoe(num_points, center=(70, 40), inner=22, outer=30, aspect=1.4)
    points = np.float32(points + rng.normal(size=points.shape) * 0.7)
    expected = reference.soft_mask(np.float64(points), shape, 0.5)
    weights = rng.normal(size=shape)

    def total(p):
        mask = draw.rasterize(p, shape)
        return jnp.sum(weights * mask), mask

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(points))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    direction = rng.normal(size=points.shape)
    ends = [reference.soft_mask(points + h * direction, shape, 0.5) for h in (1e-4, -1e-4)]
    slope = np.sum(weights * (ends[0] - ends[1])) / 2e-4
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(("few", "shape"), [(1, (40, 101)), (100, (40, 102))])
def test_gradient_where_many_tiles_have_ties(monkeypatch, few, shape):
    """The middle of a wall of 8 px is as near to either side; whatever number counts as few."""
    monkeypatch.setattr(loops, "FEW", few)  # read when a new shape is traced
    x = np.linspace(3.3, 96.6, 24)
    points = np.concatenate([np.stack([x, np.full(24, y)], axis=-1) for y in (14.0, 22.0)])
    rng = np.random.default_rng(0)
    weights, direction = rng.normal(size=shape), rng.normal(size=points.shape)
    ends = [reference.soft_mask(points + h * direction, shape, 2.0) for h in (1e-5, -1e-5)]
    slope = np.sum(weights * (ends[0] - ends[1])) / 2e-5

    def total(p):
        return jnp.sum(weights * draw.rasterize(p, shape, tau=2.0))

    gradient = jax.jit(jax.grad(total))(jnp.asarray(points, jnp.float32))
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-3)


_plan_by_blocks = jax.jit(loops._plan, static_argnums=2)
_plan_at_once = jax.jit(kernels._plan, static_argnums=2)


@pytest.mark.parametrize("reach", [6.0, np.inf])
@pytest.mark.parametrize("name", SHAPES)
def test_what_matters_is_the_same_by_blocks_and_at_once(name, reach):
    shape = (72, 100)
    points = jnp.asarray(SHAPES[name] * 2.5 + 3, jnp.float32)
    sides = tiles.all_sides(points)
    by_blocks = _plan_by_blocks(tiles.rows(sides)[None], jnp.array([reach]), shape)
    at_once = _plan_at_once(sides, reach, shape)
    np.testing.assert_array_equal(by_blocks.length[0], at_once.length)
    is_run = np.asarray(at_once.length) > 0
    np.testing.assert_array_equal(
        np.asarray(by_blocks.first[0])[is_run], np.asarray(at_once.first)[is_run]
    )


def test_tiles_and_windows_are_two_orders_of_one_image():
    shape = (40, 70)
    rows, columns = grid.size(shape)
    y, x = np.mgrid[: 8 * rows, : 8 * columns].astype(np.float32)
    for image, axis in ((x, 0), (y, 1)):
        windows = jnp.asarray(image.reshape(grid.windows(shape)))
        by_tile = grid.by_tile(windows, shape)
        center = grid.centers(np.arange(len(by_tile)), shape)[axis]
        offset = grid.offsets(np.arange(grid.PIXELS))[axis]
        np.testing.assert_array_equal(by_tile, center[:, None] + offset)
        np.testing.assert_array_equal(grid.windows_of(by_tile, shape), windows)
        np.testing.assert_array_equal(grid.image_of(windows, shape), image[:40, :70])


def test_a_batch_agrees_with_one_at_a_time():
    """Shapes that need different numbers of tiles and sides share one loop."""
    names = ("horseshoe", "wholly outside", "on the pixels", "folded")
    large = SHAPES["horseshoe"] * 1.7 - 6
    batch = jnp.asarray(np.stack([*(SHAPES[name] for name in names), large]), jnp.float32)
    masks, gradients = masks_and_gradients(batch)
    weights = np.sin(np.arange(np.prod(SHAPE)).reshape(SHAPE))
    for points, mask, gradient in zip(batch, masks, gradients, strict=True):
        np.testing.assert_allclose(mask, draw.rasterize(points, SHAPE), atol=1e-6)
        np.testing.assert_allclose(gradient, _weighted_gradient(points, weights), atol=1e-5)


@pytest.mark.parametrize(("shape", "tau"), [(SHAPE, 0.5), (SHAPE, 1.0), ((150, 200), 0.5)])
def test_gradient_of_the_softness(shape, tau):
    """Pixels far away do not change with it."""
    points = SHAPES["horseshoe"]
    ahead, behind = (reference.soft_mask(points, shape, tau + h) for h in (1e-3, -1e-3))
    of_sum, of_squares = _slopes_of_softness(jnp.asarray(points, jnp.float32), shape, tau)
    assert float(of_sum) == pytest.approx(np.sum(ahead - behind) / 2e-3, abs=2e-3)
    assert float(of_squares) == pytest.approx(np.sum(ahead**2 - behind**2) / 2e-3, rel=1e-2)


@partial(jax.jit, static_argnames="shape")
def _slopes_of_softness(points, shape, tau):
    def sums(tau):
        mask = draw.rasterize(points, shape, tau=tau)
        return jnp.stack([jnp.sum(mask), jnp.sum(mask**2)])

    return jax.jacrev(sums)(tau)


def test_second_derivatives_of_one_edge():
    """Far from every bend and end the distance is linear in a shift: sigmoid'' is all there is."""
    points = jnp.array([[5, -50], [5, 10], [5, 70], [60, -50], [60, 10], [60, 70]], jnp.float32)

    def value(shift):
        return draw.rasterize(points + jnp.array([1.0, 0.0]) * shift, (24, 24))[12, 6]

    m, second = jax.jit(lambda x: (value(x), jax.jacfwd(jax.grad(value))(x)))(0.0)
    assert float(second) == pytest.approx(float(m * (1 - m) * (1 - 2 * m)) / 0.5**2, rel=1e-3)


def test_the_image_need_not_be_whole_tiles():
    points = jnp.asarray(SHAPES["horseshoe"], jnp.float32)
    large = draw.rasterize(points, SHAPE)
    np.testing.assert_array_equal(draw.rasterize(points, (19, 23)), large[:19, :23])


def test_a_mask_loss_alone_pulls_a_shape_from_twenty_pixels_away():
    """At the final softness it has no gradient there; sharpening step by step, it arrives."""
    shape, steps = (64, 64), 120
    true = jnp.asarray(small_horseshoe(num_points=24, center=(42, 32)), jnp.float32)
    target = (draw.rasterize(true, shape) > 0.5).astype(jnp.float32)
    start = true - jnp.array([20.0, 0.0])
    optimizer = optax.adam(optax.cosine_decay_schedule(1.0, steps))

    def loss(theta, tau):
        center = jnp.mean(start, axis=0)
        moved = (start - center) @ (jnp.eye(2) + theta[:, :2] / 20).T + center + theta[:, 2]
        mask = draw.rasterize(moved, shape, tau=tau)
        return losses.dice_loss(mask, target), mask

    @jax.jit
    def step(state, tau):
        theta, moments = state
        slope, mask = jax.grad(loss, has_aux=True)(theta, tau)
        updates, moments = optimizer.update(slope, moments)
        return (theta + updates, moments), slope, mask

    state = (np.zeros((2, 3), np.float32), optimizer.init(jnp.zeros((2, 3))))
    assert np.abs(step(state, 0.5)[1]).max() < 1e-3
    for progress in np.linspace(0, 1, steps):
        state, *_ = step(state, draw.sharpness(progress))
    mask = step(state, 0.5)[2] > 0.5
    assert float(losses.dice_loss(mask.astype(jnp.float32), target)) < 0.05


def test_memory_of_a_gradient():
    """At most 4 MiB an image; a dense loop would keep pixels × edges."""
    points = jnp.zeros((4, 88, 2))

    def total(p):
        return jnp.sum(jax.vmap(lambda q: draw.rasterize(q, (224, 224)))(p) ** 2)

    memory = jax.jit(jax.grad(total)).lower(points).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 4 * 2**20
