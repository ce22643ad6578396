"""The benchmarks' bookkeeping, and that each command runs; nothing here depends on a time."""

import argparse
import importlib.util
import json
import re
import sys

import jax
import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import exact, measure, peers, predict, rasterizer, report, shapes, study, train
from benchmarks.measure import Timing
from jssm import files
from jssm.networks import resnet


@pytest.fixture
def no_peers(monkeypatch):
    """As if no peer were installed."""
    find = importlib.util.find_spec
    absent = {name for names in peers.PEERS.values() for name in names}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find(name)
    )


def report_of(folder, capsys) -> dict:
    """The written report, which is also what was printed."""
    text = (folder / "report.md").read_text()
    assert text in capsys.readouterr().out
    found = json.loads((folder / "report.json").read_text())
    assert found["machine"]["processor"] in text
    assert all(f"## {title}" in text for title in found["tables"])
    assert list(folder.glob("*.png"))
    return found


def test_functions_are_timed_in_turn_and_the_medians_are_given():
    calls, durations = [], {"a": [9, 9, 1, 5, 2], "b": [9, 9, 30, 10, 20]}
    now = 0.0

    def work(name):
        nonlocal now
        now += durations[name][calls.count(name)]
        calls.append(name)

    found = measure.measure(
        {name: lambda name=name: work(name) for name in durations}, repeats=3, clock=lambda: now
    )
    assert calls == ["a", "a", "b", "b", "a", "b", "a", "b", "a", "b"]
    assert found["a"] == Timing(2, 1.5, 3.5, (1, 5, 2))
    assert found["b"].median_s == 20
    assert found["b"].ms_per(4) == 5000
    assert found["b"].per_second(4) == pytest.approx(0.2)
    assert found["b"].spread_percent() == 25


def test_queued_calls_share_their_time():
    now = 0.0

    def work():
        nonlocal now
        now += 2.0

    found = measure.measure({"a": work}, repeats=2, queued=5, rest_s=0, clock=lambda: now)
    assert found["a"].rounds_s == (2.0, 2.0)
    assert now == 2.0 * (measure.WARM_UPS + 2 * 5)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"repeats": 1, "queued": 0}])
def test_no_rounds_are_refused(wrong):
    with pytest.raises(ValueError, match="expected at least 1"):
        measure.measure({}, **wrong)


@pytest.mark.usefixtures("drawn")
def test_the_report_holds_what_was_measured(tmp_path, capsys):
    timings = {
        "draw, jssm": Timing(0.002, 0.001, 0.003, (0.002,)),
        "draw, DEODR": Timing(0.004, 0.004, 0.004, (0.004,)),
        "more, jssm": Timing(2.0, 2.0, 2.0, (2.0,)),
    }
    rows = report.comparison(timings, ["draw", "more"], ["jssm", "DEODR"], items=2)
    made = report.Report("x", {"processor": "abacus"}, {"size": 3}, {"table": rows}, ["a note"])
    made.write(tmp_path)
    report.bars(tmp_path / "x.png", rows, ["jssm", "DEODR"], "x", "ms")
    found = report_of(tmp_path, capsys)
    assert found == json.loads(json.dumps(vars(made)))
    text = re.sub(" +", " ", (tmp_path / "report.md").read_text())
    assert "| ms per image | jssm | jssm ±% | DEODR | DEODR ±% | jssm / DEODR |" in text
    assert "| draw | 1 | 50 | 2 | 0 | 0.5 |" in text
    assert "| more | 1000 | 0 | | | |" in text
    assert text.endswith("a note\n")


def test_a_missing_peer_gives_one_sentence(no_peers):
    for peer, names in peers.PEERS.items():
        sentence = peers.missing(peer)
        assert sentence.startswith(f"{peer} is left out: {' and '.join(names)} cannot")
        assert "pip install -e '.[bench]'" in sentence


