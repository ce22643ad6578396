"""Pictures: they are written, have the right size and frames, and take odd cases."""

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image, ImageColor

from jssm.pictures import panels, plots, style
from tests import reference

pytestmark = pytest.mark.usefixtures("drawn")
SIZE = 48


@pytest.fixture(scope="module")
def cases():
    """Two noisy images with masks and points."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, SIZE, SIZE)).astype(np.uint8)
    masks = np.zeros((2, SIZE, SIZE))
    masks[:, 10:30, 15:35] = 1
    points = reference.horseshoe(16, center=(24, 20), inner=8, outer=12)
    return images, masks, np.stack([points, points + 2])


def test_a_sheet_is_written_and_equals_its_array(tmp_path, cases):
    images, masks, points = cases
    arguments = (images, masks > 0, masks * 0.9, points, ["one", "two"])
    plots.overlay_sheet(tmp_path / "sheet.png", *arguments)
    written = imageio.imread(tmp_path / "sheet.png")[..., :3]
    np.testing.assert_array_equal(written, plots.overlay_image(*arguments))


def test_a_sheet_shows_both_outlines_in_their_colours(cases):
    images, masks, points = cases
    sheet = plots.overlay_image(images * 0, masks, np.roll(masks, 6, axis=2), points, ["", ""])
    for colour in (plots.TRUTH_COLOUR, plots.PREDICTION_COLOUR):
        rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
        top = sheet[: len(sheet) // 2]
        assert np.count_nonzero(np.abs(top.astype(int) - rgb).max(axis=-1) < 30) > 100


def test_odd_cases_are_drawn(cases):
    images, masks, points = cases
    empty, broken = masks * 0, np.full_like(points, np.nan)
    for arguments in (
        (images, None, masks, None),
        (images, masks, empty, points + 1000),
        (images, empty, empty, broken),
        (images * 0, masks * 0 + 1, masks, points),
    ):
        sheet = plots.overlay_image(*arguments, ["one", "two"], columns=1)
        assert sheet.dtype == np.uint8
        assert sheet.shape[2] == 3


def test_the_window_holds_mask_and_points_and_stays_square():
    mask = np.zeros((60, 100), bool)
    mask[20:31, 40:51] = True
    left, top, side = plots.crop_window(mask.shape, mask, np.array([[70.0, 25.0]]))
    assert left <= 40
    assert left + side >= 70
    assert top <= 20
    assert top + side >= 30
    assert plots.crop_window((60, 100), None, None) == (-0.5, -0.5, 100)


def test_unlike_lengths_and_no_cases_are_errors(cases):
    images, masks, points = cases
    with pytest.raises(ValueError, match="as many of each"):
        plots.overlay_image(images, masks, masks, points, ["one"])
    with pytest.raises(ValueError, match="as many of each"):
        plots.overlay_image(images[:0], masks[:0], masks[:0], points[:0], [])


def test_a_cine_has_all_its_frames_and_its_speed(tmp_path, cases):
    image, points = cases[0][0], cases[2][0]
    images = np.stack([image] * 6)  # frames that do not differ must not be merged either
    plots.cine_gif(tmp_path / "cine.gif", images, np.stack([points] * 6), 20, title="patient01")
    with Image.open(tmp_path / "cine.gif") as cine:
        assert cine.n_frames == 6
        assert cine.info["duration"] == 50
        assert cine.info["loop"] == 0


def test_a_cine_keeps_the_colours_of_the_points(tmp_path, cases):
    points = cases[2][0]
    plots.cine_gif(tmp_path / "cine.gif", np.zeros((1, SIZE, SIZE)), points[None], 20)
    frame = imageio.imread(tmp_path / "cine.gif", index=0)[..., :3].astype(int)
    for place in (0.0, 3 / 7, 1.0):  # three of the eight places along each wall
        rgb = 255 * np.array(plots.WALL_COLOURS(place)[:3])
        assert np.abs(frame - rgb).max(axis=-1).min() < 12


def test_a_cine_needs_points_for_each_frame(tmp_path, cases):
    with pytest.raises(ValueError, match="as many points as images"):
        plots.cine_gif(tmp_path / "cine.gif", cases[0], cases[2][:1], 20)


def test_curves_of_ragged_records(tmp_path):
    history = [
        {"step": 10, "epoch": 1, "train_points_loss": 1.0},
        {"step": 20, "epoch": 2, "train_points_loss": 0.5, "val_points_loss": 0.6, "note": "x"},
        {"step": 30, "epoch": 3, "train_points_loss": 0.4, "val_dice": 0.8, "learning_rate": 1e-3},
    ]
    plots.curves(tmp_path / "curves.png", history)
    assert imageio.imread(tmp_path / "curves.png").shape[1] > 1000
    with pytest.raises(ValueError, match="no numbers"):
        plots.curves(tmp_path / "none.png", [])


def test_panels_show_curves_with_gaps_and_marks(tmp_path):
    x = np.linspace(0, 1, 5)
    curves = {"flat": np.full(5, 2.0), "gap": np.array([1, 1, np.nan, 3, 3])}
    marks = {"ED": 0.5}
    panels.draw(tmp_path / "a.png", {"p": curves, "q": {"none": np.full(5, np.nan)}}, x=x,
                x_label="s", marks=marks)  # fmt: skip
    drawn = imageio.imread(tmp_path / "a.png").astype(int)
    left, top = panels.LEFTS[0], panels.TOPS[0]
    inside = drawn[top + 1 : top + panels.DOWN, left + 1 : left + panels.ACROSS]

    def columns(colour):
        """Where, as a share of the panel's width, a colour is found above the legend."""
        wanted = np.array(ImageColor.getrgb(colour))
        near = (np.abs(inside - wanted).max(axis=-1) < 60)[: panels.DOWN // 2 + 5]
        return np.flatnonzero(near.any(axis=0)) / panels.ACROSS

    flat, gap = (columns(colour) for colour in style.CURVE_COLOURS[:2])
    margin = panels.MARGIN / (1 + 2 * panels.MARGIN)
    np.testing.assert_allclose([flat.min(), flat.max()], [margin, 1 - margin], atol=0.01)
    # Only the second half of the other is in the upper half of the panel, and only past the gap.
    np.testing.assert_allclose(gap.min(), 0.5 + 0.25 * (1 - 2 * margin), atol=0.01)
    mark = np.flatnonzero((np.abs(inside - 0x99).max(axis=-1) < 20).any(axis=0)) / panels.ACROSS
    np.testing.assert_allclose(mark.mean(), 0.5, atol=0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (-19, 1, [-15, -10, -5, 0]), (36, 104, [40, 60, 80, 100])],
)
def test_ticks_are_round(low, high, expected):
    assert panels.ticks(low, high) == pytest.approx(expected)
