"""The commands, end to end, as a user types them; most of them in this process."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prep.__main__ import main as prep

ROOT = Path(__file__).parent.parent


def run(*words, code=0):
    """Run a script of the checkout; gives its output and errors, which never hold a traceback."""
    command = [sys.executable, "-m", "tests.shallow", *map(str, words)]
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
    cohort = ("--view", "4ch", "--patients", "2", "--frames", "5", "--size", "96", "--seed", "3")
    assert prep(["phantom", *cohort, "--out", str(root / "phantom")]) == 0
    build = ("--phantom", str(root / "phantom"), "--view", "4ch", "--size", "96", "--jobs", "1")
    assert prep(["build", *build, "--min-dice", "0.8", "--out", str(root / "data")]) == 0
    run(
        *("train.py", "--config", "configs/phantom.py", "--workdir", root / "run"),
        *(f"--config.data={root / 'data'}", "--config.model.size=0", "--config.model.width=4"),
        *("--config.train.epochs=2", "--config.train.points_epochs=1"),
        *("--config.train.warmup_epochs=0", "--config.train.batch_size=5"),
        *("--config.model.locate_size=0", "--config.model.searches=0"),
    )
    run("eval.py", "--ckpt", root / "run", "--out", root / "eval")
    return root


def test_the_data_set_verifies(folders, capsys):
    assert prep(["verify", str(folders / "data")]) == 0
    assert capsys.readouterr().out.rstrip().endswith(": good")


def test_training_and_evaluation_leave_their_files(folders):
    assert len((folders / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    scores = json.loads((folders / "eval" / "metrics.json").read_text())
    assert scores["cases"] == 5
    assert len((folders / "eval" / "cases.csv").read_text().splitlines()) == 1 + 5
    assert scores["hd_mm"]["mean"] > 0
    names = {path.name for path in (folders / "eval").iterdir()}
    assert {"metrics.json", "cases.csv", "table.md", "best.png", "median.png", "worst.png"} <= names
    assert any(name.endswith(".gif") for name in names)


def test_bad_input_gets_one_sentence(tmp_path):
    flags = ("train.py", "--config", "configs/4ch.py", "--workdir", tmp_path / "run")
    _, errors = run(*flags, "--config.data=nowhere", code=1)
    assert "train.py: nowhere: not a data set directory" in errors
    _, errors = run("eval.py", "--ckpt", "nowhere", code=1)
    assert "eval.py: nowhere: no training run there" in errors


def test_all_wrong_flags_are_named_before_anything_is_parsed():
    wrong = script("train").wrong_flags(
        ["--config", "configs/5ch.py", "--config.train.epoch=3", "--config.model.depth=deep"]
    )
    assert len(wrong) == 3
    assert wrong[0] == "configs/5ch.py: no such file"
    assert wrong[1].startswith("--config.train.epoch: no such field; there are")
    assert wrong[2].startswith("--config.model.depth=deep: expected a valid integer")
    assert script("train").wrong_flags([]) == ["--config is missing, expected a file of configs/"]


@functools.cache
def script(name):
    """A script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
