import csv
import json
import shutil

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm import dataset
from jssm.methods import completing
from jssm.methods.model import Model
from jssm.networks.evidence import EvidenceNetwork
from jssm.shape import labels
from prep.__main__ import main
from prep.dataset import store
from prep.dataset.verify import check
from prep.errors import Unsuitable
from prep.shapes import cavity, point_cloud
from tests.prep_shapes import SIZE, Horseshoe, cohort, write_data_set


def cavity_mask(shape: Horseshoe) -> np.ndarray:
    """The cavity of a horseshoe, closed by a straight line between the ends of its arms."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    a = np.deg2rad(shape.turn)
    dx, dy = x - shape.centre[0], y - shape.centre[1]
    u, v = np.cos(a) * dx + np.sin(a) * dy, -np.sin(a) * dx + np.cos(a) * dy
    radius = np.where(v < 0, np.hypot(u, v), np.abs(u))
    return (radius < shape.inner) & (v <= shape.arm)


@pytest.mark.parametrize("shape", cohort(5, seed=3), ids=lambda s: f"{s.turn:.0f}°")
def test_the_inner_boundary_of_a_cavity_is_that_of_its_wall(shape):
    mask = cavity_mask(shape)
    points = cavity.inner_points(mask, 24)
    wall = point_cloud.sample_points(shape.mask(), 48, point_cloud.horseshoe_boundaries)[:24]
    assert np.linalg.norm(points - wall, axis=1).max() < 2.5  # the drawn corners are rounded
    assert point_cloud.signed_area(points) > 0


def test_an_empty_cavity_is_unsuitable():
    with pytest.raises(Unsuitable):
        cavity.inner_points(np.zeros((SIZE, SIZE), np.uint8), 24)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("base"))


@pytest.fixture
def folders(tmp_path):
    """Images and cavities of three new patients, two cases of each."""
    return write_cavities(tmp_path)


def write_cavities(folder):
    """Such images and cavities, in folders of this one."""
    images, cavities = folder / "images", folder / "cavities"
    images.mkdir()
    cavities.mkdir()
    for i, shape in enumerate(cohort(6, seed=7)):
        name = f"new{i // 2}_{i % 2}.png"
        image = 60 + 90 * cavity_mask(shape) + np.arange(SIZE)
        iio.imwrite(images / name, image.astype(np.uint8))
        iio.imwrite(cavities / name, (255 * cavity_mask(shape)).astype(np.uint8))
    return images, cavities


def extend(base, folders, out, *more):
    images, cavities = folders
    words = ["--images", images, "--cavities", cavities, "--label", 255, "--out", out]
    words += ["--patient-regex", r"(new\d)_", *more]
    return main(["extend", str(base), *map(str, words)])


@pytest.fixture(scope="module")
def extended(base, tmp_path_factory):
    """The data set with the cavities of three new patients."""
    root = tmp_path_factory.mktemp("extended")
    assert extend(base, write_cavities(root), root / "out") == 0
    return root / "out"


def test_cavity_cases_join_the_data_set(base, folders, extended):
    out = extended
    assert check(out) == []
    before, data = dataset.load(base), dataset.load(out)
    old, count = len(before.images), len(before.images) + 6
    assert data.images.shape == data.masks.shape == (count, SIZE, SIZE)
    for name in ("images", "masks", "points", "canonical_points", "thetas", "spacing_mm"):
        np.testing.assert_array_equal(getattr(data, name)[:old], getattr(before, name))
    assert (data.covers[old:] == labels.CAVITY).all()
    half = data.points.shape[1] // 2
    assert np.isfinite(data.points[old:, :half]).all()
    assert np.isnan(data.points[old:, half:]).all()
    assert np.isnan(data.thetas[old:]).all()
    np.testing.assert_array_equal(data.shape_model.mean, before.shape_model.mean)
    np.testing.assert_array_equal(data.mean_theta(), before.mean_theta())
    new = data.cases.iloc[old:]
    assert new.groupby("patient")["split"].nunique().max() == 1
    assert set(new["split"]) == {"train", "val"}
    assert json.loads((out / "dataset.json").read_text())["num_cases"] == count
    assert (out / "report" / "report.html").is_file()
    assert extend(base, folders, out) == 2  # not over it


@pytest.fixture
def spoils(base, monkeypatch):
    """A model of the data set's shapes, which is said to put around a cavity the wall of the
    Horseshoe that has it, once each of these functions, to be filled in, has changed its points."""
    shape = dataset.load(base).shape_model
    model = Model({}, shape, np.eye(2, 3), EvidenceNetwork(searches=1), 2 * SIZE)
    spoils = []

    def completed(of, images, inner):
        assert images.shape == (1, of.size, of.size)
        middle = (inner[0].mean(0) + 0.5) / 2 - 0.5
        found = min(cohort(6, seed=7), key=lambda h: np.hypot(*(cavity_centre(h) - middle)))
        points = point_cloud.sample_points(found.mask(), 24, point_cloud.horseshoe_boundaries)
        for spoil in spoils:
            points = spoil(points)
        return jnp.asarray((points[None] + 0.5) * 2 - 0.5, jnp.float32)

    monkeypatch.setattr(jssm, "load", lambda source: model)
    monkeypatch.setattr(completing, "completed", completed)
    return spoils


def cavity_centre(shape):
    return cavity.inner_points(cavity_mask(shape), 12).mean(0)


@pytest.mark.usefixtures("spoils")
def test_walls_are_completed_for_patients_to_train_on(base, folders, tmp_path):
    out = tmp_path / "out"
    assert extend(base, folders, out, "--walls", "mine") == 0
    assert check(out) == []
    data = dataset.load(out)
    old = len(data.images) - 6
    for row, shape in enumerate(cohort(6, seed=7), old):
        trains = data.cases["split"][row] == "train"
        assert data.covers[row] == (labels.MYOCARDIUM if trains else labels.CAVITY)
        label = shape.mask() if trains else cavity_mask(shape)
        assert point_cloud.dice(data.masks[row] > 0, label > 0) > 0.95
    assert set(data.cases["split"][old:]) == {"train", "val"}
    assert "with walls by mine" in json.loads((out / "dataset.json").read_text())["source"]


def thin(points):
    """With the outer boundary a tenth of a pixel from the inner one."""
    inner, outer = np.split(points, 2)
    across = (outer - inner) / np.linalg.norm(outer - inner, axis=1, keepdims=True)
    return np.concatenate([inner, inner + 0.1 * across])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda points: np.roll(points, 12, axis=0), "have a Dice of"),
        (lambda points: points[np.r_[:12, 23:11:-1]], "folds"),
        (thin, "is thinner than a pixel"),
    ],
)
def test_a_wall_that_is_none_is_left_out(base, folders, spoils, tmp_path, spoil, reason):
    spoils.append(spoil)
    out = tmp_path / "out"
    assert extend(base, folders, out, "--walls", "mine") == 0
    assert check(out) == []
    with open(out / "cases.csv", newline="") as file:
        new = [row for row in csv.DictReader(file) if row["case"].startswith("new")]
    assert {row["split"] for row in new} == {"excluded", "val"}
    assert all(reason in row["reason"] for row in new if row["split"] == "excluded")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mri", "--walls mri: has 88 points, the data set 24 per shape"),
        ("nowhere", "--walls nowhere: nowhere"),
    ],
)
def test_a_model_that_cannot_complete_is_refused(base, folders, tmp_path, capsys, model, message):
    assert extend(base, folders, tmp_path / "out", "--walls", model) == 2
    assert message in capsys.readouterr().err


def test_walls_need_cavities(base, folders, tmp_path, capsys):
    words = ["--images", str(folders[0]), "--walls", "mri", "--out", str(tmp_path / "out")]
    assert main(["extend", str(base), *words]) == 2
    assert "--cavities is needed" in capsys.readouterr().err


def test_a_full_disk_is_told_with_what_to_do(base, folders, tmp_path, capsys, monkeypatch):
    """What is there then is refused, so the same command does not go on with it."""

    def full(*_):
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_table", full)
        assert extend(base, folders, out) == 2
        told = capsys.readouterr().err
        assert "No space left on device; empty --out, which is not finished, and run" in told
        assert "goes on" not in told
    assert extend(base, folders, out) == 2
    assert "is not empty" in capsys.readouterr().err
    shutil.rmtree(out)
    assert extend(base, folders, out) == 0


def test_images_alone_cover_nothing(base, folders, tmp_path):
    out = tmp_path / "out"
    words = ["--images", str(folders[0]), "--out", str(out), "--patient-regex", r"(new\d)_"]
    assert main(["extend", str(base), *words]) == 0
    assert check(out) == []
    data = dataset.load(out)
    assert (data.covers[-6:] == labels.NONE).all()
    assert not data.masks[-6:].any()
    assert np.isnan(data.points[-6:]).all()


def test_bad_input_is_listed_and_the_rest_goes_on(base, folders, tmp_path, capsys):
    iio.imwrite(folders[1] / "new0_0.png", np.zeros((SIZE, SIZE), np.uint8))
    (folders[0] / "new0_1.png").write_bytes(b"no picture")
    assert extend(base, folders, tmp_path / "out") == 1
    errors = capsys.readouterr().err
    assert "new0_0.png: the mask is empty" in errors
    assert "new0_1.png: cannot be read" in errors
    assert check(tmp_path / "out") == []
    with open(tmp_path / "out" / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["case"] for r in rows if r["split"] == "excluded"] == ["new0_0", "new0_1"]


def test_a_known_patient_keeps_their_side(base, folders, tmp_path):
    data = dataset.load(base)
    val = data.cases["patient"][data.rows("val")[0]]
    for folder in folders:
        for path in sorted(folder.iterdir()):
            path.rename(folder / path.name.replace("new0", f"{val}_new"))
    more = ("--patient-regex", rf"({val}|new\d)_")
    assert extend(base, folders, tmp_path / "out", *more) == 0
    table = dataset.load(tmp_path / "out").cases
    assert set(table["split"][table["patient"] == val]) == {"val"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda base, folders: shutil.rmtree(folders[1]), "a folder was expected"),
        (lambda base, folders: (base / "points.npy").unlink(), "is no sound data set: points.npy"),
        (
            lambda base, folders: [
                folder.joinpath("new0_0.png").rename(folder / "p00_a.png") for folder in folders
            ],
            "has a case p00_a already",
        ),
    ],
)
def test_what_cannot_begin_says_why(base, folders, tmp_path, capsys, spoil, message):
    copy = shutil.copytree(base, tmp_path / "base")
    spoil(copy, folders)
    assert extend(copy, folders, tmp_path / "out", "--patient-regex", r"(new\d|p\d)") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        ("points", lambda a: a[-1, :2].fill(np.nan), "points.npy has a NaN"),
        ("points", lambda a: a[-1, -2:].fill(3.0), "gives none; NaN was expected"),
        ("thetas", lambda a: a[-1].fill(1.0), "thetas.npy has numbers where the label, cavity"),
        ("masks", lambda a: a[-1].fill(0), "the mask is empty"),
    ],
)
def test_verify_knows_what_a_cavity_case_has(extended, tmp_path, name, change, finding):
    out = shutil.copytree(extended, tmp_path / "out")
    array = np.load(out / f"{name}.npy")
    change(array)
    np.save(out / f"{name}.npy", array)
    assert any(finding in sentence for sentence in check(out))
