"""Public sets in the folders they come in, written small: what is found, and a whole build."""

import math
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from jssm import dataset, files
from prep import __main__ as command
from prep.dataset import build, images, layouts
from prep.dataset import cases as steps
from prep.dataset.layouts import Public
from prep.dataset.settings import Settings
from prep.errors import Refused
from tests import prep_shapes

SPACING = (1.5, 1.25)  # row, column
INFO = "ED: {}\nES: {}\nNbFrame: 18\nSex: F\nAge: 56\nImageQuality: {}\nEF: 54\nFrameRate: 50.0\n"


def picture(index, frames=1):
    """Grey values and labels (cavity 1, wall 2, atrium 3) of one horseshoe, (frames, H, W)."""
    shape = prep_shapes.cohort(index + 1)[index]
    wall = shape.mask()
    labels = 2 * wall.astype(np.uint8)
    labels[replace(shape, inner=0.0, outer=shape.inner).mask() & ~wall] = 1
    labels[-2:] = 3
    noise = np.random.default_rng(index).normal(0, 8, (frames, *wall.shape))
    return np.clip(60 + 90 * wall + noise, 0, 255).astype(np.uint8), np.stack([labels] * frames)


def write(path, frames):
    """(F, H, W) as such sets store them: NIfTI (x, y), or (x, y, F), or MetaImage (x, y, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mhd":
        file = sitk.GetImageFromArray(frames)
        file.SetSpacing((SPACING[1], SPACING[0], 1.0))
        sitk.WriteImage(file, str(path))
        return
    array = frames.transpose(2, 1, 0)
    nib.save(nib.Nifti1Image(array, np.diag([-SPACING[1], -SPACING[0], 8, 1])), path)


def write_pair(image, mask, index, frames=1):
    for path, pixels in zip((image, mask), picture(index, frames), strict=True):
        write(path, pixels)


def write_camus(root, suffix=".nii.gz", patients=4):
    """Patients 1 to n, the last one tests, the one before validates; the second has a poor 4CH."""
    names = [f"patient{number:04d}" for number in range(1, patients + 1)]
    for index, name in enumerate(names):
        folder = root / ("training" if suffix == ".mhd" else "database_nifti") / name
        for view in ("2CH", "4CH"):
            for phase in ("ED", "ES"):
                stem = folder / f"{name}_{view}_{phase}"
                write_pair(Path(f"{stem}{suffix}"), Path(f"{stem}_gt{suffix}"), index)
            quality = "Poor" if (index, view) == (1, "4CH") else "Good"
            (folder / f"Info_{view}.cfg").write_text(INFO.format(1, 18, quality))
    split = root / "database_split"
    split.mkdir()
    for part, chosen in (
        ("training", names[:-2]), ("validation", names[-2:-1]), ("testing", names[-1:]),
    ):  # fmt: skip
        (split / f"subgroup_{part}.txt").write_text("".join(f"{name}\n" for name in chosen))
    return root


def write_mnms2(root, numbers=(1, 2, 161, 201)):
    for index, number in enumerate(f"{n:03d}" for n in numbers):
        folder = root / "dataset" / number
        for phase in ("ED", "ES"):
            image = folder / f"{number}_LA_{phase}.nii.gz"
            write_pair(image, folder / f"{number}_LA_{phase}_gt.nii.gz", index)
        write(folder / f"{number}_LA_CINE.nii.gz", picture(index, 2)[0])
    return root


def write_cmr_multi(root, view="4CH"):
    for index, (part, number) in enumerate([("TR", "084"), ("TR", "007"), ("VAL", "101")]):
        folder, name = root / "CINE_MULTI" / f"{view}_{part}", f"CINE_{view}_{number}.nii.gz"
        write_pair(folder / "image" / name, folder / "anno" / name, index, frames=2)
    write(
        root / "CINE_MULTI" / f"{view}_TST" / "image" / f"CINE_{view}_200.nii.gz", picture(0, 2)[0]
    )
    return root


def names(pairs):
    return [(pair.stem, pair.patient, pair.part) for pair in pairs]


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
def test_camus(tmp_path, suffix):
    root = write_camus(tmp_path, suffix)
    pairs, problems = layouts.find_pairs(Public("camus", root), "4ch")
    assert problems == []
    assert names(pairs) == [
        (f"patient{n:04d}_4CH_{phase}", f"patient{n:04d}", "val" if n == 3 else "train")
        for n in (1, 2, 3)
        for phase in ("ED", "ES")
    ]
    assert [pair.time_s for pair in pairs[:2]] == [0, pytest.approx(17 / 50)]
    assert pairs[0].mask.name == f"patient0001_4CH_ED_gt{suffix}"
    both, _ = layouts.find_pairs(Public("camus", root, held_out="test", quality="Medium"), "all")
    assert {(p.patient, p.part) for p in both} == {
        ("patient0001", "train"), ("patient0002", "train"), ("patient0004", "val"),
    }  # fmt: skip
    assert [p.stem for p in both if p.patient == "patient0002"] == [
        "patient0002_2CH_ED",
        "patient0002_2CH_ES",
    ]


def test_camus_from_its_inner_folder_or_without_its_split(tmp_path):
    root = write_camus(tmp_path / "CAMUS_public")
    inner = Public("camus", root / "database_nifti")
    assert {pair.part for pair in layouts.find_pairs(inner, "2ch")[0]} == {"train", "val"}
    for path in (root / "database_split").iterdir():
        path.unlink()
    pairs, _ = layouts.find_pairs(inner, "2ch")
    assert {(pair.patient, pair.part) for pair in pairs} == {
        (f"patient{n:04d}", "") for n in (1, 2, 3, 4)
    }
    (root / "database_nifti" / "patient0001" / "Info_2CH.cfg").write_text("FrameRate: fast\nED 1\n")
    assert math.isnan(layouts.find_pairs(inner, "2ch")[0][0].time_s)
    (root / "database_split" / "subgroup_training.txt").write_text("patient0001\npatient0002\n")
    pairs, problems = layouts.find_pairs(inner, "2ch")
    assert {pair.patient for pair in pairs} == {"patient0001", "patient0002"}
    assert problems[0] == (
        "patient0003_2CH_ED.nii.gz: its patient is in no part of the set's own split"
    )


def test_a_patient_who_is_there_twice_is_refused(tmp_path):
    """CAMUS of both of its releases, one beside the other."""
    root = write_camus(tmp_path, patients=3)
    shutil.copytree(root / "database_nifti" / "patient0001", root / "training" / "patient0001")
    settings = Settings(label=2, view="4ch")
    request = build.Request(root, root, tmp_path, settings, public=Public("camus", root))
    both = "named patient0001_4CH_ED: .*database_nifti/.* and .*training/.*; names must differ"
    with pytest.raises(Refused, match=both):
        build.find_cases(request)


def test_mnms2(tmp_path):
    root = write_mnms2(tmp_path)
    (root / "dataset" / "002" / "002_LA_ES_gt.nii.gz").unlink()
    pairs, problems = layouts.find_pairs(Public("mnms2", root), "4ch")
    assert names(pairs) == [
        ("001_LA_ED", "001", "train"),
        ("001_LA_ES", "001", "train"),
        ("002_LA_ED", "002", "train"),
        ("161_LA_ED", "161", "val"),
        ("161_LA_ES", "161", "val"),
    ]
    assert problems == ["002_LA_ES_gt.nii.gz: missing in the folder 002"]
    tested, _ = layouts.find_pairs(Public("mnms2", root, held_out="test"), "4ch")
    assert {pair.patient for pair in tested if pair.part == "val"} == {"201"}


def test_cmr_multi(tmp_path):
    root = write_cmr_multi(tmp_path)
    pairs, problems = layouts.find_pairs(Public("cmr-multi", root), "4ch")
    assert problems == []
    assert names(pairs) == [
        ("CINE_4CH_007", "007", "train"),
        ("CINE_4CH_084", "084", "train"),
        ("CINE_4CH_101", "101", "val"),
    ]
    assert pairs[0].mask == root / "CINE_MULTI" / "4CH_TR" / "anno" / "CINE_4CH_007.nii.gz"
    folder = root / "CINE_MULTI" / "4CH_VAL"
    write_pair(folder / "image" / "CINE_4CH_007.nii.gz", folder / "anno" / "CINE_4CH_007.nii.gz", 0)
    with pytest.raises(Refused, match="the patient 007 is in both train and val"):
        layouts.find_pairs(Public("cmr-multi", root), "4ch")


def test_camus_as_it_comes_becomes_a_data_set(tmp_path, capsys):
    root, out = write_camus(tmp_path / "set"), tmp_path / "out"
    arguments = ["build", "--layout", "camus", "--root", str(root), "--view", "4ch"]
    options = ["--size", "64", "--points", "24", "--jobs", "1", "--out", str(out)]
    assert command.main([*arguments, *options]) == 0
    assert "split by --val-fraction" not in capsys.readouterr().out
    data = dataset.load(out)
    assert len(data.images) == 6
    assert set(data.cases["patient"][data.cases["split"] == "val"]) == {"patient0003"}
    assert data.cases["time_s"].tolist()[:2] == [0, pytest.approx(0.34)]
    for row, index in ((0, 0), (5, 2)):
        shrunk = SPACING[1] / SPACING[0]  # the square's pixels are the row's spacing on each side
        area = np.asarray(data.masks[row]).sum() / (picture(index)[1][0] == 2).sum()
        assert area == pytest.approx(shrunk, rel=0.03)


@pytest.mark.parametrize(
    ("layout", "write_set", "frames"),
    [("mnms2", write_mnms2, 1), ("cmr-multi", write_cmr_multi, 2)],
)
def test_every_frame_has_the_wall_of_its_own_labels(tmp_path, layout, write_set, frames):
    root = write_set(tmp_path / "set")
    settings = Settings(label=layouts.of_name(layout).label, view="4ch", size=64)
    request = build.Request(root, root, tmp_path, settings, public=Public(layout, root))
    cases, problems = build.find_cases(request)
    assert problems == []
    assert [case.frame for case in cases] == list(range(frames)) * (len(cases) // frames)
    for case in cases:
        found = steps.read_frame(case, settings)
        labels = np.asarray(nib.load(case.mask).dataobj)[..., case.frame].T
        drawn = images.fit_mask(labels == 2, 64, aspect=SPACING[0] / SPACING[1])
        np.testing.assert_array_equal(found["mask"], drawn)
    assert {case.part for case in cases} == {"train", "val"}


def test_without_its_own_split_the_patients_are_drawn(tmp_path):
    root = write_cmr_multi(tmp_path)
    shutil.rmtree(root / "CINE_MULTI" / "4CH_VAL")
    settings = Settings(label=2, view="4ch")
    request = build.Request(root, root, tmp_path, settings, public=Public("cmr-multi", root))
    cases, _ = build.find_cases(request)
    assert {case.part for case in cases} == {""}
    assert build.own_split(cases) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--layout": "acdc"}, "--layout acdc: one of camus, mnms2, cmr-multi was expected"),
        ({"--view": "3ch"}, "--view 3ch: one of 2ch, 4ch, all was expected"),
        ({"--held-out": "train"}, "--held-out train: one of val, test was expected"),
        ({"--held-out": "test"}, "--held-out test: no patient of this part"),
        ({"--quality": "good"}, "--quality good: one of Good, Medium, Poor was expected"),
        ({"--root": "nowhere"}, "nowhere: a folder of images was expected"),
        ({"--root": "."}, "no image with a mask in the layout cmr-multi was found"),
        ({"--phantom": "x"}, "--phantom or --layout takes the place of"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(tmp_path, capsys, monkeypatch, change, sentence):
    monkeypatch.chdir(tmp_path)
    write_cmr_multi(Path("set"))
    Path("empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty") if change.get("--root") == "." else None
    flags = {"--layout": "cmr-multi", "--root": str(tmp_path / "set"), "--view": "4ch"} | change
    arguments = [word for pair in flags.items() for word in pair]
    assert command.main(["build", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


TEXT = (Path(__file__).parents[1] / "docs" / "DATA.md").read_text(encoding="utf-8")


def write_hmcqu(root):
    """A video of ten frames, and masks of three of them from the fifth on."""
    import av
    import scipy.io

    name = "ES0001 _4CH_1"
    grey, labels = picture(0, 10)
    grey = grey[:, :60, :48]  # of another size than the masks
    grey[:] //= np.arange(10, 0, -1, dtype=np.uint8)[:, None, None]
    (root / "HMC-QU" / "A4C").mkdir(parents=True)
    with av.open(str(root / "HMC-QU" / "A4C" / f"{name}.avi"), "w") as video:
        stream = video.add_stream("mjpeg", rate=25, width=48, height=60, pix_fmt="yuvj420p")
        for frame in grey:
            drawn = av.VideoFrame.from_ndarray(frame, format="gray")
            video.mux(stream.encode(drawn))
        video.mux(stream.encode(None))
    folder = root / "LV Ground-truth Segmentation Masks"
    folder.mkdir()
    wall = (labels[:3] == 2).astype(float)
    scipy.io.savemat(folder / f"Mask_{name}.mat", {"predicted": wall})
    table = {"ECHO": [name], "reference": [5], "end": [7], "masks": ["ü"]}
    return grey, wall, pd.DataFrame(table)


def test_the_script_of_the_docs_converts_hmcqu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey, wall, table = write_hmcqu(Path("HMC-QU"))
    monkeypatch.setattr(pd, "read_excel", lambda path: table)
    script = next(block for block in blocks("python") if "HMC-QU" in block)
    exec(compile(script, "DATA.md", "exec"), {})
    image, mask = (
        files.read(Path("data/hmcqu_files") / kind / "ES0001_4CH_1.nii.gz")
        for kind in ("images", "masks")
    )
    np.testing.assert_array_equal(mask.frames, wall)
    assert image.frames.shape == mask.frames.shape
    means = grey.mean(axis=(1, 2))[4:7]
    np.testing.assert_allclose(image.frames.mean(axis=(1, 2)), means, rtol=0.1)


def test_the_script_of_the_docs_scores_the_bowl(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results/dsb").mkdir(parents=True)
    found = {"patient": ["dsb0012", "dsb0007"], "ed_volume_ml": [101, 50], "es_volume_ml": [40, 9]}
    pd.DataFrame(found).to_csv("results/dsb/biplane.csv", index=False)
    truth = {"Id": [7, 12], "Systole": [9, 43], "Diastole": [50, 100]}
    pd.DataFrame(truth).to_csv("train.csv", index=False)
    script = next(block for block in blocks("python") if "train.csv" in block)
    exec(compile(script, "DATA.md", "exec"), {})
    told = capsys.readouterr().out
    assert [float(s.split()[1]) for s in told.splitlines() if s.startswith("mean")] == [0.5, -1.5]


def blocks(language):
    return [part.split("```")[0] for part in TEXT.split(f"```{language}\n")[1:]]


def commands():
    """The arguments of each ``prep build --layout`` in the docs."""
    lines = TEXT.replace("\\\n", " ").splitlines()
    builds = [shlex.split(line) for line in lines if line.startswith("    python -m prep build")]
    return [words[3:] for words in builds if "--layout" in words and "DIR" not in words]


def test_the_commands_of_the_docs_read_the_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_camus(Path("CAMUS_public"))
    write_mnms2(Path("MnM2"))
    write_cmr_multi(Path())
    requests = []

    def run(request):
        requests.append(request)
        return build.Outcome(0, 0, 1.0, [], [])

    monkeypatch.setattr(build, "run", run)
    assert [command.main(arguments) for arguments in commands()] == [0] * 5
    counts = [len(build.find_cases(request)[0]) for request in requests]
    assert counts == [12, 12, 6, 6, 3]
    assert {request.settings.size for request in requests} == {192}
