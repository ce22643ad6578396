import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jssm.rasterizer import draw, grid, kernels, loops, tiles
from jssm.shape import order
from tests import reference
from tests.strips import SHAPE, SHAPES, twelve

pytestmark = pytest.mark.usefixtures("whole_turns")


def test_it_is_the_real_one_that_is_tested():
    """Not the plain one of most other tests."""
    program = jax.make_jaxpr(lambda p: draw.rasterize(p, (8, 8)))(jnp.zeros((4, 2)))
    assert "pooled" in str(program)


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
    return np.float32(points)


BELOW = "0 16" + 11 * ", 0 0"
FLAT = 10 * "0 0, " + "0 2, 1e-5 0"
SLIVER = "0 2, 0 2, 1 0, 1e-5 0, 0 0, 0 0, 0 2, 0 2, 0 2, 1 0, 0 0, 0 0"
SEAMS = """-1 26.00001, -1 26.00001, 3 19, 3 19, -2 6, -2 6, 18.00001 22.00001, 18 22.00001,
17 -1.99999, 17 -2, -5.99999 19, -6 19"""


def _points(text):
    return np.float32([point.split() for point in text.split(",")])


@settings(deadline=None, max_examples=50)
@given(shapes())
@example(_points(BELOW))  # a point on a pixel just below the image
@example(_points(FLAT))  # a triangle 1e-5 px high
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


def test_a_large_image_agrees_with_the_slow_reference():
    """Of many blocks of tiles; with more than 128 points the numbers of edges need more bits."""
    shape, rng = (72, 150), np.random.default_rng(150)
    points = reference.horseshoe(150, center=(70, 40), inner=22, outer=30, aspect=1.4)
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


_plan_by_blocks = jax.jit(loops._plan, static_argnums=2)
_plan_at_once = jax.jit(kernels._plan, static_argnums=2)


@pytest.mark.parametrize("reach", [6.0, np.inf])
@pytest.mark.parametrize("name", SHAPES)
def test_what_matters_is_the_same_by_blocks_and_at_once(name, reach):
    shape = (72, 100)
    points = jnp.asarray(SHAPES[name] * 2.5 + 3, jnp.float32)
    sides = jax.jit(tiles.all_sides)(points)
    rows = jax.jit(tiles.rows)(sides)
    by_blocks = _plan_by_blocks(rows[None], jnp.array([reach]), shape)
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


def test_the_image_need_not_be_whole_tiles():
    points = jnp.asarray(SHAPES["horseshoe"], jnp.float32)
    large = draw.rasterize(points, SHAPE)
    np.testing.assert_array_equal(draw.rasterize(points, (19, 23)), large[:19, :23])


def test_memory_of_a_gradient():
    """At most 4 MiB an image; a dense loop would keep pixels × edges."""
    points = jnp.zeros((4, 88, 2))

    def total(p):
        return jnp.sum(jax.vmap(lambda q: draw.rasterize(q, (224, 224)))(p) ** 2)

    memory = jax.jit(jax.grad(total)).lower(points).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 4 * 2**20
