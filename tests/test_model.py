import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm.image_path import standardized
from jssm.networks.cascade import canonical_view
from jssm.shape import affine
from jssm.shape.pose import Pose, decode
from tests import reference
from tests.conftest import random_variables

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 900, size=(3, 32, 32)).astype(np.float32)
predict = jax.jit(jssm.predict)


@jax.jit
def points_of(model, images, aspect=1.0):
    """Without the mask, which takes longer to compile than all else."""
    return jssm.predict(model, images, aspect=aspect).points


def mask_like(model, images, **options):
    return jax.eval_shape(jssm.predict, model, images, **options).mask


def test_prediction_is_the_shape_model_placed_and_rendered(small_model):
    out = predict(small_model, IMAGES)
    for i in range(3):
        canonical = reference.deform(small_model.shape.mean, small_model.shape.modes, out.beta[i])
        points = reference.affine_apply(out.theta[i], canonical)
        np.testing.assert_allclose(out.canonical_points[i], canonical, atol=1e-5)
        np.testing.assert_allclose(out.points[i], points, atol=1e-3)
    expected = reference.rasterize(out.points[0], (32, 32), 0.5)
    np.testing.assert_allclose(out.mask[0], expected, atol=1e-3)


def test_prediction_carries_the_certificate_of_its_points(small_model):
    out = predict(small_model, IMAGES)
    expected = jax.jit(jax.vmap(jssm.integrity))(out.points)
    jax.tree.map(np.testing.assert_array_equal, out.integrity, expected)


def test_beta_never_leaves_three_standard_deviations(small_shape):
    latent = jnp.array([100.0, -100.0])
    beta, _, _ = decode(small_shape, Pose(jnp.eye(2, 3), latent))
    np.testing.assert_allclose(beta, small_shape.limits * jnp.array([1, -1]), rtol=1e-6)


def test_gradients_through_images_and_parameters(small_model):
    @jax.jit
    def gradients(model, images):
        def total(m, x):
            return jnp.sum(jssm.predict(m, x).mask)

        return jax.grad(total, (0, 1))(model, images)

    of_model, of_images = gradients(small_model, IMAGES)
    assert float(jnp.abs(of_images).max()) > 0
    for leaf in jax.tree.leaves((of_model, of_images)):
        assert np.isfinite(leaf).all()
    assert float(jnp.abs(of_model.shape.mean).max()) > 0


def test_intensity_units_do_not_matter(small_model):
    found = [predict(small_model, x).points for x in (IMAGES, 3.5 * IMAGES + 100)]
    np.testing.assert_allclose(*found, atol=1e-2)
    integers = points_of(small_model, IMAGES.astype(np.uint16))
    assert np.isfinite(integers).all()


def test_images_of_another_size_are_mapped_back(small_model):
    doubled = np.kron(IMAGES, np.ones((2, 2), np.float32))
    points, large = points_of(small_model, IMAGES), points_of(small_model, doubled)
    assert mask_like(small_model, doubled).shape == (3, 64, 64)
    expected = affine.apply(jnp.asarray(affine.letterbox((32, 32), (64, 64))), points)
    np.testing.assert_allclose(large, expected, atol=0.8)  # the two grids' interpolations differ


def test_pixels_that_are_not_square_are_seen_square(small_model):
    profile = np.sin(np.arange(32) / 3)
    square = points_of(small_model, np.tile(profile, (1, 32, 1)))
    image = np.tile(profile, (1, 16, 1))
    flat = points_of(small_model, image, aspect=2.0)
    # Row y of 32 lies at (y + ½) / 2 − ½ of 16.
    expected = square.at[..., 1].set((square[..., 1] + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(flat, expected, atol=1e-3)
    assert mask_like(small_model, image, aspect=2.0).shape == (1, 16, 32)


def test_wide_images_are_letterboxed(small_model):
    wide = np.pad(IMAGES, ((0, 0), (0, 0), (16, 16)))
    out = predict(small_model, wide)
    assert out.mask.shape == (3, 32, 64)
    assert np.isfinite(out.points).all()
    np.testing.assert_allclose(out.points, predict(small_model, wide + 500).points, atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_images_without_information_give_finite_shapes(small_model, value):
    out = predict(small_model, np.full((1, 32, 32), value, np.float32))
    assert np.isnan(out.confidence).all()  # which this model has not learned
    rest = out.replace(confidence=None)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rest))


def test_no_image_at_all(small_model):
    out = jssm.predict(small_model, IMAGES[:0])
    assert out.points.shape == (0, small_model.shape.num_points, 2)
    assert out.mask.shape == (0, *IMAGES.shape[1:])


def test_one_image_alone_is_refused(small_model):
    with pytest.raises(ValueError, match=r"\(N, H, W\), got \(32, 32\); add the leading axis"):
        jssm.predict(small_model, IMAGES[0])


def test_standardized():
    image = standardized(jnp.asarray(IMAGES[0]))
    assert float(image.mean()) == pytest.approx(0, abs=1e-5)
    assert float(image.std()) == pytest.approx(1, rel=1e-5)


def test_canonical_view_shows_the_placed_square():
    """A view placed exactly on the pixels is a crop."""
    theta = jnp.array([[4.0, 0, 16], [0, 4.0, 15]])
    view = canonical_view(jnp.asarray(IMAGES[0]), theta, 17)
    np.testing.assert_allclose(view, IMAGES[0][7:24, 8:25], rtol=1e-4)


def test_refinements_correct_in_the_canonical_frame(small_model):
    network = small_model.network.clone(refinements=1, view_size=32)
    variables = random_variables(network)
    run = jax.jit(lambda x: network.apply(variables, x, small_model.mean_theta, train=False))
    first, second = run(IMAGES)
    assert first.theta.shape == second.theta.shape == (3, 2, 3)
    correction = affine.compose(affine.invert(first.theta), second.theta)
    assert float(jnp.abs(correction - jnp.eye(2, 3)).max()) < 0.5


def test_under_vmap_it_is_the_same(small_model, real_rasterizer):
    """The last one, as it has the real rasterizer."""
    assert "pooled" in str(jax.make_jaxpr(lambda m: jssm.predict(m, IMAGES))(small_model))
    out = jssm.predict(small_model, IMAGES)
    mapped = jax.jit(jax.vmap(jssm.predict, (None, 0)))(small_model, IMAGES[None])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[0], atol=2e-3), out, mapped)
