"""The command lines, end to end, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAIN = ("train.py", "--config", "configs/4ch.py")


def run(*words, code=0):
    """Run a command in the checkout; gives its output and errors, which never hold a traceback."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny cohort taken from the phantom to the evaluation."""
    root = tmp_path_factory.mktemp("cli")
    cohort = ("--view", "4ch", "--patients", 5, "--frames", 5, "--size", 96, "--seed", 3)
    run("-m", "prep", "phantom", *cohort, "--out", root / "phantom")
    build = ("--phantom", root / "phantom", "--view", "4ch", "--size", 96, "--min-dice", 0.8)
    run("-m", "prep", "build", *build, "--out", root / "data")
    run(
        *("train.py", "--config", "configs/phantom.py", "--workdir", root / "run"),
        *(f"--config.data={root / 'data'}", "--config.model.size=0", "--config.model.width=4"),
        *("--config.train.epochs=2", "--config.train.points_epochs=1"),
        *("--config.train.warmup_epochs=0", "--config.train.batch_size=10"),
        "--config.model.locate_size=0",
    )
    run("eval.py", "--ckpt", root / "run", "--out", root / "eval")
    return root


def test_the_data_set_verifies(folders):
    out, _ = run("-m", "prep", "verify", folders / "data")
    assert out.rstrip().endswith(": good")


def test_training_and_evaluation_leave_their_files(folders):
    assert len((folders / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    scores = json.loads((folders / "eval" / "metrics.json").read_text())
    assert scores["cases"] == 5
    assert len((folders / "eval" / "cases.csv").read_text().splitlines()) == 1 + 5
    assert scores["hd_mm"]["mean"] > 0
    names = {path.name for path in (folders / "eval").iterdir()}
    assert {"metrics.json", "cases.csv", "table.md", "best.png", "median.png", "worst.png"} <= names
    assert any(name.endswith(".gif") for name in names)


def test_all_wrong_flags_are_named_at_once():
    _, errors = run(
        *("train.py", "--config", "configs/4ch.py"),
        *("--config.train.epoch=3", "--config.model.depth=deep"),
        code=1,
    )
    assert "--config.train.epoch: no such field" in errors
    assert "--config.model.depth=deep: expected a value of type int" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("train.py", "--config", "configs/4ch.py", "--config.data=nowhere"),
            "nowhere: not a data",
        ),
        (("train.py", "--config", "configs/4ch.py", "--config.model.depth=19"), "model.depth: 19"),
        (("train.py", "--config", "configs/5ch.py"), "configs/5ch.py"),
        (("eval.py", "--ckpt", "nowhere"), "nowhere: no training run there"),
        (("eval.py",), "--ckpt is missing"),
    ],
)
def test_bad_input_gets_one_sentence(words, message, tmp_path):
    extra = ("--workdir", tmp_path / "run") if words[0] == "train.py" else ()
    _, errors = run(*words, *extra, code=1)
    assert message in errors
