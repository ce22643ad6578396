"""Data sets in shards, and of several directories: the same as of one file each."""

import json
import shutil

import jax
import numpy as np
import pytest

from jssm import dataset, shards
from jssm.training import feed
from prep.dataset import verify
from tests.conftest import write_dataset
from tests.prep_shapes import write_data_set
from tests.sharding import in_shards

SHARD = 7  # cases, of 20: the last shard is shorter


@pytest.fixture(scope="module")
def sharded(small_data, tmp_path_factory):
    return in_shards(small_data, tmp_path_factory.mktemp("shards") / "data", SHARD)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """What `prep build` writes, plain."""
    return write_data_set(tmp_path_factory.mktemp("sound"), count=8)


def test_shards_hold_the_same_cases(small_data, sharded):
    plain, data = dataset.load(small_data), dataset.load(sharded)
    assert isinstance(data.images, shards.Pictures)
    assert sorted(path.name for path in (sharded / "images.zarr").iterdir()) == [
        "0.0.0", "1.0.0", "2.0.0", "zarr.json",
    ]  # fmt: skip
    assert (data.images.shape, data.images.dtype) == (plain.images.shape, np.uint8)
    assert (data.size, data.images.nbytes) == (32, plain.images.nbytes)
    assert data.digest == plain.digest
    several = ([5, 2], slice(3, 9), 4, -1, np.arange(20) % 3 == 0, [[1, 19], [0, 8]], slice(None))
    for rows in several:
        for name in dataset.PICTURES:
            found, true = getattr(data, name)[rows], getattr(plain, name)[rows]
            np.testing.assert_array_equal(found, true, strict=True)
    np.testing.assert_array_equal(np.asarray(data.masks), plain.masks)
    with pytest.raises(IndexError):
        data.images[[20]]


def test_batches_are_the_same_bits(small_data, sharded, monkeypatch):
    """Streamed and on the device, in training and in validation."""
    plain = dataset.load(small_data)
    order = dataset.epoch_order(plain.rows("train"), 4, seed=0, epoch=0)
    expected = list(dataset.batches(plain, order))
    for share in (0.0, 0.25):
        monkeypatch.setattr(feed, "RESIDENT_SHARE", share)
        source = feed.Feed(dataset.load(sharded), jax.devices()[:1])
        for found, true in zip(source.batches(order), expected, strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), found, true)
        for found, true in zip(source.whole_batches(order), expected, strict=True):
            jax.tree.map(np.testing.assert_array_equal, found, true)


def test_a_batch_reads_its_own_cases_alone(sharded, monkeypatch):
    """No more of them at once than a batch, and few batches ahead."""
    read = []
    real = shards.Pictures.__getitem__
    monkeypatch.setattr(
        shards.Pictures, "__getitem__", lambda self, rows: (read.append(rows), real(self, rows))[1]
    )
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    order = np.arange(20).reshape(10, 2)
    batches = feed.Feed(dataset.load(sharded), jax.devices()[:1]).batches(order)
    next(batches)
    assert all(len(rows) == 2 for rows in read)
    assert len(read) <= 2 * (feed.AHEAD + 2)  # images and masks
    batches.close()


def test_a_shard_that_is_missing_or_cut_off_is_named(sharded, tmp_path):
    out = shutil.copytree(sharded, tmp_path / "data")
    shard = out / "masks.zarr" / "1.0.0"
    whole = shard.read_bytes()
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"masks\.zarr/1\.0\.0"):
        dataset.load(out)
    shard.write_bytes(whole[:50])
    with pytest.raises(ValueError, match=r"masks\.zarr/1\.0\.0: the shard is cut off"):
        dataset.load(out)
    for damaged in (whole[:-20], whole[:100] + b"x" + whole[101:]):
        shard.write_bytes(damaged)
        data = dataset.load(out)
        np.testing.assert_array_equal(data.masks[:SHARD].any(axis=(1, 2)), True)
        with pytest.raises(ValueError, match=r"masks\.zarr/1\.0\.0: cannot be read \(.*") as told:
            data.masks[:]
        assert "\n" not in str(told.value)
    shard.write_bytes(whole)
    (out / "masks.zarr" / "zarr.json").unlink()
    with pytest.raises(ValueError, match=r"masks\.zarr/zarr\.json: cannot be read"):
        dataset.load(out)


def test_a_data_set_that_is_written_anew_is_not_read_on(sharded, tmp_path):
    out = shutil.copytree(sharded, tmp_path / "data")
    data = dataset.load(out)
    whole = (out / "dataset.json").read_bytes()
    (out / "dataset.json").unlink()  # as the first thing that `prep build` does
    with pytest.raises(ValueError, match="written anew"):
        data.images[0]
    (out / "dataset.json").write_bytes(whole)
    with pytest.raises(ValueError, match="written anew"):
        data.images[0]
    assert dataset.load(out).images[0].any()


def test_shards_of_a_full_disk_are_no_data_set(tmp_path, monkeypatch):
    import tensorstore

    def full(*_, **__):
        raise ValueError('RESOURCE_EXHAUSTED: Error writing local file "a/0.0.0": No space left')

    monkeypatch.setattr(tensorstore, "open", full)
    with (
        pytest.raises(OSError, match=r"a/0\.0\.0: cannot be written \(No space left\)"),
        shards.writer(tmp_path / "a", 4, 8, 2),
    ):
        pass


def test_the_command_verifies_shards_and_finds_what_is_wrong(sound, tmp_path):
    out = in_shards(sound, tmp_path / "set", 3)
    assert verify.check(out) == []
    shard = out / "images.zarr" / "2.0.0"
    shard.write_bytes(shard.read_bytes()[:-9])
    (finding,) = verify.check(out)
    assert finding.startswith("images: rows 0 to 7 cannot be read")
    assert "images.zarr/2.0.0" in finding
    shard.unlink()
    (finding,) = verify.check(out)
    assert finding.startswith("images: cannot be read ([Errno 2] No such file")


def test_verify_streams(tmp_path, monkeypatch):
    """A few cases at a time, of either layout."""
    plain = write_dataset(tmp_path / "plain", cases=300)
    meta = {"num_points": 16, "seed": 0, "source": "a", "min_dice": 0.0}
    meta |= json.loads((plain / "dataset.json").read_text())
    (plain / "dataset.json").write_text(json.dumps(meta))
    header, *rows = (plain / "cases.csv").read_text().splitlines()
    columns = f"{header},covers,point_mask_dice,reason,time_s,image,mask"
    rows = [f"{row},myocardium,1.0,,,a,b" for row in rows]
    (plain / "cases.csv").write_text("\n".join([columns, *rows]) + "\n")
    monkeypatch.setattr(verify, "_case_findings", lambda *_: ())
    read = []
    for kind in (np.memmap, shards.Pictures):

        def counted(self, rows, real=kind.__getitem__):
            found = real(self, rows)
            read.append(len(found))
            return found

        monkeypatch.setattr(kind, "__getitem__", counted)
    for folder in (plain, in_shards(plain, tmp_path / "shards", 100)):
        read.clear()
        findings = verify.check(folder)
        assert [finding for finding in findings if "shape_model" not in finding] == []
        assert sum(read) >= 6 * 300
        assert max(read) <= 64
