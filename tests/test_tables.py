"""The tables' bookkeeping: plans, runs (with scripts in place of real trainings)."""

import json
import re
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import __main__ as benchmarks
from benchmarks import agreement
from benchmarks.tables import (
    figures,
    paper,
    pictures,
    plan,
    robustness,
    runs,
    subsets,
    trained,
    writing,
)
from jssm import config as config_lib
from jssm import dataset
from prep.shapes.pca import principal_modes
from tests import reference
from tests.conftest import write_dataset

OURS = ("jssm", "evidence")  # how the folders of our two methods begin
TRAIN = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
print("training", folder.name)
if "--config.method=fcn8s" in sys.argv:
    sys.exit(3)
with (folder / "trained.txt").open("a") as file:
    file.write("once\\n")
(folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "val_dice": 0.5}) + "\\n")
"""
EVAL = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--ckpt") + 1])
ours = folder.name.startswith("evidence")
(folder / "eval").mkdir()
lines = [
    "case,patient,dice,hd_mm,hd_px,components,hd95_mm,hd95_px,assd_mm,assd_px,point_rmse_px,folded"
]
more = "1.5,,0.5,," + ("2,0" if ours else ",")
for k in range(12):
    dice = (0.9 if ours else 0.8) + 0.001 * (k % 3) * (1 if ours else 2)
    hd, pieces = (2, 1) if ours else (4 + k % 2, 1 + k % 2)
    lines.append(f"c{k},p{k // 3},{dice},{hd},1,{pieces},{more}")
(folder / "eval" / "cases.csv").write_text("\\n".join(lines))
"""


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """A checkout whose train.py and eval.py give known scores at once; FCN's fails."""
    for name, text in {"train.py": TRAIN, "eval.py": EVAL}.items():
        (tmp_path / name).write_text(text)
    small = tmp_path / "configs/small.py"
    small.parent.mkdir()
    small.write_text(plan.SMALL.config.read_text())
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(plan, "SMALL", plan.SMALL._replace(config=small))
    return tmp_path


class Found(NamedTuple):
    """What a method predicts."""

    mask: np.ndarray
    points: np.ndarray | None


