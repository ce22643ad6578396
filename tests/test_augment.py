from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.config import Augmentation
from jssm.shape import affine
from jssm.shape.order import reversed_order
from jssm.training import looks
from jssm.training.augment import augment, random_map
from tests import reference

SIZE = 64
POINTS = reference.horseshoe(24, center=(30, 34), inner=10, outer=16).astype(np.float32)
MASK = np.float32(reference.soft_mask(POINTS, (SIZE, SIZE), 0.5) > 0.5)
EVERYTHING = Augmentation(
    flip_left_right=True,
    flip_up_down=True,
    rotation_degrees=180,
    translation=0.1,
    log_scale=0.2,
    log_aspect=0.3,
)


def augmented(options):
    """The function of a seed and an image that gives the case augmented, compiled once."""
    function = jax.jit(partial(augment, options=options))
    return lambda seed, image=MASK: function(jax.random.key(seed), image, MASK, POINTS)


moved = augmented(EVERYTHING)


def clockwise(points):
    """Whether the outer boundary turns clockwise on the screen (y down)."""
    outer = points[len(points) // 2 :]
    x, y = outer.T
    return np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0


@pytest.mark.parametrize("seed", range(8))
def test_points_move_with_the_mask_and_the_image(seed):
    image, mask, points = moved(seed)
    drawn = reference.soft_mask(points, (SIZE, SIZE), 0.5)
    differs = (drawn > 0.5) != (mask > 0.5)
    distance = 0.5 * np.log(drawn[differs] / (1 - drawn[differs]))
    assert np.abs(distance).max(initial=0) < 0.75  # a pixel's half diagonal is 0.71
    assert reference.dice(np.asarray(image) >= 0.5, mask) == pytest.approx(1)
    assert set(np.unique(mask)) <= {0.0, 1.0}


@pytest.mark.parametrize("seed", range(8))
def test_points_run_clockwise_after_a_mirror_too(seed):
    assert clockwise(POINTS)
    assert clockwise(np.asarray(moved(seed)[2]))


def test_a_flip_mirrors_about_the_image_centre():
    flipped, seen = augmented(Augmentation(flip_left_right=True)), set()
    for seed in range(8):
        image, _, points = flipped(seed)
        if np.allclose(image, MASK[:, ::-1], atol=1e-5):
            expected = reversed_order(jnp.asarray(POINTS * [-1, 1] + [SIZE - 1, 0]))
            np.testing.assert_allclose(points, expected, atol=1e-4)
            seen.add("mirrored")
        else:
            np.testing.assert_allclose(image, MASK, atol=1e-5)
            np.testing.assert_allclose(points, POINTS, atol=1e-4)
            seen.add("as it was")
    assert seen == {"mirrored", "as it was"}


def test_maps_have_the_ranges_of_their_options():
    """Of an image of 40×60: shares of its own height and width, and stretches that keep areas."""
    options = Augmentation(translation=0.1, log_aspect=0.3)
    keys = jax.random.split(jax.random.key(0), 200)
    maps = jax.jit(jax.vmap(partial(random_map, shape=(40, 60), options=options)))(keys)
    center = np.array([[29.5, 19.5]], np.float32)
    shift = np.abs(affine.apply(maps, center) - center).max(axis=(0, 1))
    assert np.all((shift > [5.5, 3.6]) & (shift < [6.001, 4.001]))
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), 1, rtol=1e-5)
    ratio = np.abs(np.log(maps[:, 0, 0] / maps[:, 1, 1])).max()
    assert 0.28 < ratio < 0.3001


def test_without_options_nothing_changes():
    image, mask, points = augmented(Augmentation())(0)
    np.testing.assert_allclose(image, MASK, atol=1e-5)
    np.testing.assert_allclose(mask, MASK)
    np.testing.assert_allclose(points, POINTS, atol=1e-4)


def test_intensity_options_leave_the_geometry_alone():
    options = Augmentation(contrast=0.5, shading=0.3, blur_px=1.0, noise=0.1)
    image, mask, points = augmented(options)(0, MASK * 0.5)
    assert np.abs(image - MASK * 0.5).mean() > 0.01
    np.testing.assert_allclose(mask, MASK)
    np.testing.assert_allclose(points, POINTS, atol=1e-4)


def test_reverse_order_keeps_inner_and_outer():
    points = jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(reversed_order(points)[:, 0], [4, 2, 0, 10, 8, 6])
    np.testing.assert_array_equal(reversed_order(reversed_order(points)), points)


def test_a_blur_is_a_gaussian_and_a_gain_is_smooth():
    point = np.zeros((SIZE, SIZE), np.float32)
    point[32, 32] = 1.0
    blurred = np.asarray(looks.blurred(jnp.asarray(point), jnp.float32(1.2), 2.0))
    rows, columns = np.mgrid[:SIZE, :SIZE] - 32.0
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert (blurred * rows**2).sum() == pytest.approx(1.2**2, rel=0.02)
    assert (blurred * columns**2).sum() == pytest.approx(1.2**2, rel=0.02)
    flat = jnp.full((SIZE, SIZE), 0.5)
    gain = augmented(Augmentation(shading=0.3))(0, flat)[0]
    assert 0.05 < np.std(np.log(gain)) < 0.6
    assert np.abs(np.diff(np.log(gain), axis=0)).max() < 0.1
