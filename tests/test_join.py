"""Several directories as one data set."""

import locale
import re
import shutil

import numpy as np
import pytest

from jssm import dataset, shards
from prep.__main__ import main
from prep.dataset import store, verify
from tests.prep_shapes import write_data_set
from tests.sharding import in_shards


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("join")
    one = write_data_set(root / "one", count=8)
    two = write_data_set(root / "two", count=6)
    return one, in_shards(two, root / "other", 4)


@pytest.fixture(scope="module")
def joined(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("joined") / "set"
    words = ["join", *map(str, folders), "--out", str(out), "--prefix"]
    assert main(words) == 0
    return out


def test_it_is_one_data_set(folders, joined):
    parts = [dataset.load(folder) for folder in folders]
    data = dataset.load(joined)
    assert verify.check(joined) == []
    assert not list(joined.glob("images*"))
    for name in ("images", "masks", "points", "spacing_mm"):
        true = np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        np.testing.assert_array_equal(np.asarray(getattr(data, name)), true)
    np.testing.assert_array_equal(data.images[[13, 0, 8]], data.images[:][[13, 0, 8]])
    assert data.cases["case"].tolist()[::8] == ["set_p00_a", "other_p00_a"]
    assert len(data.rows("train")) == sum(len(part.rows("train")) for part in parts)
    assert data.meta["view"] == "test"


def test_all_cases_lie_in_the_first_frame(folders, joined):
    """θ takes the mean shape near to the points, and canonical points exactly to them."""
    first, data = dataset.load(folders[0]), dataset.load(joined)
    np.testing.assert_array_equal(data.shape_model.mean, first.shape_model.mean)
    np.testing.assert_array_equal(data.canonical_points[:8], first.canonical_points)
    moved = data.thetas[:, None, :, :2] @ data.canonical_points[..., None]
    np.testing.assert_allclose(moved[..., 0] + data.thetas[:, None, :, 2], data.points, atol=1e-3)
    apart = data.canonical_points[8:].mean(0) - first.shape_model.mean
    assert np.abs(apart).max() < 0.2


def test_a_part_that_changes_is_found(folders, joined, tmp_path):
    root = shutil.copytree(folders[0].parent.parent, tmp_path / "a")
    out = tmp_path / "set"
    one, two = root / "one" / "set", root / "other"
    assert main(["join", str(one), str(two), "--out", str(out), "--prefix"]) == 0
    points = np.load(one / "points.npy")
    np.save(one / "points.npy", points + 0.01)
    assert verify.check(out) == [
        "../a/one/set: not as it was when it was joined; join the parts again"
    ]
    images = np.load(one / "images.npy")
    np.save(one / "images.npy", images[:-1])
    with pytest.raises(ValueError, match=r"images have the shape \(13, .*a part is not as it"):
        dataset.load(out)
    shutil.rmtree(two)
    with pytest.raises(FileNotFoundError, match=r"other/images\.npy"):
        dataset.load(out)


def test_a_joined_set_joins_and_extends(folders, joined, tmp_path, capsys):
    third = write_data_set(tmp_path / "third", count=4).rename(tmp_path / "more")
    out = tmp_path / "out"
    assert main(["join", str(joined), str(third), "--out", str(out), "--prefix"]) == 0
    assert capsys.readouterr().out.startswith("18 cases of 2 data sets")
    assert verify.check(out) == []
    assert len(dataset.load(out).meta["parts"]) == 3
    source = ["--images", str(tmp_path / "third" / "images"), "--patient-regex", "(p..)_"]
    words = ["extend", str(joined), *source, "--out", str(tmp_path / "ext")]
    assert main([*words, "--shard-cases", "5"]) == 0
    assert verify.check(tmp_path / "ext") == []
    found = dataset.load(tmp_path / "ext").images
    assert isinstance(found, shards.Pictures)
    np.testing.assert_array_equal(found[:14], np.asarray(dataset.load(joined).images))


@pytest.fixture
def other_locale():
    """One in which a file opened as text is ASCII, where nothing else is said."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("other_locale")
def test_tables_are_utf_8_whatever_the_locale(folders, tmp_path):
    """Joined, extended, verified, and in the report."""
    one = shutil.copytree(folders[0], tmp_path / "one")
    text = (one / "cases.csv").read_text(encoding="utf-8").replace("p0", "Zoë")
    (one / "cases.csv").write_text(text, encoding="utf-8")
    joined, extended = tmp_path / "joined", tmp_path / "extended"
    assert main(["join", str(one), str(folders[1]), "--out", str(joined)]) == 0
    source = ["--images", str(folders[0].parent / "images"), "--patient-regex", "(p..)_"]
    assert main(["extend", str(one), *source, "--out", str(extended)]) == 0
    for folder in (joined, extended):
        assert verify.check(folder) == []
        assert dataset.load(folder).cases["case"][0] == "Zoë0_a"
        assert "√λ" in (folder / "report" / "report.html").read_text(encoding="utf-8")


def test_a_full_disk_is_told_with_what_to_do(folders, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_table", full)
    words = ["join", *map(str, folders), "--out", str(tmp_path / "out"), "--prefix"]
    assert main(words) == 2
    assert "No space left on device; empty --out, which is" in capsys.readouterr().err
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words", "sentence"),
    [
        (None, [], r"two cases are named p00_a; --prefix"),
        ("case", [], r"the patient p0. is in both train and val"),
        ("folder", ["--prefix"], r"two or more folders, each once"),
        ("points", ["--prefix"], r"has shapes with points: 20, but the first 24"),
        ("seal", ["--prefix"], r"missing dataset\.json"),
    ],
)
def test_parts_that_do_not_suit_each_other(folders, tmp_path, capsys, change, words, sentence):
    one, two = folders[0], shutil.copytree(folders[1], tmp_path / "two")
    if change == "case":
        text = (two / "cases.csv").read_text().replace("\np", "\nq")
        (two / "cases.csv").write_text(text.replace(",val,", ",x,").replace(",train,", ",val,"))
    elif change == "folder":
        two = one
    elif change == "points":
        for name in ("points", "canonical_points"):
            np.save(two / f"{name}.npy", np.load(two / f"{name}.npy")[:, :20])
    elif change == "seal":
        (two / "dataset.json").unlink()
    out = tmp_path / "out"
    assert main(["join", str(one), str(two), "--out", str(out), *words]) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not out.exists()
