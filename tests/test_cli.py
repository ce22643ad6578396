"""The commands, end to end, as a user types them, in this process."""

import contextlib
import functools
import importlib.util
import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import app, flags

import jssm
from jssm import dataset
from prep.__main__ import main as prep
from tests.runs import records

ROOT = Path(__file__).parent.parent


def run(*commands):
    """Run scripts of the checkout, one after the other; gives the exit status, the output and the
    errors of each, which never hold a traceback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        found = [run_script(patch, [*map(str, command)]) for command in commands]
    assert not any("Traceback" in out + errors for _, out, errors in found)
    return found


def run_script(patch, words):
    """Its exit status, output and errors."""
    app.define_help_flags()  # they stay, beside others of absl's own
    known, out, errors = set(flags.FLAGS), io.StringIO(), io.StringIO()
    patch.setattr(sys, "argv", words)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(words[0], run_name="__main__")
    for name in set(flags.FLAGS) - known:  # its own, which the next one may define too
        delattr(flags.FLAGS, name)
    return ended.value.code or 0, out.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data set of a tiny cohort of phantoms."""
    root = tmp_path_factory.mktemp("cli")
    cohort = ("--view", "4ch", "--patients", "2", "--frames", "5", "--size", "96", "--seed", "2")
    assert prep(["phantom", *cohort, "--out", str(root / "phantom")]) == 0
    build = ("--phantom", str(root / "phantom"), "--view", "4ch", "--size", "96", "--jobs", "1")
    assert prep(["build", *build, "--min-dice", "0.8", "--out", str(root / "data")]) == 0
    return root / "data"


@pytest.fixture(scope="module")
def ran(data):
    """What the scripts gave: those with bad input, and those that train and evaluate beside the
    data set."""
    root = data.parent
    bad = ("train.py", "--config", "configs/4ch.py", "--workdir", root / "bad")
    good = (
        *("train.py", "--config", "configs/phantom.py", "--workdir", root / "run"),
        *(f"--config.data={data}", "--config.model.size=0", "--config.model.width=4"),
        *("--config.train.epochs=4", "--config.train.points_epochs=2"),
        *("--config.train.warmup_epochs=0", "--config.train.batch_size=5"),
        *("--config.model.locate_size=0", "--config.model.searches=0"),
    )
    return run(
        (*bad, "--config.data=nowhere"),
        ("eval.py", "--ckpt", "nowhere"),
        good,
        ("eval.py", "--ckpt", root / "run", "--out", root / "eval"),
    )


@pytest.fixture(scope="module")
def folders(data, ran):
    """Where data, run and evaluation are, once all went well."""
    for code, out, errors in ran[2:]:
        assert code == 0, out + errors
    return data.parent


def test_the_data_set_verifies(data, capsys):
    assert prep(["verify", str(data)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(": good")


def test_bad_input_gets_one_sentence(ran):
    (code, _, errors), (code_of_eval, _, errors_of_eval), *_ = ran
    assert (code, code_of_eval) == (1, 1)
    assert "train.py: nowhere: not a data set directory" in errors
    assert errors_of_eval.startswith("eval.py: nowhere: no training run there")
    assert errors_of_eval.count("\n") == 1


def test_a_run_leaves_all_its_files(folders):
    log = records(folders / "run")
    assert [r["epoch"] for r in log] == [2, 4]
    assert [r["mask_weight"] for r in log] == [0, 0.5]
    assert ["train_mask_loss" in r for r in log] == [False, True]
    assert (folders / "run" / "curves.png").is_file()
    drawn = sorted(p.name for p in (folders / "run" / "overlays").iterdir())
    assert drawn[-1] == "epoch_0004.png"
    assert list((folders / "run" / "tensorboard").iterdir())


def test_the_best_is_that_of_the_log_and_needs_nothing_else(folders):
    data = dataset.load(folders / "data")
    rows = data.rows("val")
    found = jssm.predict(
        jssm.load(folders / "run"), data.images[rows], window=np.array([0.0, 255.0])
    )
    assert found.beta.shape == (5, 4)  # no more modes than the data set has
    predicted, true = np.asarray(found.mask) > 0.5, data.masks[rows] > 0
    dice = 2 * (predicted & true).sum((1, 2)) / (predicted.sum((1, 2)) + true.sum((1, 2)))
    best = max(r["val_dice"] for r in records(folders / "run"))
    assert dice.mean() == pytest.approx(best, abs=1e-3)


def test_an_evaluation_leaves_its_files(folders):
    scores = json.loads((folders / "eval" / "metrics.json").read_text())
    assert scores["cases"] == 5
    assert len((folders / "eval" / "cases.csv").read_text().splitlines()) == 1 + 5
    assert scores["hd_mm"]["mean"] > 0
    names = {path.name for path in (folders / "eval").iterdir()}
    assert {"metrics.json", "cases.csv", "table.md", "best.png", "median.png", "worst.png"} <= names
    assert any(name.endswith(".gif") for name in names)


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
