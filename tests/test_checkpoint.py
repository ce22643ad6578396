"""Runs from elsewhere, and runs that are damaged."""

import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import jssm
from jssm import checkpoint
from tests.mutations import mutated

OLD_RUN = Path(__file__).parent / "data" / "run_0.3.0.zip"


@pytest.fixture
def old_run(tmp_path, whole_resnets):
    """A run of version 0.3.0 (random weights) and, in expected.npz, what that version saw."""
    with zipfile.ZipFile(OLD_RUN) as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def test_a_run_of_version_0_3_gives_the_same_points(old_run):
    expected = np.load(old_run / "expected.npz")
    found = jssm.predict(jssm.load(old_run), expected["images"])
    np.testing.assert_allclose(found.points, expected["points"], atol=1e-3)
    np.testing.assert_allclose(found.beta, expected["beta"], atol=1e-6)


def test_a_run_of_a_gpu_loads(old_run):
    """Orbax keeps the device's name beside the arrays."""
    for path in old_run.rglob("_sharding"):
        text = path.read_text()
        assert "TFRT_CPU_0" in text or "cpu:0" in text
        path.write_text(text.replace("TFRT_CPU_0", "cuda:0").replace("cpu:0", "cuda:0"))
    assert np.isfinite(jssm.load(old_run).mean_theta).all()


def _without(name):
    def spoil(run):
        for path in list(run.rglob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _cut_short(run):
    files = [path for path in (run / "checkpoints").rglob("d/*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def _garbled(run):
    (run / "config.json").write_text('{"data": ')


def _no_table(run):
    (run / "config.json").write_text("[1, 2]")


def _of_another_version(run):
    path = run / "config.json"
    path.write_text(path.read_text().replace('"tau"', '"sharpness_px"'))


DAMAGE = {
    "a file cut short": (_cut_short, ValueError, "is damaged or of another version"),
    "no arrays": (_without("d"), ValueError, "is damaged or of another version"),
    "no manifest": (_without("manifest.ocdbt"), ValueError, "is damaged or of another version"),
    "no metadata": (_without("_METADATA"), ValueError, "is damaged or of another version"),
    "no weights": (_without("weights"), ValueError, "is damaged or of another version"),
    "no step": (_without("7"), FileNotFoundError, "no best checkpoint there; train it first"),
    "no checkpoints": (_without("checkpoints"), FileNotFoundError, "no best checkpoint there"),
    "no settings": (_without("config.json"), FileNotFoundError, "no training run there"),
    "garbled settings": (_garbled, ValueError, r"config\.json: "),
    "settings that are no table": (_no_table, ValueError, r"config\.json: "),
    "other settings": (_of_another_version, ValueError, "of another version"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_told_in_one_sentence(old_run, damage):
    spoil, kind, sentence = DAMAGE[damage]
    spoil(old_run)
    with pytest.raises(kind, match=sentence) as caught:
        jssm.load(old_run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax
def test_mutated_checkpoints_give_a_sentence_or_what_is_left(tmp_path):
    with zipfile.ZipFile(OLD_RUN) as archive:
        archive.extractall(tmp_path)
    weights = tmp_path / "checkpoints" / "best" / "7" / "weights"
    largest = max((weights / "ocdbt.process_0" / "d").iterdir(), key=lambda p: p.stat().st_size)
    (index,) = (weights / "d").iterdir()
    rng, sentences = random.Random(0), []
    for path in (weights / "_METADATA", weights / "manifest.ocdbt", index, largest):
        whole = path.read_bytes()
        for _ in range(6):
            path.write_bytes(mutated(whole, rng, header=300))
            try:
                checkpoint.read_weights(tmp_path)
            except ValueError as error:
                sentences.append(str(error))
        path.write_bytes(whole)
    assert len(sentences) > 18
    assert all("is damaged or of another version" in sentence for sentence in sentences)
    assert "\n" not in "".join(sentences)


def test_a_checkpoint_that_cannot_be_written_is_told_in_one_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED:\nNo space left on device")

    with checkpoint.Checkpoints(tmp_path) as files:
        monkeypatch.setattr(type(files._best), "save", full)
        for save in (files.save_best, lambda *args: files.save_latest(*args, {}, {})):
            with pytest.raises(OSError, match="the checkpoint cannot be written") as told:
                save(1, {"a": np.ones(2)})
            assert str(told.value).endswith("(RESOURCE_EXHAUSTED: No space left on device)")
