"""What is left of commands that are killed, and what they say where they cannot write: the short
form of ``python -m benchmarks faults``."""

import os
import shutil
from functools import partial

import numpy as np
import pytest

from benchmarks import faults
from jssm.files import whole
from jssm.training import feed, loop
from prep.__main__ import main as prep
from tests import toy
from tests.conftest import write_dataset
from tests.dicom_files import write_cine
from tests.leaks import leaks
from tests.runs import assert_same, stop_at
from tests.sharding import in_shards


@pytest.mark.filterwarnings("ignore:.*fork")  # the child computes nothing with JAX
def test_an_import_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    for number in range(3):
        write_cine(tmp_path / "in" / str(number), series=f"1.2.{number}", shape=(256, 256))
    words = ["import", "dicom", tmp_path / "in", "--out"]
    job = faults.Job("prep import", partial(faults.prep_command, words), faults.digest_all)
    row, _ = faults.kill(job, tmp_path, kills=3, seed=0)
    assert (row["outcome"], row["SIGKILLs"]) == ("the same bits", 3)


def test_a_file_that_is_cut_off_is_found(tmp_path):
    for name in ("a.json", "b.npy", "c.nii.gz", "d.csv", "e.json.1.tmp"):
        (tmp_path / name).write_bytes(b"{")
    found = [name.split(" ")[0] for name in faults.broken(tmp_path)]
    assert sorted(found) == ["a.json", "c.nii.gz", "d.csv"]  # no data set yet, so no array is
    (tmp_path / "dataset.json").write_text("{}")
    assert any(name.startswith("b.npy") for name in faults.broken(tmp_path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a"
    whole.write_whole(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        whole.write_whole(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_a_folder_has_one_writer(tmp_path, capsys):
    write_cine(tmp_path / "in")
    words = ["import", "dicom", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    with whole.alone(tmp_path / "out"):
        assert prep(words) == 2
    assert "out: another program writes there" in capsys.readouterr().err
    assert prep(words) == 0


def test_a_full_disk_is_told_in_a_sentence(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_cine(tmp_path / "in")
    monkeypatch.setattr(os, "replace", full)
    assert prep(["import", "dicom", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("prep: [Errno 28] No space left on device")


def test_a_run_keeps_to_its_data_set(small_data, tmp_path, monkeypatch):
    """One that was built anew in its place is refused; with the old one back it goes on."""
    toy.install(monkeypatch)
    data = write_dataset(tmp_path / "data")
    config = toy.config(data, epochs=2)
    loop.train(config, tmp_path / "whole")
    assert leaks(tmp_path / "whole", ["patient0", "case0", "patient1", "case1"]) == []
    with pytest.raises(loop.Stopped):
        loop.train(config, tmp_path / "run", on_step=stop_at(5))
    points = np.load(data / "points.npy")
    np.save(data / "points.npy", points + 0.01)
    with pytest.raises(ValueError, match="not that with which this run began"):
        loop.train(config, tmp_path / "run")
    np.save(data / "points.npy", points)
    with (
        whole.alone(tmp_path / "run"),
        pytest.raises(OSError, match="another program writes there"),
    ):
        loop.train(config, tmp_path / "run")
    loop.train(config, tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_data_set_that_changes_under_a_running_training(small_data, tmp_path, monkeypatch):
    """As when `prep build` puts another in its place. Files stay open, so the run ends with the
    same bits; shards do not, so it stops, and goes on to the same bits when the old ones are back.
    """
    toy.install(monkeypatch)
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    data, kept, new = (tmp_path / name for name in ("data", "kept", "new"))
    config = toy.config(data, epochs=2)
    write_dataset(new, seed=1)

    def change(step, _):
        if step == 9:  # after the first checkpoint
            data.rename(kept)
            new.rename(data)

    shutil.copytree(small_data, data)
    loop.train(config, tmp_path / "whole")
    loop.train(config, tmp_path / "files", on_step=change)
    assert_same(tmp_path / "whole", tmp_path / "files")
    data.rename(new)
    in_shards(small_data, data, 8)
    shutil.rmtree(kept)
    with pytest.raises(ValueError, match="written anew while it was read"):
        loop.train(config, tmp_path / "shards", on_step=change)
    with pytest.raises(ValueError, match="not that with which this run began"):
        loop.train(config, tmp_path / "shards")
    shutil.rmtree(data)
    kept.rename(data)
    loop.train(config, tmp_path / "shards")
    assert_same(tmp_path / "whole", tmp_path / "shards")
