"""The landmark network, from the command line: training, going on, applying, aligning."""

import csv
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from jssm import dataset
from jssm.image_path import from_uint8
from jssm.methods import landmark_net
from jssm.networks.heatmaps import Landmarks
from jssm.training import loop
from prep.__main__ import main
from prep.dataset import build
from prep.dataset.settings import Settings
from prep.errors import Refused
from prep.landmark_network import apply as applying
from prep.landmark_network import locator, training
from prep.shapes import landmarks
from tests.prep_shapes import SIZE, Horseshoe, cohort, write_data_set, write_png_cohort
from tests.runs import never, records

SMALL = ("--size", "32", "--width", "8", "--levels", "2", "--epochs", "70", "--batch-size", "8")
OLD_RUN = Path(__file__).parent / "data" / "landmark_run_0.3.0.zip"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("landmarks"), 10)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a short run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["landmarks", "train", "--data", str(data), "--out", str(out), *SMALL]) == 0
    return out


def test_training_leaves_its_report(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"settings.json", "curves.png", "landmarks.png", "errors.csv", "errors.json"} <= names
    summary = json.loads((trained / "errors.json").read_text())
    assert summary["cases"] == 2
    apex, first, last = locator.load(trained).mean_landmarks
    assert apex[1] < min(first[1], last[1])  # upright
    assert first[0] < apex[0] < last[0]


def test_the_loss_falls_and_noise_gives_no_landmarks(trained):
    """The maps begin to say where, and of noise that it is nowhere."""
    losses = [record["val_loss"] for record in records(trained)]
    assert min(losses) < 0.75 * losses[0]
    locate = locator.load(trained)
    noise = np.random.default_rng(0).integers(0, 255, (4, 50, 60)).astype(np.uint8)
    assert not locate(noise, threshold=0.5).found.any()
    assert not locate(np.zeros((1, 50, 60), np.uint8), threshold=0.5).found.any()


def test_the_best_network_has_the_least_loss(trained, data):
    """That of the log, by its own definition: at the network's size, of the held-out cases."""
    best, found = locator.load(trained), training.examples(dataset.load(data), 32).data
    rows = found.rows("val")
    batch = {"image": from_uint8(found.images[rows]), "points": found.points[rows]}
    scores = jax.jit(best.settings.method().scores)(best.variables, batch)
    least = min(record["val_loss"] for record in records(trained))
    assert float(np.mean(scores["loss"])) == pytest.approx(least, rel=1e-3)


def test_examples_are_the_cases_at_the_networks_size(data):
    """Landmarks and masks shrink with their images; the other cases are named."""
    whole = dataset.load(data)
    masks = np.array(whole.masks)
    masks[3] = 0
    found = training.examples(replace(whole, masks=masks), 32)
    assert len(found.without) == 1
    assert found.without[0].startswith(f"{whole.cases['case'][3]}: ")
    assert sorted(found.rows) == [0, 1, 2, *range(4, 10)]
    for row, points, mask in zip(found.rows, found.data.points, found.data.masks, strict=True):
        np.testing.assert_allclose(points, (landmarks.from_mask(masks[row]) - 0.5) / 2, atol=1e-4)
        assert 0.2 < mask.sum() / masks[row].sum() < 0.3
    assert found.data.cases["case"].tolist() == whole.cases["case"].iloc[found.rows].tolist()


def test_some_training_images_are_noise_and_show_nothing():
    """A tenth of them, whatever their landmarks; the others are as they were."""
    image, target = jnp.ones((16, 16)), jnp.full((3, 16 * 16 + 1), 1 / 257)
    keys = jax.random.split(jax.random.key(0), 2000)
    images, aims = jax.jit(
        jax.vmap(lambda key: landmark_net.sometimes_nothing(key, image, target))
    )(keys)
    nothing = np.any(np.asarray(images) != 1, axis=(1, 2))
    assert nothing.mean() == pytest.approx(landmark_net.NOTHING, abs=0.03)
    np.testing.assert_array_equal(aims[nothing][:, :, -1], 1)
    np.testing.assert_array_equal(aims[~nothing], np.broadcast_to(target, aims[~nothing].shape))


def test_a_stopped_training_says_how_it_goes_on(data, tmp_path, monkeypatch, capsys):
    def stop(plan, run):
        raise loop.Stopped("stopped after step 3; the same command continues it")

    monkeypatch.setattr(loop, "follow", stop)
    arguments = ["--data", str(data), "--out", str(tmp_path / "run"), *SMALL]
    assert main(["landmarks", "train", *arguments]) == 130
    assert "landmarks: stopped after step 3; the same" in capsys.readouterr().err


def test_a_finished_training_is_not_done_again(data, trained):
    before = records(trained)
    assert main(["landmarks", "train", "--data", str(data), "--out", str(trained), *SMALL]) == 0
    assert records(trained) == before


def test_other_settings_and_missing_data_are_refused(data, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "follow", never)
    train = ["landmarks", "train", "--out"]
    more = ["--data", str(data), *SMALL, "--seed", "5"]
    assert main([*train, str(trained), *more]) == 2
    assert "run of other settings" in capsys.readouterr().err
    assert main([*train, str(tmp_path / "x"), "--data", str(tmp_path)]) == 2
    assert "not a data set directory" in capsys.readouterr().err
    assert main([*train, str(tmp_path / "x"), "--data", str(data), "--epochs", "0"]) == 2
    assert "--epochs 0: at least 1" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(Refused, match="no trained landmark network"):
        locator.load(tmp_path)


def test_a_network_of_version_0_3_finds_the_same_landmarks_but_trains_no_further(data, tmp_path):
    with zipfile.ZipFile(OLD_RUN) as archive:
        archive.extractall(tmp_path)
    expected = np.load(tmp_path / "expected.npz")
    found = locator.load(tmp_path)(expected["images"], threshold=0.01)
    np.testing.assert_allclose(found.points, expected["points"], atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected["confidence"], atol=1e-5)
    with pytest.raises(Refused, match=r"latest.30: the checkpoint is .* of another version"):
        training.train(data, tmp_path, locator.load(tmp_path).settings, threshold=0.5)


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
    monkeypatch.setattr(locator, "load", lambda _: Oracle(known, mean))
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
