"""Scores with known answers: squares that are shifted, nested, empty, or touch at a corner."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jssm.evaluation import metrics
from jssm.shape.masks import PackedMasks, binarize


def rectangle(top, left, height, width, shape=(64, 64)):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_binarize_is_strict_and_drops_nan():
    soft = np.array([0.0, 0.5, 0.50001, 1.0, np.nan])
    for mask in (soft, jnp.asarray(soft)):
        np.testing.assert_array_equal(binarize(mask), [False, False, True, True, False])


def test_dice_of_half_overlapping_squares():
    assert metrics.dice(rectangle(10, 10, 8, 8), rectangle(10, 14, 8, 8)) == 0.5
    assert metrics.dice(rectangle(10, 10, 8, 8), rectangle(10, 10, 8, 8)) == 1.0
    assert metrics.dice(rectangle(10, 10, 8, 8), rectangle(40, 40, 8, 8)) == 0.0


def test_components_are_eight_connected():
    diagonal = rectangle(5, 5, 4, 4) | rectangle(9, 9, 4, 4)
    assert metrics.components(diagonal) == 1
    assert metrics.components(rectangle(5, 5, 4, 4) | rectangle(10, 10, 4, 4)) == 2
    assert metrics.components(np.zeros((8, 8), bool)) == 0


@pytest.mark.parametrize("shift", [1, 3, 7])
def test_shifted_squares(shift):
    truth, predicted = rectangle(20, 20, 15, 15), rectangle(20, 20 + shift, 15, 15)
    found = metrics.surface_distances(truth, predicted)
    assert found["hd"] == shift
    assert 0 < found["assd"] <= found["hd95"] <= shift


def test_no_bias_of_the_corner_grid():
    """Nested squares are `margin` apart on every side, and sqrt(2) times that at the corners."""
    for margin in (1, 4):
        inner = rectangle(20 + margin, 20 + margin, 30 - 2 * margin, 30 - 2 * margin)
        found = metrics.surface_distances(rectangle(20, 20, 30, 30), inner)
        assert found["hd"] == pytest.approx(margin * np.sqrt(2))
        assert found["assd"] == pytest.approx(margin, rel=0.05)


@pytest.mark.parametrize("place", [(0, 0), (0, 50), (50, 0), (50, 50)])
def test_masks_at_the_image_border(place):
    truth = rectangle(*place, 14, 14)
    assert metrics.surface_distances(truth, truth)["assd"] == 0
    whole = np.ones((64, 64), bool)
    assert metrics.surface_distances(whole, whole)["hd"] == 0


def test_distances_do_not_depend_on_the_order_or_on_a_mirror():
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 30, 40)) > 0.8
    one = metrics.surface_distances(truth, predicted, (1.5, 0.7))
    assert metrics.surface_distances(predicted, truth, (1.5, 0.7)) == pytest.approx(one)
    mirrored = metrics.surface_distances(truth[:, ::-1], predicted[:, ::-1], (1.5, 0.7))
    assert mirrored == pytest.approx(one)


def contour(mask, spacing):
    """The corners of pixels (n, 2) that a contour passes, and its length there (n,), one by one.

    It crosses half way between two neighbouring pixels of which one is filled, in straight lines.
    """
    filled = np.pad(mask, 1)
    places, lengths = [], []
    for row, column in np.ndindex(filled.shape[0] - 1, filled.shape[1] - 1):
        (a, b), (c, d) = filled[row : row + 2, column : column + 2]
        crossings = [
            spacing * side
            for side, differs in (((-1, 0), a != b), ((0, 1), b != d), ((1, 0), c != d),
                                  ((0, -1), a != c))
            if differs
        ]  # fmt: skip
        if crossings:
            pairs = zip(crossings[::2], crossings[1::2], strict=True)
            places.append(spacing * [row, column])
            lengths.append(sum(math.dist(p, q) / 2 for p, q in pairs))
    return np.array(places), np.array(lengths)


@pytest.mark.parametrize("smoothness", [0, 1, 3])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.3, 0.6)])
def test_distances_against_brute_force_over_all_pairs_of_elements(smoothness, spacing):
    rng = np.random.default_rng(1)
    for _ in range(5):
        fields = rng.normal(size=(2, *rng.integers(5, 25, 2)))
        masks = [ndimage.gaussian_filter(field, smoothness) for field in fields]
        masks = [mask > np.quantile(mask, rng.uniform(0.2, 0.9)) for mask in masks]
        found = metrics.surface_distances(*masks, spacing)
        elements = [contour(mask, np.array(spacing)) for mask in masks]
        apart = np.linalg.norm(elements[0][0][:, None] - elements[1][0][None], axis=-1)
        directed = list(zip((apart.min(1), apart.min(0)), (e[1] for e in elements), strict=True))
        within = [
            min(limit for limit in far if length[far <= limit].sum() >= 0.95 * length.sum())
            for far, length in directed
        ]
        area = sum(far @ length for far, length in directed)
        total = sum(length.sum() for _, length in directed)
        expected = {"hd": max(far.max() for far, _ in directed), "hd95": max(within)}
        assert found == pytest.approx(expected | {"assd": area / total}, abs=1e-9)


def test_anisotropic_spacing_is_row_then_column():
    truth = rectangle(20, 20, 15, 15)
    spacing = (2.0, 0.5)
    down = metrics.surface_distances(truth, rectangle(23, 20, 15, 15), spacing)
    right = metrics.surface_distances(truth, rectangle(20, 23, 15, 15), spacing)
    assert down["hd"] == pytest.approx(6.0)
    assert right["hd"] == pytest.approx(1.5)


def test_point_rmse_in_px_and_mm():
    truth = np.zeros((4, 2))
    assert metrics.point_rmse(truth + np.array([3, 4]), truth) == pytest.approx(5)
    moved_down = truth + np.array([0, 2])
    assert metrics.point_rmse(moved_down, truth, (1.5, 9.0)) == pytest.approx(3)
    one_of_four = truth.copy()
    one_of_four[0] = [0, 2]
    assert metrics.point_rmse(one_of_four, truth) == pytest.approx(1)


def test_empty_prediction_gets_the_diagonal_and_is_a_failure():
    truth = rectangle(5, 5, 4, 4, (30, 40))
    found = metrics.mask_scores(truth, np.zeros_like(truth), (2.0, 0.5))
    assert (found["dice"], found["components"], found["failed"]) == (0, 0, 1)
    assert found["hd_px"] == found["hd95_px"] == found["assd_px"] == pytest.approx(50)
    assert found["hd_mm"] == found["assd_mm"] == pytest.approx(np.hypot(60, 20))


def test_mask_scores_without_a_spacing_have_no_mm():
    truth = rectangle(5, 5, 4, 4)
    found = metrics.mask_scores(truth, rectangle(5, 7, 4, 4), (np.nan, np.nan))
    assert found["hd_px"] == 2
    assert found["failed"] == 0
    assert all(np.isnan(found[name]) for name in ("hd_mm", "hd95_mm", "assd_mm"))


def test_an_empty_truth_and_unlike_shapes_are_errors():
    square = rectangle(5, 5, 4, 4)
    with pytest.raises(ValueError, match="true mask is empty"):
        metrics.mask_scores(np.zeros_like(square), square, (1, 1))
    with pytest.raises(ValueError, match="expected"):
        metrics.dice(square, square[:-1])


def test_packed_masks_come_out_as_they_were():
    drawn = np.random.default_rng(0).random((5, 7, 13)) > 0.5
    packed = PackedMasks([PackedMasks.pack(drawn[:3]), PackedMasks.pack(drawn[3:])], 13)
    for places in (2, [4, 0], slice(None)):
        np.testing.assert_array_equal(packed[places], drawn[places], strict=True)
    np.testing.assert_array_equal(list(packed), drawn)
    assert len(packed) == 5
