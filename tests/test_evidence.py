"""Dense evidence, places by landmarks, searches in features and the weighted fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import jssm
from jssm import config
from jssm.methods import evidence
from jssm.methods.method import AXIS
from jssm.methods.model import Model
from jssm.networks import evidence as network_module
from jssm.networks import feature_search, heatmaps
from jssm.networks.dense import Dense, to_image, to_map
from jssm.networks.evidence import EvidenceNetwork
from jssm.networks.feature_search import Moves
from jssm.networks.layers import blocks
from jssm.networks.unet import UNet
from jssm.shape import affine, labels, placing, uncertainty
from jssm.shape.pose import Pose, decode
from tests import reference
from tests.conftest import SIZE, random_variables

rng = np.random.default_rng(0)
THETA = jnp.array([[7.0, 1.0, 16.0], [-1.0, 6.5, 15.0]])
fit = jax.jit(feature_search.fit)
from_landmarks = jax.jit(placing.from_landmarks)


def test_the_fit_is_weighted_least_squares_with_the_shape_model_as_prior(small_shape):
    """Against numpy's, with the derivative of each point taken by a small step."""
    latent = jnp.array([0.2, -0.1])
    moves = Moves(
        jnp.asarray(0.1 * rng.normal(size=(8, 2)), jnp.float32),
        jnp.asarray(rng.uniform(0.01, 0.1, (8, 2)), jnp.float32),
    )
    step = fit(small_shape, latent, moves, jnp.float32(0.7))
    canonical = np.asarray(small_shape.deform(small_shape.limits * np.tanh(latent)), np.float64)
    axes = np.asarray(feature_search.frames(jnp.asarray(canonical, jnp.float32)), np.float64)

    def moved(change):
        weights = np.asarray(small_shape.limits) * np.tanh(np.asarray(latent) + change[6:])
        bent = reference.deform(small_shape.mean, small_shape.modes, weights)
        placed = reference.affine_apply(np.eye(2, 3) + change[:6].reshape(2, 3), bent)
        return np.einsum("tad,td->ta", axes, placed - canonical).ravel()

    effects = np.stack([(moved(1e-5 * e) - moved(-1e-5 * e)) / 2e-5 for e in np.eye(8)], axis=1)
    root = np.sqrt(0.7 / np.asarray(moves.variances, np.float64).ravel())
    prior = np.sqrt([feature_search.PLACE_RIDGE] * 6 + [9.0] * 2)
    system = np.concatenate([root[:, None] * effects, np.diag(prior)])
    wanted = np.concatenate(
        [root * np.asarray(moves.means).ravel(), -prior * np.pad(np.asarray(latent), (6, 0))]
    )
    expected = np.linalg.lstsq(system, wanted, rcond=None)[0]
    found = np.concatenate([np.ravel(step.place), step.latent])
    np.testing.assert_allclose(found, expected, atol=2e-4)
    information = step.factor @ step.factor.T
    np.testing.assert_allclose(information, system.T @ system, rtol=2e-3, atol=0.05)


def test_sure_moves_are_followed_and_unsure_ones_are_not(small_shape):
    true = Pose(jnp.eye(2, 3) + 0.05, jnp.array([0.2, -0.1]))
    offset = decode(small_shape, true)[2] - small_shape.mean
    means = jnp.einsum("tad,td->ta", feature_search.frames(small_shape.mean), offset)
    spoilt = means.at[3].add(1.0)
    variances = jnp.full((8, 2), 1e-4).at[3].set(100.0)
    step = fit(small_shape, jnp.zeros(2), Moves(spoilt, variances), jnp.float32(1))
    pose = Pose(jnp.eye(2, 3) + step.place, step.latent)
    np.testing.assert_allclose(
        decode(small_shape, pose)[2], decode(small_shape, true)[2], atol=0.02
    )


def test_landmarks_give_back_a_similarity(small_shape):
    marks = placing.middles(small_shape.mean)
    theta = jnp.array([[5.0, 2.0, 11.0], [-2.0, 5.0, 17.0]])
    points = affine.apply(theta, marks)
    found = from_landmarks(marks, points, jnp.ones(3))
    np.testing.assert_allclose(found, theta, atol=1e-3)
    lost = points.at[0].add(30.0)
    found = from_landmarks(marks, lost, jnp.array([0.0, 1.0, 1.0]))
    # The lost apex weighs a hundredth, and the rest place the base.
    np.testing.assert_allclose(affine.apply(found, marks)[1:], points[1:], atol=0.8)


def test_the_middles_of_the_wall():
    points = reference.horseshoe(8, center=(0, 0), inner=1.0, outer=3.0)
    apex, first, last = np.asarray(placing.middles(jnp.asarray(points)))
    np.testing.assert_allclose(first, (points[0] + points[4]) / 2, atol=1e-6)
    np.testing.assert_allclose(last, (points[3] + points[7]) / 2, atol=1e-6)
    np.testing.assert_allclose(apex, points[[1, 2, 5, 6]].mean(0), atol=1e-6)


