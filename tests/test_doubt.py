"""What tells a good pose from a bad one, what is learned of it, and images without a heart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.measure import points_in_poly

from jssm.evaluation import doubt, strangers
from jssm.evaluation.doubt import AS_THEY_ARE, LIKE_THEM, Examples
from jssm.methods.confidence import Confidence, expected_dice
from jssm.networks import cues as cues_module
from jssm.networks.dense import Maps
from jssm.networks.feature_search import Moves
from jssm.rasterizer import rasterize
from jssm.shape import order
from jssm.shape.polygon import encloses
from jssm.shape.pose import Pose, decode
from tests.conftest import SIZE

CUES = jax.jit(partial(cues_module.cues, sigma_px=1.5))
EXPECTED_DICE = jax.jit(expected_dice)
THETA = jnp.array([[7.0, 1.0, 16.0], [-1.0, 6.5, 15.0]])


@pytest.fixture
def seen(small_shape):
    """What a network would see of a heart at THETA, were it sure."""
    pose = Pose(THETA, jnp.array([0.2, -0.1]))
    points = decode(small_shape, pose)[2]
    wall = rasterize(points, (SIZE, SIZE)) > 0.5
    cavity = (rasterize(points[order.cavity_strip(8)], (SIZE, SIZE)) > 0.5) & ~wall
    classes = 20.0 * jnp.stack([~wall & ~cavity, wall, cavity], axis=-1)
    marks = jnp.zeros((SIZE // 4, SIZE // 4, 3)).at[3, 3].set(20.0)
    return pose, Maps(jnp.zeros((SIZE // 2, SIZE // 2, 1)), classes, marks)


def test_a_polygon_encloses_what_skimage_says():
    rng = np.random.default_rng(0)
    for polygon in (rng.uniform(0, 20, (7, 2)), np.array([[2.0, 2], [9, 2], [9, 9], [2, 9]])):
        places = rng.uniform(-5, 25, (4, 50, 2))
        found = jax.jit(encloses)(np.float32(polygon), np.float32(places))
        expected = points_in_poly(places.reshape(-1, 2), polygon).reshape(4, 50)
        np.testing.assert_array_equal(found, expected)


def cues_of(shape, maps, pose, *, first=None, moves=0.01, deviation=0.03):
    found = Moves(jnp.full((8, 2), moves), jnp.full((8, 2), deviation**2))
    numbers = CUES(shape, maps, first or pose, pose, found)
    return dict(zip(cues_module.NAMES, np.asarray(numbers), strict=True))


def test_the_cues_of_a_pose_that_fits(small_shape, seen):
    pose, maps = seen
    found = cues_of(small_shape, maps, pose)
    assert found["agreement of the wall with its map"] > 0.6  # thin, and drawn softly
    assert found["agreement of the cavity with its map"] > 0.8
    assert found["entropy of the maps within the heart"] == pytest.approx(0, abs=1e-4)
    assert found["certainty of the least clear landmark"] == pytest.approx(0, abs=1e-4)
    assert found["deviation of the moves across the wall"] == pytest.approx(np.log(0.03))
    assert found["moves that are left"] == pytest.approx(np.log(0.01 * np.sqrt(2)), abs=1e-4)
    greater, lesser = np.linalg.svd(np.asarray(THETA[:, :2]))[1]
    assert found["size"] == pytest.approx(np.log(np.sqrt(greater * lesser) / SIZE), abs=1e-4)
    assert found["stretch"] == pytest.approx(np.log(greater / lesser), abs=1e-3)
    assert found["share of the points outside the image"] == 0


def test_the_cues_of_a_pose_that_does_not(small_shape, seen):
    pose, maps = seen
    good = cues_of(small_shape, maps, pose)
    aside = cues_of(small_shape, maps, pose._replace(theta=THETA.at[0, 2].add(12.0)), first=pose)
    for name in ("agreement of the wall with its map", "agreement of the cavity with its map"):
        assert aside[name] < good[name] - 0.3
    assert aside["share of the points outside the image"] > 0
    way = np.log(12 / np.sqrt(np.linalg.det(np.asarray(THETA[:, :2]))))
    assert aside["way from the landmarks' pose"] == pytest.approx(way, abs=2e-3)
    nothing = jax.tree.map(jnp.zeros_like, maps)
    blank = cues_of(small_shape, nothing, pose)
    assert blank["entropy of the maps within the heart"] == pytest.approx(np.log(3), abs=1e-4)
    assert blank["certainty of the least clear landmark"] < -0.5
    assert all(np.isfinite(list(blank.values())))


def examples(number=400, *, seed=0):
    """Dice that rises with the first of three cues; as many strangers, whose first cue is low."""
    rng = np.random.default_rng(seed)
    cues = rng.normal(size=(2 * number, 3))
    cues[number:, 0] -= 8
    chance = 1 / (1 + np.exp(-(2 * cues[:, 0] + 3)))
    dice = np.where(np.arange(2 * number) < number, chance, 0.0)
    patients = np.array([f"p{k % 10}" for k in range(2 * number)])
    kinds = np.repeat([AS_THEY_ARE, "noise"], number)
    return Examples(cues, dice, patients, kinds)


def test_the_expected_dice_is_learned():
    told, unseen = examples(), examples(seed=1)
    learned = doubt.fit(told)
    expected = np.asarray(EXPECTED_DICE(learned, unseen.cues))
    real = unseen.kinds == AS_THEY_ARE
    assert np.abs(expected - unseen.dice)[real].mean() < 0.05
    assert expected[~real].max() < 0.1
    assert abs(learned.weights[0]) > 10 * abs(learned.weights[1:]).max()
    good = real & (unseen.dice >= doubt.GOOD)
    assert (expected[good] >= learned.least).mean() == pytest.approx(doubt.KEPT, abs=0.03)


def test_what_is_learned_is_the_least_of_the_loss():
    """Where its slopes are 0, as differences of the loss tell, which is written out here."""
    told = examples(200)
    rng = np.random.default_rng(2)
    others = told.cues @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(400, 12))
    cues = np.concatenate([told.cues, others], axis=1)
    dice = np.clip(told.dice + 0.2 * rng.normal(size=400), 0, 1)
    cues, dice = cues.astype(np.float32), dice.astype(np.float32)
    learned = doubt.fit(told._replace(cues=cues, dice=dice))
    units = (cues - np.float64(learned.center)) / np.float64(learned.scale)
    units = np.c_[np.ones(400), np.clip(units, -4, 4)]
    share = np.repeat([3 / 4, 1 / 4], 200) / 200

    def loss(weights):
        chance = 1 / (1 + np.exp(-units @ weights))
        entropy = -dice * np.log(chance) - (1 - dice) * np.log(1 - chance)
        return share @ entropy + doubt.RIDGE * (weights[1:] ** 2).sum()

    found = np.append(np.float64(learned.bias), np.float64(learned.weights))
    steps = 1e-4 * np.eye(len(found))
    slopes = [(loss(found + step) - loss(found - step)) / 2e-4 for step in steps]
    assert np.abs(slopes).max() < 1.2e-5


def test_an_example_with_a_cue_that_is_not_finite_does_not_count():
    told = examples(50)
    cues = np.where(np.arange(100)[:, None] == 7, [1.0, np.nan, 1.0], told.cues)
    others = np.arange(100) != 7
    found, expected = doubt.fit(told._replace(cues=cues)), doubt.fit(told.of(others))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    with pytest.raises(ValueError, match="no example are finite"):
        doubt.fit(told._replace(cues=np.full((100, 3), np.inf)))


def test_a_regression_that_does_not_converge_says_so():
    with pytest.raises(ValueError, match="the confidence cannot be learned"):
        doubt.regression(np.zeros((2, 1)), np.array([0.5, np.nan]), np.full(2, 0.5))


def test_looks_count_alike_and_strangers_together():
    """Of cues that tell nothing, the mean Dice is learned: those like the images to come count
    thrice, however many there are."""
    kinds = {AS_THEY_ARE: (10, 0.9), LIKE_THEM: (4, 0.8), "strange": (50, 0.4), "noise": (7, 0.0),
             "another": (3, 0.0)}  # fmt: skip
    numbers, dice = zip(*kinds.values(), strict=True)
    count = sum(numbers)
    told = Examples(np.zeros((count, 2)), np.repeat(dice, numbers), np.arange(count),
                    np.repeat(list(kinds), numbers))  # fmt: skip
    mean = (3 * 0.9 + 3 * 0.8 + 0.4 + 0.0) / 8
    assert EXPECTED_DICE(doubt.fit(told), np.zeros(2)) == pytest.approx(mean, abs=1e-3)


def test_where_nothing_was_good_nothing_is_trusted():
    bad = examples()
    learned = doubt.fit(bad._replace(dice=0.5 * bad.dice))
    assert learned.least == 1


def test_a_cue_that_is_not_finite_or_far_off():
    learned = Confidence(jnp.zeros(2), jnp.ones(2), jnp.array([1.0, 0.0]), jnp.zeros(()),
                         jnp.zeros(()))  # fmt: skip
    cues = jnp.array([[jnp.nan, 0.0], [jnp.inf, 0.0], [100.0, 0.0], [4.0, 7.0], [0.0, 0.0]])
    found = EXPECTED_DICE(learned, cues)
    np.testing.assert_allclose(found, [0, 0, 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-4)), 0.5])


def test_each_half_is_judged_by_the_other_and_summed_up():
    told = examples(100)
    own = np.isin(told.patients, [f"p{k}" for k in (0, 2, 4, 6, 8)])
    judged = doubt.crossed(told)
    other = doubt.fit(told.of(~own))
    np.testing.assert_allclose(judged.dice[own], EXPECTED_DICE(other, told.cues[own]), atol=1e-6)
    real, noise = doubt.summary(told, judged)
    assert (real["images"], noise["images"]) == (AS_THEY_ARE, "noise")
    assert noise["refused"] == "100.0%"
    assert noise["good refused"] == "–"
    assert real["Dice"] == f"{told.dice[:100].mean():.3f}"
    with pytest.raises(ValueError, match="one patient is too few"):
        doubt.crossed(told._replace(patients=np.full(200, "a")))


def test_separation_counts_pairs():
    rng = np.random.default_rng(0)
    confidence, bad = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.3
    pairs = [(b, g) for b in confidence[bad] for g in confidence[~bad]]
    expected = np.mean([(b < g) + 0.5 * (b == g) for b, g in pairs])
    assert doubt.separation(confidence, bad) == pytest.approx(expected)
    assert np.isnan(doubt.separation(confidence, np.zeros(40, bool)))


@pytest.mark.parametrize("kind", strangers.KINDS)
def test_strangers_are_images_without_the_heart(kind):
    rng = np.random.default_rng(3)
    mask = np.zeros((48, 48), bool)
    mask[18:30, 18:30] = True
    image = (
        np.where(mask, 0.9, 0.2).astype(np.float32) + 0.01 * np.arange(48, dtype=np.float32) / 48
    )
    made = np.stack([strangers.KINDS[kind](rng, image, mask) for _ in range(8)])
    assert made.shape == (8, 48, 48)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1
    assert len({each.tobytes() for each in made}) > 1
    if kind == "beyond":
        assert max((each > 0.8).sum() for each in made) <= 0.1 * mask.sum()
    if kind == "heartless":
        assert np.abs(made - image)[:, mask].mean() > 0.3
    if kind == "shuffled":
        assert (made > 0.8).any()
        assert not any((each == image).all() for each in made)
