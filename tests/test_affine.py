import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jssm.shape import affine
from tests import reference

numbers = st.floats(-3, 3, width=32)


@st.composite
def maps(draw):
    """An invertible map: a rotation times a stretch of at least 0.3, and a shift."""
    angle, shift = draw(numbers), [draw(numbers), draw(numbers)]
    stretch = [draw(st.floats(0.3, 3)), draw(st.floats(0.3, 3))]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return jnp.asarray(np.c_[rotation * stretch, shift], jnp.float32)


points = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(theta=maps())
def test_apply_is_equation_5(theta):
    np.testing.assert_allclose(
        affine.apply(theta, points), reference.affine_apply(theta, points), atol=1e-5
    )


@settings(deadline=None, max_examples=30)
@given(outer=maps(), inner=maps())
def test_compose_applies_inner_first(outer, inner):
    expected = affine.apply(outer, affine.apply(inner, points))
    np.testing.assert_allclose(
        affine.apply(affine.compose(outer, inner), points), expected, atol=1e-3
    )


@settings(deadline=None, max_examples=30)
@given(theta=maps())
def test_invert_undoes(theta):
    back = affine.apply(affine.invert(theta), affine.apply(theta, points))
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_batches_agree_with_vmap():
    thetas = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2, 3)), jnp.float32)
    clouds = jnp.asarray(np.random.default_rng(2).normal(size=(5, 7, 2)), jnp.float32)
    np.testing.assert_allclose(
        affine.apply(thetas, clouds), jax.vmap(affine.apply)(thetas, clouds), rtol=1e-6
    )
    np.testing.assert_allclose(affine.invert(thetas), jax.vmap(affine.invert)(thetas), rtol=1e-5)
    np.testing.assert_allclose(
        affine.compose(thetas, thetas), jax.vmap(affine.compose)(thetas, thetas), rtol=1e-6
    )


@pytest.mark.parametrize(("source", "target"), [((10, 20), (64, 64)), ((300, 200), (64, 48))])
def test_letterbox_keeps_the_centre_and_fits(source, target):
    theta = affine.letterbox(source, target)
    centre = [[(source[1] - 1) / 2, (source[0] - 1) / 2]]
    np.testing.assert_allclose(
        affine.apply(theta, np.array(centre)),
        [[(target[1] - 1) / 2, (target[0] - 1) / 2]],
        atol=1e-4,
    )
    corners = np.array([[-0.5, -0.5], [source[1] - 0.5, source[0] - 0.5]])
    mapped = np.asarray(affine.apply(theta, corners)) + 0.5
    assert mapped.min() > -1e-4
    assert (mapped[1] <= np.array(target[::-1]) + 1e-4).all()
    assert np.isclose((mapped[1] - mapped[0]) / target[::-1], 1, atol=1e-5).any()


@pytest.mark.parametrize("aspect", [0.37, 1.0, 1.6, 4.2])
@pytest.mark.parametrize(("source", "target"), [((208, 256), (224, 224)), ((512, 90), (64, 48))])
def test_letterbox_of_pixels_that_are_not_square_is_undone_exactly(source, target, aspect):
    theta = affine.letterbox(source, target, aspect=aspect)
    assert theta[1, 1] == pytest.approx(theta[0, 0] * aspect)
    traced = jax.jit(lambda a: affine.letterbox(source, target, aspect=a))(jnp.float32(aspect))
    np.testing.assert_allclose(traced, theta, rtol=1e-5, atol=1e-5)
    corners = np.array([[-0.5, -0.5], [source[1] - 0.5, source[0] - 0.5]])
    mapped = np.asarray(affine.apply(theta, corners)) + 0.5
    np.testing.assert_allclose(mapped.sum(axis=0), target[::-1], atol=1e-3)  # centred
    assert mapped.min() > -1e-4
    assert np.isclose((mapped[1] - mapped[0]) / target[::-1], 1, atol=1e-5).any()
    inside = np.random.default_rng(0).uniform(0, 1, (99, 2)) * source[::-1]
    back = affine.apply(affine.invert(theta), affine.apply(theta, inside))
    np.testing.assert_allclose(back, inside, atol=1e-4)


def test_aspect_is_height_over_width_and_1_where_unknown():
    assert affine.aspect_of((3.0, 1.5)) == 2
    assert affine.aspect_of((np.float32(1.4062498), np.float32(1.4062497))) == 1
    for spacing in ((np.nan, np.nan), (0, 1), (1, -1), (np.inf, 1)):
        assert affine.aspect_of(spacing) == 1


def test_resample_of_a_shift_moves_the_image_and_pads_with_zero():
    image = jnp.arange(20.0).reshape(4, 5) + 1
    theta = jnp.array([[1.0, 0, 1], [0, 1, 0]])
    moved = affine.resample(image, theta, (4, 5))
    np.testing.assert_allclose(moved[:, :4], image[:, 1:])
    np.testing.assert_allclose(moved[:, 4], 0)


def test_resample_agrees_with_bilinear_by_hand():
    image = jnp.array([[0.0, 1.0], [2.0, 5.0]])
    theta = jnp.array([[1.0, 0, 0.25], [0, 1, 0.5]])
    by_hand = 0.75 * (0.5 * 0 + 0.5 * 2) + 0.25 * (0.5 * 1 + 0.5 * 5)
    assert affine.resample(image, theta, (1, 1))[0, 0] == pytest.approx(by_hand)