def test_features_are_sampled_bilinearly_and_are_0_outside():
    features = rng.normal(size=(7, 9, 3)).astype(np.float32)
    places = rng.uniform(-3, 11, size=(50, 2)).astype(np.float32)
    found = jax.jit(feature_search.sample)(features, places)
    for channel in range(3):
        padded = np.pad(features[..., channel], 4)
        expected = map_coordinates(padded, places.T[::-1] + 4, order=1)
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-4)


def test_profiles_run_from_inside_to_outside(small_shape):
    places = np.asarray(feature_search.profile_places(small_shape.mean, 0.5))
    inner, outer = np.split(np.asarray(small_shape.mean), 2)
    along = outer - inner
    unit = along / np.linalg.norm(along, axis=1, keepdims=True)
    np.testing.assert_allclose(places[:, 0], (inner + outer) / 2 - 0.5 * unit, atol=1e-5)
    np.testing.assert_allclose(places[:, -1], (inner + outer) / 2 + 0.5 * unit, atol=1e-5)


@pytest.mark.parametrize("encoder", config.ENCODERS)
def test_maps_have_the_size_of_any_image(encoder):
    network = Dense(width=4, encoder=encoder)
    found = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), jnp.zeros((2, 50, 70, 1)), train=False)
    )[0]
    assert found.features.shape == (2, 25, 35, 4)
    assert found.classes.shape == (2, 50, 70, 3)
    assert found.landmarks.shape == (2, 13, 18, 3)
    places = jnp.array([[0.0, 0.0], [3.0, 5.0]])
    np.testing.assert_allclose(to_image(places, 4), [[1.5, 1.5], [13.5, 21.5]])
    np.testing.assert_allclose(to_map(to_image(places, 4), 4), places)


def test_the_other_encoder_is_the_way_down_of_a_u_net():
    """One that looks at blocks of 2×2 pixels, weight by weight."""
    dense, unet = Dense(width=4, encoder="unet"), UNet(1, width=4, levels=3)
    images = jnp.zeros((1, 32, 32, 1))
    of_dense, of_unet = (
        jax.eval_shape(lambda n=n, x=x: n.init(jax.random.key(0), x, train=False))["params"]
        for n, x in ((dense, images), (unet, blocks(images)))
    )
    way_down = {name for name in of_unet if name.startswith(("down_", "bottom_"))}
    assert len(way_down) == 16
    assert {name: of_dense[name] for name in way_down} == {n: of_unet[n] for n in way_down}


def test_what_moves_are_worth_stays_finite():
    """However little or much a network believes of itself, so does the gradient of the fit."""
    log_std = jnp.array([-1e3, -100.0, -2.3, 0.0, 1e-3, 44.0, 1e6])
    variances = jax.jit(feature_search.variances_of)(log_std)
    known = feature_search.LEAST_STD**2 + np.exp(2 * np.array([-2.3, 0.0]))
    np.testing.assert_allclose(variances[2:4], known, rtol=1e-6)
    assert (np.diff(variances) >= 0).all()
    assert variances[-3] < variances[-2] < variances[-1]

    def worth(x):  # as feature_search.fit weighs a move
        return jnp.sum(jnp.sqrt(1 / feature_search.variances_of(x)))

    slopes = np.asarray(jax.jit(jax.grad(worth))(log_std))
    assert np.isfinite(slopes).all()
    assert (slopes[2:] < 0).all()


def test_the_first_pose_is_where_the_landmarks_maps_peak(small_shape):
    theta = jnp.array([[12.0, 2.0, 32.0], [-2.0, 12.0, 30.0]])

    @jax.jit
    def target():
        marks = to_map(affine.apply(theta, placing.middles(small_shape.mean)), 4)
        return heatmaps.targets(marks, (16, 16), sigma_px=network_module.SIGMA_PX)

    chances = np.maximum(target(), 1e-9)
    maps = np.log(chances[:, :-1] / chances[:, -1:]).T.reshape(16, 16, 3)
    found = jax.jit(network_module.place)(small_shape, maps)
    np.testing.assert_allclose(found, theta, atol=0.3)


@pytest.fixture(scope="module")
def model(small_shape):
    """One search, of the smallest width, with random weights."""
    network = EvidenceNetwork(width=2, searches=1)
    mean_theta = jnp.array([[8.0, 0.0, 16.0], [0.0, 8.0, 15.0]])
    return Model(random_variables(network, small_shape), small_shape, mean_theta, network, SIZE)


def without_mask(model, images):
    """A prediction but for the mask, which takes longer to compile than all else."""
    return jssm.predict(model, images).replace(mask=None)


def uncertain(model, images):
    return jssm.uncertainty(jssm.predict(model, images))


def test_the_points_are_the_shape_models(model):
    out = jax.jit(without_mask)(model, rng.uniform(0, 255, (2, SIZE, SIZE)).astype(np.float32))
    for i in range(2):
        canonical = reference.deform(model.shape.mean, model.shape.modes, out.beta[i])
        points = reference.affine_apply(out.theta[i], canonical)
        np.testing.assert_allclose(out.points[i], points, atol=1e-3)


