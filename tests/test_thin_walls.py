"""A predicted mask is one piece, however thin the wall is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jssm
from jssm.evaluation import metrics
from jssm.shape.masks import binarize
from jssm.shape.strip import thicken
from tests import reference

pytestmark = pytest.mark.usefixtures("real_rasterizer")

SHAPE = (64, 64)
whole = jax.jit(lambda p: jssm.rasterize_whole(p, SHAPE))
plain = jax.jit(lambda p: jssm.rasterize(p, SHAPE))


def wall(thickness_px, *, angle=0.0, center=(32.0, 32.0), radius=12.0, stretch=1.0):
    """A horseshoe (88, 2) of any thickness, turned and stretched."""
    points = reference.horseshoe(
        88, center=(0, 0), inner=radius - thickness_px / 2, outer=radius + thickness_px / 2
    )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points * [1, stretch] @ turn.T + center).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    thickness_px=st.floats(0.0, 1.5),
    angle=st.floats(-3.2, 3.2),
    x=st.floats(30, 34),
    y=st.floats(30, 34),
    stretch=st.floats(0.6, 1.4),
)
def test_thin_walls_are_one_piece(thickness_px, angle, x, y, stretch):
    points = wall(thickness_px, angle=angle, center=(x, y), stretch=stretch)
    assert metrics.components(binarize(whole(points))) == 1


def test_a_thin_wall_tears_without():
    assert metrics.components(binarize(plain(wall(0.4)))) > 1


def test_a_thick_wall_is_drawn_as_it_is():
    np.testing.assert_allclose(whole(wall(4.0)), plain(wall(4.0)), atol=1e-6)


@pytest.mark.parametrize("mirror", [1, -1])
def test_the_wall_becomes_as_thick_as_it_must_and_no_thicker(mirror):
    points = wall(2.0) * [mirror, 1]
    inner, outer = np.split(points, 2)
    middle = (inner + outer) / 2
    pinched = np.concatenate([inner, outer])
    pinched[[20, 64]] = middle[20]  # no thickness at one place
    pinched[[25, 69]] = pinched[[69, 25]] * 0.1 + pinched[[25, 69]] * 0.9  # still thick enough
    found = np.asarray(thicken(jnp.asarray(pinched), 1.1))
    thickness = np.linalg.norm(found[44:] - found[:44], axis=1)
    assert thickness[20] == pytest.approx(1.1, abs=1e-3)
    others = np.setdiff1d(np.arange(44), [20])
    np.testing.assert_allclose(found[others], pinched[others], atol=1e-5)
    assert np.sign(np.sum((found[64] - found[20]) * (outer[20] - inner[20]))) == 1


def test_gradients_are_finite_where_the_wall_vanishes():
    for points in (wall(0.0), np.zeros((88, 2), np.float32)):
        gradient = jax.grad(lambda p: jnp.sum(whole(p) ** 2))(jnp.asarray(points))
        assert np.isfinite(gradient).all()


def test_points_that_are_not_finite_give_an_empty_mask():
    assert float(whole(jnp.full((88, 2), jnp.nan)).max()) < 0.5
