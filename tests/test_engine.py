"""Cohorts on a dask engine: two workers on this machine, which give the bytes that one process
gives, one of them killed on the way."""

import io
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

pytest.importorskip("distributed")

from distributed import Client, KilledWorker, LocalCluster

from jssm import engine
from jssm.cines.batch import predict_all
from jssm.cines.options import Options
from prep.__main__ import main
from prep.dataset import report
from prep.phantom import cohort
from tests import on_workers, predicting

PATIENTS = 4
PHANTOM = ["--view", "4ch", "--patients", PATIENTS, "--frames", "2", "--size", "96"]


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as found:  # fmt: skip
        yield found


@pytest.fixture(scope="module")
def address(cluster):
    return cluster.scheduler_address


def prep(*words) -> int:
    return main([str(word) for word in words])


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): content_of(path) for path in sorted(files)}


def content_of(path: Path) -> bytes:
    """A file's bytes; of a DICOM object those without the times at which it was made."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    data = pydicom.dcmread(path)
    for element in data.iterall():
        if element.VR in ("DA", "TM", "DT"):
            element.value = ""
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """A cohort made by this process."""
    folder = tmp_path_factory.mktemp("here") / "phantoms"
    assert prep("phantom", *PHANTOM, "--jobs", 1, "--out", folder) == 0
    return folder


def test_a_data_set_is_the_same(phantoms, address, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write", lambda _: None)  # pictures, of what is compared
    words = ["build", "--phantom", phantoms, "--size", "96", "--modes", "3", "--true-points"]
    words += ["--shard-cases", "3"]
    assert prep(*words, "--jobs", 1, "--out", tmp_path / "here") == 0
    monkeypatch.chdir(tmp_path)
    assert prep(*words, "--out", "there", "--dask", address) == 0
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")


def test_imported_cines_are_the_same(address, tmp_path, capsys):
    words = ["import", "dicom", predicting.write_scans(tmp_path / "scans"), "--out"]
    assert prep(*words, tmp_path / "here") == 1  # one file is damaged
    told = capsys.readouterr().out
    assert prep(*words, tmp_path / "there", "--dask", address) == 1
    assert capsys.readouterr().out == told.replace("/here", "/there")
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")


def test_predictions_are_the_same(cluster, small_model, tmp_path):
    """Two studies, of cines of the same names; a worker computes alone what it is compared with,
    for XLA is set up there as it is by the command."""
    run = predicting.write_run(tmp_path / "run", small_model)
    studies = [predicting.write_scans(tmp_path / name) for name in ("a", "b")]
    options = Options(inputs=studies, source=run, out=tmp_path / "here", batch_size=3)
    with Client(cluster) as client:
        client.run(on_workers.install)
        outcome = client.submit(predict_all, options, began=0.0).result()
    assert len(outcome.rows) == 4
    words = [sys.executable, "-m", "jssm", "predict", "a", "b", "--ckpt", "run", "--out", "there"]
    told = subprocess.run(
        [*words, "--batch-size", "3", "--dask", cluster.scheduler_address],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    errors = [line for line in told.stderr.splitlines() if not line.startswith("predicting")]
    assert errors == [f"damaged: {sentence}" for sentence in outcome.damaged]
    assert told.returncode == 1
    assert "4 cines" in told.stdout
    assert "(of one of 2 workers)" in told.stdout
    here, there = bytes_of(tmp_path / "here"), bytes_of(tmp_path / "there")
    assert there.keys() == here.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_what_cannot_work_is_said_in_a_sentence(address, tmp_path, monkeypatch, capsys):
    def said(where: str) -> str:
        assert prep("phantom", *PHANTOM, "--out", tmp_path / "out", "--dask", where) == 2
        (line,) = (s for s in capsys.readouterr().err.splitlines() if s.startswith("prep:"))
        return line

    with monkeypatch.context() as patch:
        patch.setattr(engine, "ANSWER_S", 0.2)
        assert "no dask scheduler answers there" in said("tcp://127.0.0.1:9")
        assert "no dask scheduler answers there" in said("nowhere:x")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        assert "pip install 'jssm[dask]'" in said(address)
    real = engine.about
    with monkeypatch.context() as patch:
        patch.setattr(engine, "about", lambda packages: real(packages) | {"jssm": "9.0"})
        assert " has jssm 0." in said(address)
    with (
        pytest.raises(engine.Unusable, match="does not see"),
        engine.connected(address, tmp_path / "elsewhere") as found,
    ):
        list(found.results([(abs, (-1,), {})]))


def test_what_calls_raise_and_what_is_missing_there(address, tmp_path):
    with engine.connected(address, tmp_path) as found:
        calls = [(int, (word,), {}) for word in ("1", "x", "3")]
        done = dict(found.each(calls))
        assert [done[0].result(), done[2].result()] == [1, 3]
        with pytest.raises(ValueError, match="invalid literal"):
            done[1].result()
        missing = ModuleNotFoundError("No module named 'jssm'")
        with pytest.raises(engine.Unusable, match="No module named 'jssm'"):
            found._done("error", (type(missing), missing, None))
        killed = KilledWorker("call", SimpleNamespace(address="a"), 3)
        with pytest.raises(OSError, match="4 workers died over it"):
            found._done("error", (type(killed), killed, None)).result()
        with pytest.raises(engine.Unusable, match="the scheduler has gone"):
            found._done("cancelled", None)


def test_a_worker_that_dies_costs_what_it_had_in_hand(phantoms, address, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "attempt_patient", on_workers.attempt_with_a_death)
    monkeypatch.chdir(tmp_path)  # a folder that the workers are not in
    assert prep("phantom", *PHANTOM, "--out", "phantoms", "--dask", address) == 0
    assert bytes_of(tmp_path / "phantoms") == bytes_of(phantoms)
    assert (tmp_path / "died").exists()
    calls = Counter(map(int, (tmp_path / "calls").read_text().split()))
    again = calls - Counter(range(1, PATIENTS + 1))
    assert calls.keys() == set(range(1, PATIENTS + 1))
    assert on_workers.DEADLY in again
    assert again.total() <= 2  # a result may have been on its way
