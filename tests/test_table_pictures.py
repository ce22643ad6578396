"""The tables' pictures: written, of the right size, not blank, and of the right cases."""

import dataclasses

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.tables import pictures
from jssm import dataset
from jssm.evaluation.scores import Evaluation
from jssm.pictures import movies, plots

pytestmark = pytest.mark.usefixtures("drawn")
FRAMES = 8


@pytest.fixture(scope="module")
def data(small_data):
    return dataset.load(small_data)


@pytest.fixture(scope="module")
def found(data):
    """Two methods on all cases: the truth with falling Dice, and one with a stray piece."""
    rows = np.arange(len(data.images))
    dice = np.linspace(0.9, 0.5, len(rows))
    table = pd.DataFrame({"case": data.cases["case"], "dice": dice})
    masks = np.asarray(data.masks) > 0
    stray = masks.copy()
    stray[:, :3, :3] = True
    unknown = np.full((len(rows), 1), np.nan)
    return {
        "Ours": Evaluation(table, {}, rows, masks, np.asarray(data.points), unknown),
        "unet": Evaluation(table, {}, rows, stray, None, unknown),
    }


@pytest.fixture(scope="module")
def cine(data):
    """Eight frames of a heart that moves to the right, its points and its masks."""
    shift = np.arange(FRAMES)
    images = np.stack([np.roll(data.images[0], k, axis=1) for k in shift])
    masks = np.stack([np.roll(data.masks[0], k, axis=1) for k in shift]) > 0
    points = data.points[0] + shift[:, None, None] * np.array([1.0, 0.0])
    return images, points, masks


def read(path):
    picture = imageio.imread(path)[..., :3]
    assert picture.std() > 5
    return picture.astype(int)