@pytest.fixture
def methods(monkeypatch):
    """In place of trained networks: bright pixels, and the same horseshoe in every frame."""

    def predictor(run):
        def predict(images):
            points = np.tile(cloud(images.shape[-1]), (len(images), 1, 1))
            return Found(images > 120 / 255, points if run.folder.name.startswith(OURS) else None)

        return predict

    def follower(run):
        return lambda cine: np.tile(cloud(cine.shape[-1]), (len(cine), 1, 1))

    monkeypatch.setattr(trained, "predictor", predictor)
    monkeypatch.setattr(trained, "follower", follower)
    monkeypatch.setattr(robustness, "STRENGTHS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(trained, "PATIENTS", 1)
    monkeypatch.setattr(trained, "FRAMES", 3)
    monkeypatch.setattr(figures, "CINES", 1)


def cloud(size: int) -> np.ndarray:
    return reference.horseshoe(16, center=(size / 2, size / 2), inner=size / 5, outer=size / 3)


@pytest.fixture
def phantom_data(tmp_path_factory):
    """A data set that says it is of phantoms, and has cines of them."""
    folder = write_dataset(tmp_path_factory.mktemp("phantom") / "4ch", size=64, cases=40)
    np.save(folder / "truth_points.npy", np.load(folder / "points.npy"))
    return folder


def unpadded(path) -> str:
    """A text whose tables' columns are as narrow as they can be."""
    return re.sub(" +", " ", path.read_text())


def call(*arguments) -> int:
    return benchmarks.main(["tables", *map(str, arguments)])


def test_rows_of_equal_settings_are_one_run(tmp_path):
    for size in (plan.SMALL, plan.FULL):
        names = [
            {
                v.label: plan.name(plan.changes(v.settings, size), v.altered)
                for v in plan.table(n, size).variants
                if v.share == 1
            }
            for n in range(1, 8)
        ]
        assert names[0]["Regression"] == "jssm"
        assert names[0]["Ours"].startswith("evidence")
        default = "ResNet18" if size is plan.SMALL else "ResNet34"
        assert names[1][default] == names[2]["Points and mask"] == "jssm"
        assert names[3]["β_d = 30"] == names[4]["δ = 0.5"] == "jssm"
        assert names[0]["Ours"] == names[6]["Ours"]
        assert names[6]["Place regressed, grey values (Regression)"] == "jssm"
        assert names[2]["Points only"] == names[4]["δ = 0.0"] == "jssm-mask_weight0.0"
        assert all(len(set(found.values())) == len(found) for found in names)


@pytest.mark.parametrize("size", [plan.SMALL, plan.FULL])
def test_every_row_is_a_valid_configuration(size):
    for number in range(1, 8):
        for variant in plan.table(number, size).variants:
            flags = [f"--config.{k}={v}" for k, v in variant.settings.items()]
            assert config_lib.override_errors(flags) == []


def test_every_row_of_the_paper_has_one_of_ours_beside_it():
    for number, rows in paper.ABLATIONS.items():
        assert set(rows) <= {v.label for v in plan.table(number, plan.SMALL).variants}
    for rows in paper.TABLE_1.values():
        assert [*rows, "Ours"] == [v.label for v in plan.table(1, plan.SMALL).variants]
    assert paper.reported(1, "3ch", "TeTrIS")["HD (mm), paper"] == "3.758 ± 0.608"
    assert paper.reported(1, "echo", "TeTrIS") == {}
    assert list(paper.reported(5, "4ch", "δ = 0.1")) == ["Dice, paper", "HD (mm), paper"]


def test_a_case_of_no_piece_is_as_far_off_as_one_of_two(tmp_path):
    (tmp_path / "cases.csv").write_text("case,components\na,0\nb,1\nc,2\nd,4\n")
    cases = writing.read_cases(SimpleNamespace(cases=tmp_path / "cases.csv"))
    assert cases["cc"].tolist() == [0, 1, 2, 4]
    assert cases["cc_error"].tolist() == [1, 0, 1, 3]


def test_a_table_is_trained_once_and_written(scripts, small_data, monkeypatch, capsys):
    monkeypatch.setattr(figures, "write", lambda *_: [])  # has a test of its own
    out = scripts / "out"
    options = ("--data", small_data, "--small", "--out", out)
    assert call("--table", 1, *options) == 1  # FCN failed; the others are there
    captured = capsys.readouterr()
    assert "train.py gave the status 3; see " in captured.err
    assert captured.err.count("tables: ") >= 1
    table = pd.read_csv(out / "table1.csv")
    assert list(table.columns) == [
        *("data", "view", "method", "cases", "dice_mean", "dice_std", "hd_mm_mean", "hd_mm_std"),
        *("hd_px_mean", "hd_px_std", "cc_mean", "cc_std"),
    ]
    assert list(table["method"]) == ["U-Net", "Contour", "TeTrIS", "Tracking", "Regression", "Ours"]
    ours = table.set_index("method").loc["Ours"]
    assert ours["dice_mean"] == pytest.approx(0.901)
    assert (ours["cc_mean"], ours["cases"], ours["hd_mm_mean"]) == (1, 12, 2)
    text = unpadded(out / "table1.md")
    assert "| Ours | ✓ | ✓ | **0.901 ± 0.001**† |" in text
    assert "| Tracking | × | ✓ |" in text
    text = unpadded(out / "table1_details.md")
    assert "| Ours | 1.50 ± 0.00 | 0.50 ± 0.00 | 2.00 ± 0.00 | 0.0 |" in text
    assert "| U-Net | 1.50 ± 0.00 | 0.50 ± 0.00 | – | – |" in text
    assert "Function" not in text  # no pairs
    commands = (out / "table1_commands.txt").read_text()
    assert commands.count("--config.method=unet --config.model.width=8") == 1
    log = out / "runs/small" / small_data.name / "unet-width8/log.txt"
    assert log.read_text() == "training unet-width8\n"
    capsys.readouterr()
    assert call("--table", 1, 3, *options) == 1
    assert log.read_text() == "training unet-width8\n"  # not again
    trained = out.glob("runs/small/*/jssm*/trained.txt")
    assert [path.read_text() for path in trained] == ["once\n"] * 4  # table 3 has three more
    assert len(pd.read_csv(out / "table3.csv")) == 4


def test_a_run_of_other_settings_is_not_taken_for_this_one(scripts, small_data, capsys):
    out = scripts / "out"
    folder = out / "runs/small" / small_data.name / "jssm"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "python train.py --config other"}))
    assert call("--table", 4, "--data", small_data, "--small", "--out", out) == 1
    assert "holds the run of `python train.py --config other`" in capsys.readouterr().err
    assert len(pd.read_csv(out / "table4.csv")) == 3


