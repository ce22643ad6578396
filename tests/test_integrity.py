"""The shape certificate against known answers and a slow float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.shape.integrity import Integrity, integrity
from jssm.shape.order import strip_triangles

CHECK = jax.jit(integrity)
CHECK_MANY = jax.jit(jax.vmap(integrity))


def horseshoe(half=44, inner=30.0, outer=40.0, centre=(100.0, 100.0)):
    """An upright horseshoe (T, 2), left basal end -> apex (top) -> right basal end, in px."""
    angle = np.linspace(-0.1, np.pi + 0.1, half)
    ring = np.stack([-np.cos(angle), -1.4 * np.sin(angle)], axis=1)
    return (np.concatenate([inner * ring, outer * ring]) + centre).astype(np.float32)


def reference(points):
    """(flipped triangles, crossings, smallest thickness, ok) by plain loops in float64."""
    points = np.asarray(points, np.float64)
    half = len(points) // 2

    def turn(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    signs = []
    for triangle in np.asarray(strip_triangles(len(points))):
        sign = turn(*points[triangle])
        signs.append(sign if sum(triangle < half) == 2 else -sign)
    flipped = len(signs) - max(signs.count(1), signs.count(-1))

    loop = [*range(half), *range(2 * half - 1, half - 1, -1)]
    edges = [(points[i], points[j]) for i, j in zip(loop, loop[1:] + loop[:1], strict=True)]

    def crosses(one, two):
        (a, b), (c, d) = one, two
        return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0

    crossings = sum(crosses(edges[i], edges[j]) for i in range(len(edges)) for j in range(i))

    def distance(p, a, b):
        along = b - a
        share = np.clip((p - a) @ along / max(along @ along, 1e-30), 0, 1)
        return np.linalg.norm(p - a - share * along)

    inner, outer = edges[: half - 1], edges[half : 2 * half - 1]
    gaps = [distance(p, *edge) for edge in outer for p in points[:half]]
    gaps += [distance(p, *edge) for edge in inner for p in points[half:]]
    met = any(crosses(one, two) for one in inner for two in outer)
    thickness = 0.0 if met else min(gaps)
    return flipped, crossings, thickness, flipped == 0 and crossings == 0 and thickness > 0


def as_tuple(found: Integrity):
    return (
        int(found.flipped_triangles),
        int(found.crossings),
        float(found.min_thickness_px),
        bool(found.ok),
    )


def assert_same(found, expected):
    assert found[:2] == expected[:2]
    assert found[2] == pytest.approx(expected[2], rel=1e-4, abs=1e-4)
    assert found[3] == expected[3]


def test_an_end_that_reaches_into_the_other_side_of_the_wall_is_not_sound():
    """Its inner corner crosses the inner boundary: nothing is flipped, and the wall is thick."""
    inner = [(2, 22), (2, 2), (18, 2), (18, 16), (1, 16)]
    outer = [(0, 22), (0, 0), (20, 0), (20, 20), (3, 20)]
    points = np.array(inner + outer, np.float32)
    found = as_tuple(CHECK(points))
    assert_same(found, reference(points))
    assert found == (0, 2, 1.0, False)


def test_a_horseshoe_is_sound_with_its_thickness():
    flipped, crossings, thickness, ok = as_tuple(CHECK(horseshoe()))
    assert (flipped, crossings, ok) == (0, 0, True)
    assert thickness == pytest.approx(10, abs=0.2)


def test_mirrored_rotated_and_far_away_shapes_are_sound():
    shape = horseshoe()
    turned = shape @ np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    for other in (shape * [-1, 1], shape[:, ::-1], turned, shape + 2000, shape * 0.01):
        assert bool(CHECK(other.astype(np.float32)).ok)


def test_swapped_chains_are_sound_too():
    """Inner outside outer mirrors every triangle alike; it is no fold."""
    shape = horseshoe()
    assert bool(CHECK(np.concatenate([shape[44:], shape[:44]])).ok)


def test_arms_that_cross_are_found():
    shape = horseshoe(centre=(0.0, 0.0))
    # Bend both arms inwards until each lies where the other was.
    below = np.clip((shape[:, 1:] + 20) / 20, 0, 1)
    shape = shape * np.concatenate([1 - 2.2 * below, np.ones_like(below)], 1)
    shape[:, 1:] += 30 * below
    flipped, crossings, thickness, ok = as_tuple(CHECK(shape.astype(np.float32)))
    assert_same((flipped, crossings, thickness, ok), reference(shape.astype(np.float32)))
    assert crossings > 0
    assert not ok


def test_bow_tie_quad():
    """T = 4: with one end rung turned round, both rungs or both walls cross."""
    quad = np.array([[0, 0], [10, 0], [10, 5], [0, 5]], np.float32)
    flipped, crossings, thickness, ok = as_tuple(CHECK(quad))
    assert (flipped, crossings, ok) == (1, 1, False)
    assert thickness == pytest.approx(5)
    assert bool(CHECK(quad[[0, 1, 3, 2]]).ok)


def test_crossing_walls_have_no_thickness():
    points = np.array([[0, 0], [10, 0], [0, -5], [10, 5]], np.float32)
    flipped, crossings, thickness, ok = as_tuple(CHECK(points))
    assert (flipped, crossings, thickness, ok) == (1, 1, 0.0, False)


def test_degenerate_shapes_are_never_ok():
    steps = np.arange(88, dtype=np.float32)
    collinear = np.stack([steps / 2 + 60, 90 - steps / 4], axis=1)
    for points in (np.zeros((88, 2), np.float32), collinear):
        found = CHECK(points)
        assert int(found.flipped_triangles) == 86
        assert int(found.crossings) == 0
        assert not bool(found.ok)
    repeated = horseshoe()
    repeated[10] = repeated[11]
    assert int(CHECK(repeated).flipped_triangles) == 1
    for bad in (np.nan, np.inf):
        broken = horseshoe()
        broken[50, 1] = bad
        assert not bool(CHECK(broken).ok)


def test_touching_walls_are_not_ok():
    points = np.array([[0, 0], [5, 0], [10, 0], [0, 4], [5, 0], [10, 4]], np.float32)
    found = CHECK(points)
    assert float(found.min_thickness_px) == 0
    assert not bool(found.ok)


def test_random_shapes_agree_with_the_reference():
    rng = np.random.default_rng(0)
    half = 8
    shapes = [rng.normal(size=(2 * half, 2)) * 30 + 100 for _ in range(20)]
    base = horseshoe(half)
    shapes += [base + rng.normal(size=base.shape) * scale for scale in (1, 3, 6, 9) for _ in "abcd"]
    shapes += [rng.integers(0, 4, size=(2 * half, 2)) for _ in range(20)]  # touches, repetitions
    shapes += [base * [-1, 1] + rng.normal(size=base.shape) for _ in range(4)]
    shapes = np.asarray(shapes, np.float32)
    found = CHECK_MANY(shapes)
    for k, shape in enumerate(shapes):
        assert_same(as_tuple(jax.tree.map(lambda leaf, k=k: leaf[k], found)), reference(shape))


def test_the_same_with_and_without_jit_and_with_strict_broadcasting():
    shape = horseshoe() + np.random.default_rng(1).normal(size=(88, 2)).astype(np.float32) * 4
    with jax.numpy_rank_promotion("raise"):
        plain, jitted = as_tuple(integrity(jnp.asarray(shape))), as_tuple(jax.jit(integrity)(shape))
    assert_same(plain, jitted)
    assert_same(plain, reference(shape))


def test_wrong_shapes_are_refused():
    for shape in ((87, 2), (88, 3), (2, 2), (3, 88, 2)):
        with pytest.raises(ValueError, match="expected"):
            integrity(jnp.zeros(shape))
