"""The landmark network, from the command line: training, going on, applying, aligning."""

import csv
import json
from dataclasses import dataclass

import imageio.v3 as iio
import jax
import nibabel as nib
import numpy as np
import pytest

from jssm.methods.heatmaps import Landmarks
from prep.__main__ import main
from prep.dataset import build
from prep.dataset.settings import Settings
from prep.errors import Refused
from prep.landmarks import apply as applying
from prep.landmarks import network
from prep.shapes import landmarks
from tests.prep_shapes import SIZE, Horseshoe, cohort, write_data_set, write_png_cohort

SMALL = ("--size", "32", "--width", "4", "--levels", "1", "--epochs", "2", "--batch-size", "4")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("landmarks"), 10)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a run of two short epochs."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["landmarks", "train", "--data", str(data), "--out", str(out), *SMALL]) == 0
    return out


def test_training_leaves_its_report(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"settings.json", "curves.png", "landmarks.png", "errors.csv", "errors.json"} <= names
    summary = json.loads((trained / "errors.json").read_text())
    assert summary["cases"] == 2
    locator = network.load(trained)
    apex, first, last = locator.mean_landmarks
    assert apex[1] < min(first[1], last[1])  # upright
    assert first[0] < apex[0] < last[0]


def test_a_stopped_training_goes_on_to_the_same_weights(
    data, trained, tmp_path, monkeypatch, capsys
):
    arguments = ["landmarks", "train", "--data", str(data), "--out", str(tmp_path / "run"), *SMALL]
    epoch_of = network._Loop._epoch

    def stopped(self, epoch, bar):
        if epoch == 1:
            raise KeyboardInterrupt
        return epoch_of(self, epoch, bar)

    monkeypatch.setattr(network._Loop, "_epoch", stopped)
    assert main(arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(arguments) == 0
    one, other = network.load(trained).variables, network.load(tmp_path / "run").variables
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_other_settings_and_missing_data_are_refused(data, trained, tmp_path, capsys):
    train = ["landmarks", "train", "--out"]
    more = ["--data", str(data), *SMALL, "--seed", "5"]
    assert main([*train, str(trained), *more]) == 2
    assert "run of other settings" in capsys.readouterr().err
    assert main([*train, str(tmp_path / "x"), "--data", str(tmp_path)]) == 2
    assert "not a data set directory" in capsys.readouterr().err
    assert main([*train, str(tmp_path / "x"), "--data", str(data), "--epochs", "0"]) == 2
    assert "--epochs 0: at least 1" in capsys.readouterr().err
    with pytest.raises(Refused, match="no trained landmark network"):
        network.load(tmp_path)


def test_the_loss_falls_and_noise_gives_no_landmarks(data):
    """Some steps on a few cases: the maps begin to say where, and of noise that it is nowhere."""
    options = network.Settings(size=32, width=8, levels=2, epochs=100, batch_size=8)
    shown = network.examples(network.dataset.load(data), np.arange(8), 32)
    loop = network._Loop(data, options, shown, shown)
    before = loop._val_loss()
    for _ in range(100):
        batch = {"image": shown.images, "points": shown.points}
        loop.state, _ = network.train_step(loop.state, batch, options, loop.per_epoch)
    assert loop._val_loss() < 0.75 * before
    locator = network.Locator(options, loop.state.variables, np.zeros((3, 2)))
    noise = np.random.default_rng(0).integers(0, 255, (4, 50, 60)).astype(np.uint8)
    assert not locator(noise, threshold=0.5).found.any()
    assert not locator(np.zeros((1, 50, 60), np.uint8), threshold=0.5).found.any()


@dataclass(frozen=True)
class Oracle:
    """A locator that knows the horseshoes, and is sure of all frames but the dark ones."""

    known: dict
    mean_landmarks: np.ndarray

    def __call__(self, pictures, *, threshold, aspect):
        keys = [p.tobytes() for p in pictures]
        found = np.array([k in self.known for k in keys])
        points = np.stack([self.known.get(k, np.full((3, 2), np.nan)) for k in keys])
        confidence = np.where(found[:, None], 0.9, [[0.8, 0.1, 0.6]])
        return Landmarks(points.astype(np.float32), confidence, found)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight PNGs whose landmarks an oracle knows, in place of a trained network."""
    images, _ = write_png_cohort(tmp_path, cohort(8))
    mean = np.array([[0.5, 0.2], [0.25, 0.75], [0.75, 0.75]])
    known = {
        applying.images.to_uint8(iio.imread(path)[None])[0].tobytes(): shape.landmarks()
        for path, shape in zip(sorted(images.iterdir()), cohort(8), strict=True)
    }
    monkeypatch.setattr(network, "load", lambda _: Oracle(known, mean))
    return tmp_path


def apply(folder, *more):
    arguments = ["--ckpt", "run", "--images", str(folder / "images")]
    return main(["landmarks", "apply", *arguments, "--out", str(folder / "marks.csv"), *more])


def test_the_table_is_what_build_reads(folder, capsys):
    assert apply(folder) == 0
    assert "landmarks of 8 of 8 frames" in capsys.readouterr().out
    found = landmarks.from_file(folder / "marks.csv")
    for i, shape in enumerate(cohort(8)):
        np.testing.assert_allclose(
            found[f"p{i // 2:02d}_{'ab'[i % 2]}"], shape.landmarks(), atol=1e-3
        )
    assert (folder / "marks.png").is_file()
    request = build.Request(
        folder / "images", folder / "masks", folder, Settings(), landmarks=folder / "marks.csv"
    )
    cases, problems = build.find_cases(request)
    assert not problems
    for case in cases:
        np.testing.assert_array_equal(case.given, found[case.name])


def test_unsure_frames_and_bad_files_are_listed(folder, capsys):
    (folder / "images/q_broken.png").write_text("no image")
    cine = np.zeros((SIZE, SIZE, 3), np.uint8)
    nib.save(nib.Nifti1Image(cine, np.eye(4)), folder / "images/r.nii")
    assert apply(folder, "--every", "2") == 1
    printed = capsys.readouterr()
    assert "landmarks of 8 of 10 frames" in printed.out
    for line in (
        "no landmarks: r_frame00: the basal1 has the confidence 0.10, under 0.5",
        "no landmarks: r_frame02: the basal1",
        "bad input: q_broken.png",
    ):
        assert line in printed.err
    assert not any(name.startswith("r") for name in landmarks.from_file(folder / "marks.csv"))


def test_aligned_frames_stand_upright(folder, capsys):
    align = folder / "aligned"
    assert apply(folder, "--align", str(align), "--align-size", "48") == 0
    with open(align / "alignment.csv", newline="") as file:
        maps = {row["case"]: [float(row[k]) for k in "abxcdy"] for row in csv.DictReader(file)}
    assert len(maps) == 8
    for name in maps:
        assert iio.imread(align / f"{name}.png").shape == (48, 48)
    assert apply(folder, "--align", str(align)) == 2
    assert "a new or empty folder" in capsys.readouterr().err


def test_the_landmarks_of_an_aligned_image_are_the_mean_ones():
    shape = Horseshoe(turn=70, centre=(31.5, 31.5), arm=14)
    mean = (Horseshoe(arm=14).landmarks() - [31.5, 28]) / 64 * 1.2 + 0.5
    picture, theta = applying.aligned(
        255 * shape.mask().astype(np.uint8), shape.landmarks(), mean, 96
    )
    found = landmarks.from_mask(picture > 127)
    assert np.abs(found - 96 * mean).max() < 2
    back = found @ theta[:, :2].T + theta[:, 2]
    assert np.abs(back - shape.landmarks()).max() < 1.5


def test_alignment_makes_pixels_square():
    """The same heart, seen with pixels twice as high as wide."""
    shape = Horseshoe(turn=40, centre=(31.5, 31.5), arm=14)
    mean = (Horseshoe(arm=14).landmarks() - [31.5, 28]) / 64 * 1.2 + 0.5
    flat = 255 * shape.mask()[::2].astype(np.uint8)
    picture, theta = applying.aligned(flat, shape.landmarks() / [1, 2], mean, 96, aspect=2.0)
    found = landmarks.from_mask(picture > 127)
    assert np.abs(found - 96 * mean).max() < 3
    back = found @ theta[:, :2].T + theta[:, 2]
    assert np.abs(back - shape.landmarks() / [1, 2]).max() < 1.5
