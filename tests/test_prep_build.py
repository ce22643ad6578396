import csv
import re
import shutil

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest

from jssm import dataset
from prep.__main__ import main
from prep.dataset import build, cases, report, store
from prep.dataset.settings import Settings
from prep.dataset.verify import check
from prep.phantom.cohort import write_cohort
from prep.phantom.patient import Options
from tests.prep_shapes import SIZE, Horseshoe, cohort, write_png_cohort

REGEX = r"(p\d+)_"


def _arguments(images, masks, out, *more):
    return [
        "build", "--images", str(images), "--masks", str(masks), "--label", "2", "--size",
        str(SIZE), "--view", "test", "--patient-regex", REGEX, "--out", str(out), "--jobs", "1",
        "--modes", "3", *more,
    ]  # fmt: skip


def _table(out):
    with open(out / "cases.csv", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def _bytes(out):
    names = sorted(p for p in out.rglob("*") if p.is_file() and ".cases" not in p.parts)
    return {str(p.relative_to(out)): p.read_bytes() for p in names}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A cohort of eight sound cases and the data set made of it."""
    folder = tmp_path_factory.mktemp("good")
    images, masks = write_png_cohort(folder, cohort(8))
    assert main(_arguments(images, masks, folder / "out", "--spacing", "1.5", "1.5")) == 0
    return folder


def test_the_data_set_is_sound_and_loads(good):
    assert check(good / "out") == []
    data = dataset.load(good / "out")
    assert data.images.shape == (8, SIZE, SIZE)
    assert data.cases["point_mask_dice"].min() > 0.94
    assert data.shape_model.modes.shape == (3, 88, 2)
    assert len(data.rows("train")) == 6
    np.testing.assert_allclose(data.spacing_mm, np.full((8, 2), 1.5), rtol=1e-6)
    for i, shape in enumerate(cohort(8)):
        np.testing.assert_array_equal(data.masks[i], shape.mask())
        ends = data.points[i][[0, 44, 43, 87]]
        assert np.abs(ends - shape.corners()).max() < 3


def test_phantoms_give_their_own_points(tmp_path):
    """All views of two patients: the points are those of the files, and the shapes are affine
    images of the canonical ones."""
    cohort_folder, out = tmp_path / "cohort", tmp_path / "out"
    options = Options("all", 2, seed=2, frames=2, size=96)
    assert write_cohort(options, cohort_folder, jobs=1) == []
    words = ["build", "--phantom", cohort_folder, "--out", out, "--size", 96, "--true-points"]
    words += ["--jobs", 1, "--modes", 4, "--val-fraction", 0.4]
    assert main([*map(str, words)]) == 0
    data = dataset.load(out)
    assert sorted(set(data.cases["patient"])) == ["phantom0001", "phantom0002"]
    assert len(data.cases) == 12
    assert data.truth_points is not None
    np.testing.assert_allclose(data.points, data.truth_points, atol=1e-3)
    for row in range(12):
        placed = data.thetas[row, :, :2] @ data.canonical_points[row].T
        placed = placed.T + data.thetas[row, :, 2]
        np.testing.assert_allclose(placed, data.points[row], atol=1e-3)
    training = data.rows("train")
    mean = data.canonical_points[training].mean(0)
    np.testing.assert_allclose(mean.mean(0), 0, atol=1e-5)
    assert np.sqrt((mean**2).sum(1).mean()) == pytest.approx(1, abs=1e-5)
    assert data.cases["point_mask_dice"].min() > 0.9


def test_true_points_want_phantoms(good, tmp_path, capsys):
    words = _arguments(good / "images", good / "masks", tmp_path / "x", "--true-points")
    assert main(words) == 2
    assert "only phantoms have them" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn")
def test_the_report_shows_itself(good, tmp_path):
    shutil.copytree(good / "out", tmp_path / "out")
    page = report.write(tmp_path / "out").read_text()
    assert page.count("data:image/png;base64,") == 5
    for path in (tmp_path / "out" / "report").glob("*.png"):
        assert len(np.unique(iio.imread(path).reshape(-1, 4), axis=0)) > 20
    assert "8 of 8 included" in page
    assert re.search(r"Random shapes that fold.*?\d\.\d% \(uniform\)", page)


def test_same_seed_same_bytes_whatever_the_number_of_processes(good):
    images, masks = good / "images", good / "masks"
    other = good / "other"
    arguments = _arguments(images, masks, other, "--spacing", "1.5", "1.5")
    arguments[arguments.index("--jobs") + 1] = "2"
    assert main(arguments) == 0
    assert _bytes(other) == _bytes(good / "out")


def test_a_second_run_may_write_another_layout(good, tmp_path, monkeypatch):
    """Shards of five, of three, and files again: always the same bytes from the same steps, and
    nothing is left of the layout before."""
    monkeypatch.setattr(report, "write", lambda _: None)
    out = shutil.copytree(good / "out", tmp_path / "out")
    words = _arguments(good / "images", good / "masks", out, "--spacing", "1.5", "1.5")
    plain = _bytes(out)
    for count in (5, 3):
        assert main([*words, "--shard-cases", str(count)]) == 0
        found, data = _bytes(out), dataset.load(out)
        names = {name for name in found.keys() ^ plain.keys() if "zarr" not in name}
        assert names == {"images.npy", "masks.npy"}
        assert len(list((out / "images.zarr").iterdir())) == 1 + -(-8 // count)
        assert all(found[name] == plain[name] for name in found.keys() & plain.keys())
        np.testing.assert_array_equal(np.asarray(data.masks), dataset.load(good / "out").masks)
        assert check(out) == []
        if count == 5:
            (out / "images.zarr" / "7.0.0").write_text("of another build")
    assert main(words) == 0
    assert _bytes(out) == plain


def test_a_second_run_continues(good, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(good / "out", out)
    before = _bytes(out)
    lost = sorted((out / ".cases").glob("*.fit.npz"))[:3]
    kept = [p for p in (out / ".cases").iterdir() if p not in lost]
    for path in lost:
        path.unlink()
    damaged = {"p03_b.fit.npz": 0.0, "p03_a.fit.npz": 0.5, "p02_b.input.npz": 0.9, "mean.npz": 0.9}
    for name, share in damaged.items():  # as a full disk or a killed copy leaves them
        path = out / ".cases" / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    times = {p: p.stat().st_mtime_ns for p in kept if p.name not in damaged}
    arguments = _arguments(good / "images", good / "masks", out, "--spacing", "1.5", "1.5")
    assert main(arguments) == 0
    changed = {p.name for p, t in times.items() if p.stat().st_mtime_ns != t}
    assert changed <= {"parameters.json"}
    assert all(p.exists() for p in lost)
    assert _bytes(out) == before


def test_other_parameters_are_refused(good, capsys):
    arguments = _arguments(good / "images", good / "masks", good / "out", "--seed", "9")
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "begun with other parameters" in message
    assert "seed was 0, now 9" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "parameters.json is damaged"),
        (lambda text: text[: len(text) // 2], "parameters.json is damaged"),
        (lambda text: "[]", "parameters.json is damaged"),
        # Version 0.3 had the same parameters without the number, and other points.
        (lambda text: re.sub(r',?\s*"steps_format": \d+', "", text), "another version of prep"),
    ],
)
def test_a_folder_of_unknown_steps_is_refused(good, tmp_path, capsys, change, message):
    steps = tmp_path / "out" / ".cases"
    steps.mkdir(parents=True)
    before = (good / "out/.cases/parameters.json").read_text()
    (steps / "parameters.json").write_text(change(before))
    arguments = _arguments(good / "images", good / "masks", tmp_path / "out")
    assert main([*arguments, "--spacing", "1.5", "1.5"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bad_files_are_listed_and_the_good_ones_finished(tmp_path, capsys):
    images, masks = write_png_cohort(tmp_path, cohort(6))
    y, x = np.mgrid[:SIZE, :SIZE]
    ring = np.abs(np.hypot(x - 31, y - 31) - 15) < 4
    broken = {
        "p10_unreadable": None,
        "p11_size": np.full((SIZE, SIZE + 1), 2),
        "p12_empty": np.zeros((SIZE, SIZE)),
        "p13_pieces": 2 * Horseshoe().mask() * (np.abs(x - 31) > 2),
        "p14_ring": 2 * ring,
    }
    for name, mask in broken.items():
        shutil.copy(images / "p00_a.png", images / f"{name}.png")
        if mask is None:
            (masks / f"{name}.png").write_text("no image")
        else:
            iio.imwrite(masks / f"{name}.png", mask.astype(np.uint8))
    shutil.copy(images / "p00_a.png", images / "p15_lonely.png")
    shutil.copy(images / "p00_a.png", images / "nobody.png")
    shutil.copy(masks / "p00_a.png", masks / "nobody.png")
    iio.imwrite(images / "p00_blank.png", np.full((SIZE, SIZE), 9, np.uint8))
    shutil.copy(masks / "p00_a.png", masks / "p00_blank.png")
    shutil.copy(images / "p00_a.png", images / "p00_lossy.png")
    iio.imwrite(masks / "p00_lossy.jpg", 255 * Horseshoe().mask().astype(np.uint8))
    out = tmp_path / "out"
    assert main(_arguments(images, masks, out)) == 1
    printed = capsys.readouterr()
    assert "6 of 12 cases included" in printed.out
    lines = [line for line in printed.err.splitlines() if line.startswith("bad input: ")]
    for name, cause in (
        ("p10_unreadable.png", "cannot be read as an image"),
        ("p11_size.png", "the mask is 65×64 px, but its image 64×64 px"),
        ("p12_empty.png", "the mask is empty"),
        ("p13_pieces.png", "the mask has 2 pieces"),
        ("p15_lonely.png", "no mask with this stem"),
        ("nobody.png", "finds no patient"),
        ("p00_blank.png", "nothing is to be seen in frame 0"),
        ("p00_lossy.jpg", "JPEG does not keep labels"),
    ):
        assert sum(name in line and cause in line for line in lines) == 1, (name, lines)
    assert len(lines) == 8
    table = _table(out)
    assert "closed ring" in table["p14_ring"]["reason"]
    assert table["p12_empty"]["split"] == "excluded"
    assert table["p12_empty"]["row"] == ""
    assert check(out) == []


def test_cases_under_the_threshold_are_excluded_with_the_reason(
    good, tmp_path, capsys, monkeypatch
):
    scores = sorted(float(r["point_mask_dice"]) for r in _table(good / "out").values())
    threshold = (scores[0] + scores[1]) / 2
    monkeypatch.setattr(build, "MEAN_CASES", 6)  # as many as there are: the same mean
    arguments = _arguments(good / "images", good / "masks", tmp_path / "out")
    assert main([*arguments, "--min-dice", str(threshold)]) == 0
    assert "7 of 8" in capsys.readouterr().out
    reasons = [r["reason"] for r in _table(tmp_path / "out").values() if r["reason"]]
    assert len(reasons) == 1
    assert "is under" in reasons[0]


def test_a_fit_that_mirrors_the_shape_is_excluded(tmp_path, monkeypatch):
    theta = np.array([[2.0, 0.5, 3], [-0.5, 2, 1]])
    fits = [{"dice": 0.95, "theta": theta * [[sign], [1]]} for sign in (1, 1, -1, 1)]
    monkeypatch.setattr(cases, "place", lambda case, *_: fits[case.frame])
    monkeypatch.setattr(cases, "prepare", lambda *_: {})
    four = [cases.Case(f"c{k}", f"p{k}", k, tmp_path / "i", tmp_path / "m") for k in range(4)]
    parts = {"p0": "train", "p1": "train", "p2": "train", "p3": "val"}
    found = store.collect(four, parts, Settings(), tmp_path, None)
    assert [row.case.name for row in found.rows] == ["c0", "c1", "c3"]
    assert found.table[2]["split"] == "excluded"
    assert found.table[2]["reason"] == "the affine map mirrors the shape"


def test_a_phantom_cohort_brings_its_true_points(tmp_path):
    for folder in ("images", "masks", "truth"):
        (tmp_path / "cohort" / folder).mkdir(parents=True)
    for number, shape in enumerate(cohort(3, seed=5)):
        frames = [Horseshoe(shape.inner - k, shape.outer, shape.arm, shape.turn) for k in (0, 1, 2)]
        masks = np.stack([f.mask() for f in frames]).astype(np.uint8)
        points = np.stack([np.tile(f.corners(), (22, 1)) for f in frames]).astype(np.float32)
        wide = np.pad(masks, ((0, 0), (0, 0), (8, 8)))  # 64 rows, 80 columns
        for folder, array in (("images", 90 * wide + 7), ("masks", wide)):
            file = nib.Nifti1Image(array.transpose(2, 1, 0)[:, :, None], np.eye(4))
            file.header.set_zooms((1.2, 1.6, 1, 0.05))
            nib.save(file, tmp_path / "cohort" / folder / f"phantom{number}.nii")
        np.savez(
            tmp_path / "cohort/truth" / f"phantom{number}.npz", points=points + np.array([8, 0])
        )
    out = tmp_path / "out"
    code = main(["build", "--phantom", str(tmp_path / "cohort"), "--size", "40", "--every", "2",
                 "--view", "4ch", "--out", str(out), "--jobs", "1"])  # fmt: skip
    assert code == 0
    assert check(out) == []
    data = dataset.load(out)
    assert list(data.cases["case"])[:3] == ["phantom0_frame00", "phantom0_frame02",
                                            "phantom1_frame00"]  # fmt: skip
    assert data.cases["time_s"].tolist()[:2] == pytest.approx([0, 0.1])
    np.testing.assert_allclose(data.spacing_mm[0], 64 * 1.6 / 40, rtol=1e-5)  # square pixels
    ends = np.asarray(data.points)[:, [0, 44, 43, 87]]
    assert np.abs(ends - data.truth_points[:, :4]).max() < 2


def test_landmarks_and_split_from_files(good, tmp_path, capsys):
    marks, table = tmp_path / "marks.csv", tmp_path / "split.csv"
    lines = ["case,apex_x,apex_y,basal1_x,basal1_y,basal2_x,basal2_y"]
    for i, shape in enumerate(cohort(8)[:7]):
        numbers = ",".join(f"{v:.3f}" for v in shape.landmarks().ravel())
        lines.append(f"p{i // 2:02d}_{'ab'[i % 2]},{numbers}")
    marks.write_text("\n".join(lines))
    table.write_text("patient,split\np00,train\np01,train\np02,val\np03,train\n")
    arguments = _arguments(good / "images", good / "masks", tmp_path / "out")
    assert main([*arguments, "--landmarks", str(marks), "--split", str(table)]) == 1
    assert "p03_b: the table of landmarks has no row" in capsys.readouterr().err
    found = _table(tmp_path / "out")
    assert [found[n]["split"] for n in ("p01_a", "p02_a", "p02_b")] == ["train", "val", "val"]
    table.write_text("patient,split\np00,train\np00,val\n")
    arguments = _arguments(good / "images", good / "masks", tmp_path / "other")
    assert main([*arguments, "--split", str(table)]) == 2
    assert "split.csv: the patient p00 is in both train and val" in capsys.readouterr().err


@pytest.mark.parametrize("marks", ["0,0,0,0,0,0", "9,9,30,40,30.5,40.5"])
def test_landmarks_that_coincide_are_bad_input(good, tmp_path, marks):
    """They have no size, or no direction, that a shape could be aligned by."""
    table = tmp_path / "marks.csv"
    table.write_text(f"case,apex_x,apex_y,basal1_x,basal1_y,basal2_x,basal2_y\np00_a,{marks}\n")
    settings = Settings(label=2, size=SIZE)
    request = build.Request(good / "images", good / "masks", tmp_path, settings, landmarks=table)
    found = cases.prepare(build.find_cases(request)[0][0], settings, tmp_path)
    assert found["problem"] == "p00_a: its landmarks coincide, three places were expected"
    assert found["kind"] == "bad"


def test_cases_of_one_name_are_refused(tmp_path, capsys):
    """The second frame of a cine, and a picture that is called so."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        frames = np.stack([2 * Horseshoe().mask()] * 3).astype(np.uint8)
        file = nib.Nifti1Image(frames.transpose(2, 1, 0)[:, :, None], np.eye(4))
        nib.save(file, tmp_path / folder / "p00_a.nii.gz")
        iio.imwrite(tmp_path / folder / "p00_a_frame01.png", frames[0])
    assert main(_arguments(tmp_path / "images", tmp_path / "masks", tmp_path / "out")) == 2
    both = r"two cases are named p00_a_frame01: .*p00_a\.nii\.gz and .*p00_a_frame01\.png; names"
    assert re.search(both, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--points", "7"], "--points 7: an even number"),
        (["--patient-regex", "p"], "a group"),
        (["--patient-regex", "("], "--patient-regex"),
        (["--val-fraction", "1"], "--val-fraction"),
        (["--spacing", "1", "nan"], "--spacing (1.0, nan): two positive numbers"),
        (["--shape", "star"], "--shape star: one of horseshoe, arch, region, ring, or module:name"),
        (["--phantom", "x"], "takes the place"),
        (["--images", "nowhere"], "a folder of images was expected"),
    ],
)
def test_wrong_options_get_one_sentence(good, tmp_path, capsys, more, message):
    arguments = _arguments(good / "images", good / "masks", tmp_path / "out", *more)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