def test_a_peer_that_is_there_is_not_missing(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", {"numpy": ("numpy",)})
    assert peers.missing("numpy") is None


def test_the_rasterizer_runs(tmp_path, capsys, monkeypatch, no_peers):
    monkeypatch.setattr(rasterizer, "GRADIENT_SHAPES", 3)
    benchmarks.main(
        "rasterizer --size 24 --points 8 --batch 2 --large-batch 2 --sizes --counts "
        f"--repeats 1 --out {tmp_path}".split()
    )
    found = report_of(tmp_path, capsys)
    assert found["notes"] == [peers.missing("DEODR")]
    (gradient,) = found["tables"]["Gradient against central differences in float64"]
    assert gradient["worst"] < 1e-3
    (accuracy,) = found["tables"]["Accuracy"]
    assert accuracy["IoU with a polygon of 16×16 samples per pixel"] > 0.9


def traced(functions, **_):
    """In place of ``measure.measure``: what is timed is traced, which finds what cannot run."""
    for function in functions.values():
        jax.eval_shape(function)
    return {name: Timing(2.0, 2.0, 2.0, (2.0,)) for name in functions}


def test_training_runs(tmp_path, capsys, monkeypatch, no_peers):
    monkeypatch.setattr(train, "measure", traced)
    monkeypatch.setitem(resnet.STAGES, 18, (1,))
    benchmarks.main(
        "train --loads 32x2 --depth 18 --width 2 --loop-steps 0 --repeats 1 "
        f"--out {tmp_path}".split()
    )
    found = report_of(tmp_path, capsys)
    assert found["notes"] == [peers.missing("PyTorch")]
    parts = found["tables"]["ResNet18, 32×32, batch 2: parts of jssm's step"]
    assert sum(row["% of the step"] for row in parts) == pytest.approx(100)


def test_the_feed_is_measured_in_both_layouts(tmp_path, monkeypatch):
    """Steps that take no time wait for their data."""

    def nothing(state, batch):
        return state, {"loss": jax.numpy.sum(batch["image"])}

    monkeypatch.setattr(train, "stepper", lambda *_: (nothing, 0.0))
    words = f"feed --load 32x4 --gib 0 --steps 3 --shard-cases 10 --out {tmp_path}"
    benchmarks.main([*words.split(), "--folder", str(tmp_path)])
    found = json.loads((tmp_path / "report.json").read_text())
    (rows,) = found["tables"].values()
    assert [row["images and masks in"] for row in rows] == ["one file each", "shards"]
    assert all(0 < row["waits for data, % of the loop"] <= 100 for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_the_share_outside_the_device(monkeypatch):
    """Bare steps take 4 s, those of the loop 5 s."""

    def measured(functions, *, repeats):
        assert set(functions) == {"bare", "loop"}
        return {"bare": Timing(4.0, 4.0, 4.0, (4.0,)), "loop": Timing(5.0, 5.0, 5.0, (5.0,))}

    monkeypatch.setattr(train, "measure", measured)
    args = argparse.Namespace(depth=18, width=2, bfloat16=False, loop_steps=2, repeats=1)
    assert train.outside_share(args, train.Load(32, 2)) == pytest.approx(0.2)


@pytest.mark.usefixtures("drawn")
def test_curves_are_drawn(tmp_path):
    rows = [{"pixels": n, "jssm": n / 9, "pixels near the outline": n} for n in (8, 16, 32)]
    rasterizer.draw_curves(tmp_path / "curves.png", rows, rows, ["jssm"])
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_prediction_runs(tmp_path, capsys, monkeypatch, no_peers):
    monkeypatch.setattr(predict, "measure", traced)
    benchmarks.main(
        f"predict --size 32 --batches 1 --depth 18 --width 2 --repeats 1 --out {tmp_path}".split()
    )
    found = report_of(tmp_path, capsys)
    assert [row["ms per image"] for row in found["tables"]["ResNet18, 32×32, batch 1"]] == [
        "predict",
        "network",
        "rasterizer",
    ]


def test_a_study_runs(tmp_path, capsys, monkeypatch):
    """With what a run tells in place of a run: its commands are tested as such."""
    told = {"frames": 6, "damaged": [], "start_s": 2.0, "work_s": 0.3, "read_s": 0.06,
            "segment_s": 0.12, "written_s": {"mask": 0.06, "points": 0.12}, "own_mb": 300.0,
            "own_cpu_s": 3.0, "writers_mb": 100.0, "writers_cpu_s": 1.0}  # fmt: skip
    monkeypatch.setattr(study, "quickest", lambda *_: told | {"s": 2.5})
    monkeypatch.setattr(study, "STARTS", {"python": ["-c", ""]})
    benchmarks.main(f"study --cines 2 --frames 3 --repeats 1 --out {tmp_path}".split())
    found = report_of(tmp_path, capsys)
    rows = found["tables"]["From the prompt to the last file"]
    assert [row["cache"] for row in rows] == ["cold", "warm"]
    assert rows[0]["writing, beside"] == pytest.approx(30)
    (part, _) = found["tables"]["ms per frame written, in the processes that write"]
    assert part["points"] == pytest.approx(20)


def test_a_made_up_study_is_read(tmp_path):
    study.write_study(tmp_path, 5, 2)
    found, problems = files.open_cines(tmp_path)
    assert not problems
    assert sorted(item.view for item in found) == ["2ch", "2ch", "3ch", "4ch", "4ch"]
    assert len({item.patient for item in found}) == 2
    assert found[0].load().frames.shape == (2, *study.SHAPE)


def test_prep_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "WARM_UPS", 0)
    benchmarks.main(
        f"prep --patients 3 --frames 2 --size 96 --jobs 1 --repeats 1 --out {tmp_path}".split()
    )
    found = report_of(tmp_path, capsys)
    ((row,),) = found["tables"].values()
    assert row["cases per second"] == pytest.approx(1 / row["s per case"])


def test_a_load_is_a_size_and_a_batch(capsys):
    assert train.load("128x16") == (128, 16)
    with pytest.raises(SystemExit):
        benchmarks.main(["train", "--loads", "128"])
    assert "expected SIZExBATCH" in capsys.readouterr().err


def test_exact_areas_of_a_square():
    """The strip's outline: the square from (2, 2) to (6, 6.5)."""
    square = np.array([[2, 2], [6, 2], [2, 6.5], [6, 6.5]], np.float64)
    assert exact.area(square) == 18
    covered = exact.coverage(square, 9)
    assert covered.sum() == pytest.approx(18)
    assert covered[2, 2] == pytest.approx(0.25)
    assert covered[6, 4] == pytest.approx(1.0)
    assert exact.soft_mask(square, 9)[4, 2] == pytest.approx(0.5)
    assert exact.soft_mask(square, 9)[4, 3] == pytest.approx(1 / (1 + np.exp(-2)))


def test_shapes_lie_inside_the_image():
    points = shapes.horseshoes(50, 88, 64)
    assert points.min() > 0
    assert points.max() < 63
    areas = [exact.area(p) for p in points]
    assert min(areas) > 200


def test_the_commands_import_no_peer():
    assert not {"torch", "deodr"} & set(sys.modules)