def test_every_weight_learns_and_nothing_is_infinite(model):
    """Of a case with all labels, one with its cavity alone, and one without any."""
    points = jnp.stack([affine.apply(THETA, model.shape.mean)] * 3)
    points = points.at[1, 4:].set(jnp.nan).at[2].set(jnp.nan)
    mask = jax.vmap(lambda p: jssm.rasterize(p, (SIZE, SIZE)))(jnp.stack([points[0]] * 3))
    batch = {
        "image": jnp.asarray(rng.uniform(size=(3, SIZE, SIZE)), jnp.float32),
        "mask": jnp.round(mask).at[2].set(0.0),
        "points": points,
        "covers": jnp.array([labels.MYOCARDIUM, labels.CAVITY, labels.NONE]),
        "point_weight": 1.0,
        "mask_weight": 1.0,
    }

    @jax.jit
    def gradients(params):
        return jax.grad(
            lambda p: evidence.loss(
                model.replace(variables=model.variables | {"params": p}), batch, jax.random.key(0)
            ),
            has_aux=True,
        )(params)

    found, (metrics, _) = gradients(model.variables["params"])
    assert all(np.isfinite(float(value)) for value in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        assert np.isfinite(leaf).all(), path
    for part in ("dense", "across_0"):
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found[part])), part


def test_a_drawn_cavity_teaches_what_is_cavity_and_not_what_is_wall():
    """Against the formulas in float64; logits that only exchange background and wall cost alike."""
    classes = np.random.default_rng(1).normal(size=(12, 12, 3))
    mask = np.zeros((12, 12))
    mask[4:9, 3:7] = 1
    chances = np.exp(classes) / np.exp(classes).sum(-1, keepdims=True)
    cavity = chances[..., 2]
    entropy = -np.mean(mask * np.log(cavity) + (1 - mask) * np.log(1 - cavity))
    dice = 2 * (cavity * mask).sum() / (cavity.sum() + mask.sum())
    expected = entropy + 1 - dice
    loss = jax.jit(evidence.cavity_loss)
    for logits in (classes, classes[..., [1, 0, 2]]):
        found = loss(logits, mask)
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_uncertainty_is_that_of_the_fit(small_shape):
    """Of points bent and placed by changes drawn from the posterior: their empirical covariance."""
    latent = jnp.array([0.2, -0.1])
    root = 0.02 * rng.normal(size=(8, 8)) + 0.05 * np.eye(8)
    posterior = root @ root.T
    factor = np.linalg.cholesky(np.linalg.inv(posterior))
    pose = Pose(THETA, latent, jnp.asarray(factor, jnp.float32))
    changes = jnp.asarray(0.1 * rng.multivariate_normal(np.zeros(8), posterior, 20_000))

    @jax.jit
    @jax.vmap
    def moved(change):
        theta = affine.compose(THETA, jnp.eye(2, 3) + change[:6].reshape(2, 3))
        return decode(small_shape, Pose(theta, latent + change[6:]))[2]

    points = np.asarray(moved(changes)) / 0.1  # small, so that they are linear
    expected = np.stack([np.cov(points[:, t].T) for t in range(8)])
    spread = jax.jit(uncertainty.spread_of)(small_shape, pose)
    found = jax.jit(uncertainty.covariances)(spread)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_a_prediction_carries_its_uncertainty_in_the_pixels_of_its_image(model):
    """An image twice as large shows the same heart, with twice the deviation; the temperature
    multiplies the covariance; it has finite gradients."""
    image = rng.uniform(0, 255, (1, SIZE, SIZE)).astype(np.float32)
    compiled = jax.jit(uncertain)
    found = compiled(model, image)
    assert found.shape == (1, 8, 2, 2)
    assert np.linalg.eigvalsh(found).min() > 0
    hot = compiled(model.replace(temperature=4.0), image)
    np.testing.assert_allclose(hot, 4 * found, rtol=1e-5)
    large = compiled(model, np.kron(image, np.ones((2, 2), np.float32)))
    np.testing.assert_allclose(large, 4 * found, rtol=0.05)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(uncertain(model, x))))(image)
    assert np.isfinite(slope).all()


def test_networks_that_do_not_tell_have_no_uncertainty(small_model):
    found = jax.jit(uncertain)(small_model, np.ones((1, SIZE, SIZE), np.float32))
    assert found.shape == (1, 8, 2, 2)
    assert np.isnan(found).all()


@pytest.mark.parametrize("devices", [1, 4])
def test_a_pose_is_shaken_alike_on_any_number_of_devices(devices):
    key, place = jax.random.key(0), np.arange(8)
    shares = {"image": np.zeros((devices, 8 // devices, 1, 1)), "place": place.reshape(devices, -1)}
    shaken = jax.vmap(lambda batch: evidence.shaken(key, batch, AXIS), axis_name=AXIS)(shares)
    alone = evidence.shaken(key, {"image": np.zeros((8, 1, 1))}, None)
    np.testing.assert_array_equal(np.reshape(shaken, alone.shape), alone)