def count(picture, colour):
    """How many pixels have about this colour."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return np.count_nonzero(np.abs(picture - rgb).max(axis=-1) < 12)


def test_best_median_and_worst_are_chosen():
    assert pictures.choose([0.5, 0.9, np.nan, 0.7, 0.1, 0.8]) == {
        "best": 1,
        "median": 3,
        "worst": 4,
    }
    assert pictures.choose([0.5, 0.9]) == {"best": 1, "worst": 0}
    assert pictures.choose([np.nan, 0.9]) == {"best": 1}
    assert pictures.choose([0.5, 0.5, 0.5]) == {"best": 0, "median": 1, "worst": 2}
    with pytest.raises(ValueError, match="no case has a Dice"):
        pictures.choose([np.nan])


def test_the_worst_come_first(monkeypatch):
    monkeypatch.setattr(pictures, "WORST", 2)
    assert pictures.worst(np.array([0.5, np.nan, 0.1, 0.7])) == {"worst 1": 2, "worst 2": 0}
    assert pictures.worst(np.array([np.nan, 0.7])) == {"worst 1": 1}


def test_the_chosen_cases_hold_what_was_found(data, found):
    cases = pictures.chosen_cases(data, found, view="4ch")
    last = len(data.images) - 1
    for case, row, name in zip(
        cases, (0, (last) // 2, last), ("best", "median", "worst"), strict=True
    ):
        assert case.title == f"4ch {name}\ncase{row:02d}"
        np.testing.assert_array_equal(case.image, data.images[row])
        np.testing.assert_array_equal(case.points, data.points[row])
        np.testing.assert_array_equal(case.masks["unet"], found["unet"].masks[row])
    material = dataclasses.replace(data, truth_points=np.asarray(data.points) + 1)
    true_points = pictures.chosen_cases(material, found)[0].true_points
    np.testing.assert_array_equal(true_points, data.points[0] + 1)


def test_other_rows_and_missing_points_are_refused(data, found):
    other = dataclasses.replace(found["unet"], rows=found["unet"].rows[::-1])
    with pytest.raises(ValueError, match="different rows"):
        pictures.chosen_cases(data, {**found, "unet": other})
    with pytest.raises(ValueError, match="unet has no points"):
        pictures.chosen_cases(data, found, ours="unet")


def test_rows_of_cases_show_all_masks_and_stray_pieces(tmp_path, data, found):
    cases = pictures.chosen_cases(data, found)
    pictures.qualitative(tmp_path / "new" / "rows.png", cases)
    picture = read(tmp_path / "new" / "rows.png")
    assert picture.shape[0] / picture.shape[1] == pytest.approx(6.15 / 10.8, rel=0.02)
    assert count(picture, pictures.STRAY_COLOUR) > 100
    alone = [dataclasses.replace(case, masks={"Ours": case.masks["Ours"]}) for case in cases]
    pictures.qualitative(tmp_path / "alone.png", alone)
    assert count(read(tmp_path / "alone.png"), pictures.STRAY_COLOUR) == 0


def test_empty_masks_and_lost_points_are_drawn(tmp_path, data, found):
    (case, *_) = pictures.chosen_cases(data, found)
    masks = {method: mask * 0 for method, mask in case.masks.items()}
    odd = dataclasses.replace(case, masks=masks, points=case.points * np.nan)
    pictures.qualitative(tmp_path / "odd.png", [odd])
    read(tmp_path / "odd.png")


def test_a_cycle_is_shown_in_its_frames(tmp_path, cine):
    images, points, _ = cine
    pictures.cycle_sheet(tmp_path / "cycle.png", {"a": (images, points), "b": (images, points)})
    picture = read(tmp_path / "cycle.png")
    assert picture.shape[:2] == (380, 1400)
    pictures.cycle_sheet(tmp_path / "few.png", {"a": (images[:3], points[:3])}, frames=2)
    assert read(tmp_path / "few.png").shape[1] == 380


def test_movies_show_points_and_outlines_side_by_side(tmp_path, cine):
    images, points, masks = cine
    tracks = {"true": points, "unet": masks, "lost": points * np.nan}
    pictures.movie(tmp_path / "m" / "m.gif", images, tracks, frame_time_s=0.05)
    side = movies.SIDE_PX
    with Image.open(tmp_path / "m" / "m.gif") as movie:
        assert (movie.n_frames, movie.size) == (FRAMES, (3 * side, side))
        assert movie.info["duration"] == 50
        frames = []
        for k in range(FRAMES):
            movie.seek(k)
            frames.append(np.asarray(movie.convert("RGB")).astype(int))
    for frame in frames:
        orange = [
            count(frame[:, k * side : (k + 1) * side], plots.PREDICTION_COLOUR) for k in range(3)
        ]
        assert orange[0] > 100
        assert orange[1] > 100
        assert orange[2] == 0
    # The outline goes as the heart goes.
    first, last = (
        np.argwhere(np.abs(f[:, side : 2 * side] - (230, 159, 0)).max(-1) < 12).mean(0)
        for f in (frames[0], frames[-1])
    )
    assert last[1] - first[1] > 50
    assert last[0] == pytest.approx(first[0], abs=3)


def test_an_outline_lies_on_the_wall_that_the_points_enclose(tmp_path, cine):
    images, points, masks = cine
    pictures.movie(tmp_path / "m.gif", images, {"points": points, "mask": masks})
    with Image.open(tmp_path / "m.gif") as movie:
        frame = np.asarray(movie.convert("RGB")).astype(int)
    line = [
        np.argwhere(np.abs(part - (230, 159, 0)).max(axis=-1) < 12)
        for part in np.split(frame, 2, axis=1)
    ]
    np.testing.assert_allclose(line[0].min(0), line[1].min(0), atol=15)
    np.testing.assert_allclose(line[0].max(0), line[1].max(0), atol=15)


def test_an_mp4_is_written(tmp_path, cine):
    av = pytest.importorskip("av")
    images, points, masks = cine
    pictures.movie(tmp_path / "m.mp4", images, {"true": points, "unet": masks})
    with av.open(str(tmp_path / "m.mp4")) as movie:
        frame = next(movie.decode(video=0)).to_ndarray(format="rgb24")
    assert frame.shape == (movies.SIDE_PX, 2 * movies.SIDE_PX, 3)
    assert frame.std() > 5


def test_an_mp4_has_the_colours_of_its_pictures():
    """Those of the palette, as PyAV converts them from RGB."""
    av = pytest.importorskip("av")
    tables = movies._luma_and_chroma()
    for colour in range(movies.TEXT + 1):
        picture = Image.new("P", (16, 16), colour)
        picture.putpalette(movies._palette())
        frame = av.VideoFrame.from_image(picture.convert("RGB")).reformat(format="yuv420p")
        expected = frame.to_ndarray().astype(float)
        np.testing.assert_allclose(movies._planes(picture, tables), expected, atol=1)


def test_other_movies_are_refused(tmp_path, cine):
    images, points, _ = cine
    with pytest.raises(ValueError, match=r"expected \.gif or \.mp4"):
        pictures.movie(tmp_path / "m.avi", images, {"true": points})
    with pytest.raises(ValueError, match="short has 3 frames, expected 8"):
        pictures.movie(tmp_path / "m.gif", images, {"short": points[:3]})


def scores(**columns):
    numbers = len(next(iter(columns.values())))
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            columns
            | {f"{s}_mean": rng.uniform(size=numbers) for s in ("dice", "hd_mm", "hd_px", "cc")}
        ).assign(method=method)
        for method in ("Ours", "unet")
    ]
    return pd.concat(tables)


def test_scores_are_drawn_against_strength_and_size(tmp_path):
    worse = scores(degradation=["noise"] * 3 + ["slab"] * 3, strength=[0, 0.5, 1] * 2)
    pictures.robustness_lines(tmp_path / "strength.png", worse)
    picture = read(tmp_path / "strength.png")
    assert picture.shape[:2] == (760, 620)  # three scores (px left out beside mm), two faults
    pictures.size_lines(tmp_path / "size.png", scores(train_percent=[5, 25, 100]))
    other = read(tmp_path / "size.png")
    assert other.shape[:2] == (300, 890)
    for drawn in (picture, other):
        assert count(drawn, plots.PREDICTION_COLOUR) > 200
        assert count(drawn, "#0072B2") > 200


def test_errors_are_drawn_along_the_arc_and_over_the_cycle(tmp_path):
    rng = np.random.default_rng(0)
    arcs = {"Ours": rng.uniform(1, 2, (12, 88)), "tracking": rng.uniform(2, 4, (12, 88))}
    pictures.arc_lines(tmp_path / "arc.png", arcs)
    drawn = read(tmp_path / "arc.png")
    assert drawn.shape[:2] == (340, 900)
    assert count(drawn, plots.PREDICTION_COLOUR) > 100
    frames = pd.DataFrame({"phase": np.tile([0, 0.5], 4), "patient": np.repeat(["a", "b"], 4)})
    frames = frames.assign(method=np.tile(["Ours", "Ours", "tracking", "tracking"], 2))
    frames = frames.assign(point_mm=rng.uniform(size=8), across_mm=1.0, motion_mm=2.0)
    pictures.drift_lines(tmp_path / "drift.png", frames)
    assert read(tmp_path / "drift.png").shape[:2] == (300, 890)


def test_ours_is_orange_and_no_other_is():
    names = [f"method {k}" for k in range(7)]
    colours = pictures.method_colours([*names, "Ours", "Ours"])
    assert colours["Ours"] == plots.PREDICTION_COLOUR
    assert list(colours)[-1] == "Ours"
    assert len(set(colours.values())) == 8