def test_bad_data_sets_are_named_before_anything_is_trained(scripts, small_data, tmp_path, capsys):
    assert call("--table", 1, "--data", tmp_path, "--small", "--out", tmp_path / "out") == 2
    assert "not a data set directory" in capsys.readouterr().err
    twice = ("--data", small_data, f"{small_data}/../{small_data.name}")
    assert call("--table", 1, *twice, "--out", tmp_path / "out") == 2
    assert "two data sets have the same name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_part_of_the_training_patients(small_data, tmp_path):
    whole = dataset.load(small_data)
    patients = {}
    for share in (0.25, 0.5):
        folder = subsets.folder_of(small_data, share, tmp_path)
        subsets.write(small_data, share, folder)
        part = dataset.load(folder)
        rows = subsets.kept_rows(whole, share, seed=0)
        np.testing.assert_array_equal(part.images, whole.images[rows])
        np.testing.assert_array_equal(part.points, whole.points[rows])
        assert list(part.cases["case"]) == list(whole.cases["case"].iloc[rows])
        names = [set(d.cases["case"].iloc[d.rows("val")]) for d in (part, whole)]
        assert names[0] == names[1]
        train = part.rows("train")
        patients[share] = set(part.cases["patient"].iloc[train])
        mean, modes, variances = principal_modes(part.canonical_points[train], 4)
        np.testing.assert_allclose(part.shape_model.mean, mean, atol=1e-6)
        np.testing.assert_allclose(part.shape_model.variances, variances, rtol=1e-4, atol=1e-9)
        assert part.shape_model.num_modes == part.meta["num_modes"] == len(modes)
    assert patients[0.25] < patients[0.5]
    all_patients = set(whole.cases["patient"].iloc[whole.rows("train")])
    assert len(patients[0.5]) == round(0.5 * len(all_patients))
    assert subsets.folder_of(small_data, 1, tmp_path) == small_data


def test_a_row_with_a_part_exchanged_or_fewer_patients(small_data, tmp_path):
    size = plan.SMALL._replace(longer=2.0)
    rows = {variant.label: variant for variant in plan.table(7, size).variants}
    whole = runs.source(small_data)
    grey, few = (
        runs.run_of(rows[label], whole, size, tmp_path)
        for label in ("Grey values, not features", "25 % of the patients")
    )
    before = ["-m", "benchmarks.tables.altered", "grey"]
    assert grey.train_command[:4] == [*before, "train.py"]
    assert grey.eval_command == [*before, "eval.py", "--ckpt", str(grey.folder)]
    assert grey.folder.name.endswith("-grey")
    assert few.train_command[0] == "train.py"
    assert few.data == subsets.folder_of(small_data, 0.25, tmp_path)
    assert runs.source(few.data).cases < whole.cases
    usual = plan.equal_steps(plan.SMALL, whole.cases)["train.epochs"]
    assert grey.settings["train.epochs"] == pytest.approx(2 * usual, abs=1)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--longer", 0), "--longer: 0, expected more than 0"),
        ((), r"few: 5 % of its training patients have 1 case, expected at least 2"),
    ],
)
def test_what_no_table_can_be_made_of(small_data, tmp_path, capsys, flags, sentence):
    few = tmp_path / "few"
    subsets.write(small_data, 0.25, few)
    assert call("--table", 7, "--data", few, "--small", *flags, "--out", tmp_path / "out") == 2
    assert re.search(sentence, capsys.readouterr().err)


