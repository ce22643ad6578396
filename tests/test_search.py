import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.networks import search
from jssm.networks.search import HALF_PROFILE, SAMPLES
from jssm.shape import affine
from jssm.shape.pose import Pose, decode
from tests import reference
from tests.conftest import SIZE, random_variables

THETA = jnp.array([[7.0, 1.0, 16.0], [-1.0, 6.5, 15.0]])
fit = jax.jit(search.fit)


def test_a_profile_runs_straight_from_inside_to_outside(small_shape):
    """On an image that is linear in x and y, bilinear samples are exact."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image = jnp.asarray(3.0 * columns + 0.5 * rows + 2, jnp.float32)
    found = jax.jit(search.profiles)(image, THETA, small_shape.mean)
    assert found.shape == (4, SAMPLES)
    mean = np.asarray(small_shape.mean, np.float64)
    for k in range(4):
        inner, outer = mean[k], mean[k + 4]
        direction = (outer - inner) / np.linalg.norm(outer - inner)
        places = [
            (inner + outer) / 2 + s * direction
            for s in np.linspace(-HALF_PROFILE, HALF_PROFILE, SAMPLES)
        ]
        xy = reference.affine_apply(THETA, places)
        np.testing.assert_allclose(found[k], 3 * xy[:, 0] + 0.5 * xy[:, 1] + 2, rtol=1e-4)


def test_moves_across_the_wall_make_it_thicker(small_shape):
    moves = jnp.zeros((8, 2)).at[4:, 0].set(0.1)
    inner, outer = np.split(np.asarray(small_shape.mean), 2)
    moved = small_shape.mean + search.to_canonical(moves, small_shape.mean)
    thickness = np.linalg.norm(moved[4:] - inner, axis=1)
    np.testing.assert_allclose(thickness, np.linalg.norm(outer - inner, axis=1) + 0.1, rtol=1e-5)
    along = search.to_canonical(jnp.zeros((8, 2)).at[:, 1].set(1.0), small_shape.mean)
    across = np.tile(search.across(small_shape.mean), (2, 1))
    np.testing.assert_allclose(np.sum(along * across, axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(along, axis=1), 1, rtol=1e-5)


def test_the_fit_is_regularized_least_squares(small_shape):
    rng = np.random.default_rng(0)
    moves, noise = 0.1 * rng.normal(size=(8, 2)), 0.2
    place, bend = fit(small_shape, small_shape.mean, moves, noise)
    columns = []
    for number in range(6):
        change = np.eye(6)[number].reshape(2, 3)
        columns.append(reference.affine_apply(change, small_shape.mean).ravel())
    columns += [np.ravel(m * limit) for m, limit in zip(*shape_parts(small_shape), strict=True)]
    weights = np.sqrt([search.PLACE_RIDGE] * 6 + [9 * noise**2] * 2)
    system = np.concatenate([np.stack(columns, axis=1), np.diag(weights)])
    expected = np.linalg.lstsq(system, np.concatenate([moves.ravel(), np.zeros(8)]), rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([place.ravel(), bend]), expected, atol=1e-5)


def shape_parts(shape):
    return np.asarray(shape.modes, np.float64), np.asarray(shape.limits, np.float64)


def test_moves_to_the_truth_find_its_pose(small_shape):
    """With the true moves in place of the network's, a few searches arrive."""
    truth = Pose(THETA, jnp.array([0.4, -0.3]))
    target = decode(small_shape, truth)[2]
    pose = Pose(THETA + jnp.array([[0.5, -0.4, 1.5], [0.3, 0.2, -2.0]]), jnp.zeros(2))

    @jax.jit
    def once(pose: Pose) -> Pose:
        canonical = decode(small_shape, pose)[1]
        moves = affine.apply(affine.invert(pose.theta), target) - canonical
        place, bend = search.fit(small_shape, canonical, moves, jnp.float32(1e-3))
        return Pose(affine.compose(pose.theta, jnp.eye(2, 3) + place), pose.latent + bend)

    errors = []
    for _ in range(6):
        pose = once(pose)
        errors.append(reference.point_rmse(decode(small_shape, pose)[2], target))
    assert errors[0] < 0.5
    assert errors[-1] < 0.01


@pytest.mark.parametrize("kind", ["points that coincide", "modes without variance"])
def test_degenerate_shapes_have_finite_fits_and_gradients(small_shape, kind):
    canonical, shape = small_shape.mean, small_shape
    if kind == "points that coincide":
        canonical = jnp.zeros_like(canonical)
    else:
        shape = shape.replace(variances=jnp.array([0.04, 0.0]))

    def total(canonical, moves):
        moves = search.to_canonical(moves, canonical)
        return sum(map(jnp.sum, search.fit(shape, canonical, moves, jnp.float32(0.1))))

    learn = jax.jit(jax.value_and_grad(total, (0, 1)))
    value, gradients = learn(canonical, jnp.full((8, 2), 0.1))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_searches_follow_the_other_stages_and_learn(small_model):
    """Each gives a pose; gradients reach every weight of the searches."""
    network = small_model.network.clone(refinements=1, view_size=32, searches=2)
    variables = random_variables(network, small_model.shape)
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, SIZE, SIZE)), jnp.float32)

    def far(variables):
        poses = network.apply(
            variables, images, small_model.mean_theta, small_model.shape, train=False
        )
        points = jax.vmap(decode, (None, 0))(small_model.shape, poses[-1])[2]
        return jnp.sum(points**2), poses

    (_, poses), gradients = jax.jit(jax.value_and_grad(far, has_aux=True))(variables)
    assert len(poses) == 4
    for stage in (0, 1):
        leaves = jax.tree.leaves(gradients["params"][f"search_{stage}"])
        assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in leaves)
        assert np.isfinite(gradients["params"][f"log_noise_{stage}"])
    with pytest.raises(ValueError, match="2 searches along the wall need the shape model"):
        network.apply(variables, images, small_model.mean_theta, train=False)