@pytest.mark.parametrize("cases", [560, 590, 245, 148, 30, 5])
def test_every_data_set_takes_as_many_steps(cases):
    config = plan.base_config(plan.SMALL)
    settings = plan.equal_steps(plan.SMALL, cases)
    batch = config.train.batch_size
    steps = settings["train.epochs"] * max(cases // batch, 1)
    assert steps == pytest.approx(config.train.epochs * (plan.SMALL.cases // batch), rel=0.05)
    part = settings["train.points_epochs"] / settings["train.epochs"]
    assert part == pytest.approx(config.train.points_epochs / config.train.epochs, rel=0.05)
    assert (plan.changes(settings, plan.SMALL) == {}) == (cases > 500)
    assert plan.name(settings) == "jssm"


def test_what_table_six_writes(scripts, methods, phantom_data, capsys):
    out = scripts / "out"
    options = ("--data", phantom_data, "--small", "--out", out)
    assert call("--table", 6, *options) == 1  # FCN failed, three times
    assert capsys.readouterr().err.count("train.py gave the status 3") == 3
    sizes = pd.read_csv(out / "table6_sizes.csv")
    assert set(sizes["train_percent"]) == {5, 25, 100}
    assert list(sizes["train_cases"].unique()) == [2, 8, 32]
    followed = pd.read_csv(out / "table6_correspondence.csv")
    assert list(followed["method"]) == ["Tracking", "Regression", "Ours"]
    assert (followed["motion_mm_mean"] > 0).all()  # points that stay where they are
    worse = pd.read_csv(out / "table6_degraded.csv")
    known = {"U-Net", "Contour", "TeTrIS", "Tracking", "Regression", "Ours"}
    assert set(worse["method"]) == known
    assert len(worse) == 6 * 4 * 3
    of_noise = worse[(worse["degradation"] == "noise") & (worse["method"] == "Ours")]
    assert of_noise["dice_mean"].is_monotonic_decreasing
    text = unpadded(out / "table6.md")
    assert text.count("### ") == 3
    assert "| 4ch | 5 % | 2 | Ours | 0.901 ± 0.001 |" in text
    for name in ("arc", "cycle", "sizes", "degraded"):
        assert (out / f"table6_{name}_4ch.png").is_file()


def test_the_pictures_of_table_one(scripts, methods, phantom_data, monkeypatch):
    """Of a data set whose validation cases come in pairs; the measures are toys."""
    monkeypatch.setattr(
        agreement, "measures", lambda p: dict.fromkeys(agreement.MEASURES, p[:, 0, 0, 0])
    )
    monkeypatch.setattr(pictures, "WORST", 1)
    table = pd.read_csv(phantom_data / "cases.csv")
    table["case"] = [f"c{k // 2}_{'ES' if k % 2 else 'ED'}" for k in range(len(table))]
    table.to_csv(phantom_data / "cases.csv", index=False)
    out = scripts / "out"
    # The scores of the scripts have other names of cases than the data set; these have its own.
    names = pd.read_csv(phantom_data / "cases.csv").query("split == 'val'")["case"].tolist()
    text = EVAL.replace('f"c{k},', 'f"{names[k % 8]},').replace("range(12)", "range(8)")
    (scripts / "eval.py").write_text(f"names = {names}\n{text}")
    call("--table", 1, "--data", phantom_data, "--small", "--out", out)
    assert unpadded(out / "table1_details.md").count("| 4 of 4 |") == 6
    sheets = ("cases.png", "worst.png", "cycles.png", "table1_agreement_4ch.png")
    for name in (*sheets, "cycle_4ch_1.gif"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100
            assert getattr(picture, "n_frames", 1) == (3 if name.endswith("gif") else 1)


def test_a_run_is_asked_once(scripts, methods, phantom_data, monkeypatch):
    source = runs.source(phantom_data)
    run = runs.run_of(plan.Variant("Ours", {}), source, plan.SMALL, scripts / "out")
    run.folder.mkdir(parents=True)
    first = trained.degraded(run), trained.followed(run, source, "Ours")
    monkeypatch.setattr(trained, "predictor", None)
    monkeypatch.setattr(trained, "follower", None)
    pd.testing.assert_frame_equal(trained.degraded(run), first[0])
    again = trained.followed(run, source, "Ours")
    pd.testing.assert_frame_equal(again.patients, first[1].patients)
    np.testing.assert_array_equal(again.arc["Ours"], first[1].arc["Ours"])
