"""Two thousand damaged files: a sentence for each, in a moment and in bounded memory; archives that
claim to be huge; and headers that point elsewhere."""

import ast
import contextlib
import gzip
import json
import random
import resource
import signal
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jssm import config, dataset, files, shards
from jssm.config import Config
from jssm.files.archive import read_npz
from jssm.methods import model_file
from jssm.report import record
from jssm.shape import shape_model
from prep.dataset import cases, split, verify
from prep.errors import Refused
from prep.shapes import landmarks
from tests.mutations import mutated
from tests.sharding import in_shards

GROWTH = 300 * 2**10  # KiB that all damaged files of a kind may add to the memory of the process
LONGEST_S = 10


@pytest.fixture(autouse=True)
def in_bounds():
    """Ends a file that takes too long, and compares the memory."""

    def too_long(*_):
        raise AssertionError("it hangs")

    handler = signal.signal(signal.SIGALRM, too_long)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


PIXELS = np.arange(12 * 10 * 3, dtype=np.uint16).reshape(12, 10, 3)


def write_nifti(path):
    import nibabel as nib

    nib.save(nib.Nifti1Image(PIXELS, np.diag([1.5, 1.5, 1, 1])), path)


def write_metaimage(path):
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path))


def write_png(path):
    Image.fromarray(PIXELS[:, :, 0]).save(path)


def write_config(path):
    path.write_text(config.to_json(Config(data="data")))


def write_model(path):
    weights = {"variables": {"params": {"a": {"kernel": np.ones((3, 4))}}}, "mean": np.ones(2)}
    model_file.write(path, Config(data="data"), weights)


def write_shape(path):
    shape_model.save(path, shape_model.ShapeModel(np.ones((8, 2)), np.ones((2, 8, 2)), np.ones(2)))


def write_step(path):
    cases.write(path, stamp=np.array("s"), image=np.ones((9, 9), np.uint8))


def write_landmarks(path):
    rows = [f"case{i},1.5,2,3,4,5,6\n" for i in range(9)]
    path.write_text("case," + ",".join(landmarks.COLUMNS) + "\n" + "".join(rows))


def write_split(path):
    path.write_text("patient,split\n" + "".join(f"p{i},train\n" for i in range(9)))


def write_record(path):
    content = {key: [1.5, "a"] for key in sorted(record.KEYS)}
    record.write(path, content | {"format": record.FORMAT, "id": "a", "patient": "p"})


def read_picture(path):
    with contextlib.suppress(files.BadInput):
        files.count_frames(path)
    files.read(path)


KINDS = {
    # name: writes, reads, the errors that are sentences, bytes of header, damaged files
    "a.nii": (write_nifti, read_picture, files.BadInput, 352, 300),
    "a.nii.gz": (write_nifti, read_picture, files.BadInput, 400, 200),
    "a.mha": (write_metaimage, read_picture, files.BadInput, 300, 300),
    "a.png": (write_png, read_picture, files.BadInput, 60, 300),
    "config.json": (write_config, lambda p: config.load(p.parent), ValueError, 900, 150),
    "report.json": (write_record, record.read, ValueError, 900, 100),
    "landmarks.csv": (write_landmarks, landmarks.from_file, Refused, 120, 100),
    "split.csv": (write_split, split.read, Refused, 40, 100),
    "model.npz": (write_model, model_file.read, ValueError, 200, 200),
    "shape_model.npz": (write_shape, shape_model.load, ValueError, 200, 150),
    "step.npz": (write_step, lambda p: cases.read(p, "s"), (), 200, 100),
}


def test_two_thousand_files_are_damaged():
    assert sum(kind[-1] for kind in KINDS.values()) == 2000


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_gives_a_sentence_or_what_is_left(tmp_path, name):
    write, read, errors, header, count = KINDS[name]
    path, rng, sentences = tmp_path / name, random.Random(name), []
    write(path)
    whole = path.read_bytes()
    read(path)
    for _ in range(count):
        path.write_bytes(mutated(whole, rng, header=header))
        signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
        try:
            read(path)
        except errors as error:
            sentences.append(str(error))
    assert all(sentence.strip() and "\n" not in sentence for sentence in sentences)
    assert sentences or not errors


def test_a_damaged_data_set_gives_a_sentence(small_data, tmp_path):
    """In training, and from the command that looks for damage."""
    rng = random.Random(0)
    data = in_shards(small_data, tmp_path / "data", 8)
    tables = ("cases.csv", "dataset.json", "points.npy", "thetas.npy")
    for name in (*tables, "images.zarr/zarr.json", "images.zarr/1.0.0"):
        path = data / name
        whole = path.read_bytes()
        for _ in range(5):
            path.write_bytes(mutated(whole, rng, header=120))
            with contextlib.suppress(ValueError, OSError):
                np.asarray(dataset.load(data).images)
            assert isinstance(verify.check(data), list)
        path.write_bytes(whole)


def test_an_archive_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, zeros=np.zeros(2_000_000, np.uint8))
    assert path.stat().st_size < 5000
    with pytest.raises(ValueError, match="GiB of arrays"):
        read_npz(path, most=1_000_000)
    assert read_npz(path)["zeros"].size == 2_000_000


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-1,)", "(99999999999, 99999999999)"])
def test_an_array_that_lies_about_its_size_is_refused(tmp_path, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("mean.npy", content)
    with pytest.raises(ValueError, match="no archive of arrays"):
        read_npz(tmp_path / "a.npz")


def test_python_objects_are_not_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.array([{}], object))
    with pytest.raises(ValueError, match="Python objects"):
        shape_model.load(tmp_path / "a.npz")


def test_members_of_an_archive_are_not_written_anywhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("../../escaped.npy", b"")
    with pytest.raises(ValueError, match="no archive of arrays"):
        read_npz(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_compressed_file_is_read_no_further_than_its_header_says(tmp_path):
    write_nifti(tmp_path / "a.nii.gz")
    whole = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    bomb = gzip.compress(whole) + gzip.compress(bytes(10**6)) * 500  # 500 MB when unpacked
    (tmp_path / "a.nii.gz").write_bytes(bomb)
    np.testing.assert_array_equal(files.read(tmp_path / "a.nii.gz").frames, PIXELS.T)
    huge = bytearray(whole)
    huge[42:48] = struct.pack("<3h", 32767, 32767, 3)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(huge)))
    with pytest.raises(files.BadInput, match="GiB of pixels; damaged"):
        files.read(tmp_path / "a.nii.gz")


def test_a_shard_is_unpacked_no_further_than_its_case_is_large(tmp_path):
    for name, size in (("bomb", 2**12), ("whole", 64)):
        with shards.writer(tmp_path / name, 1, size, 1) as take:
            take(np.zeros((size, size), np.uint8))
    packed = (tmp_path / "bomb" / "0.0.0").read_bytes()
    assert len(packed) < 2_000  # 16 MiB when unpacked
    (tmp_path / "whole" / "0.0.0").write_bytes(packed)
    with pytest.raises(ValueError, match=r"whole/0\.0\.0: cannot be read \(End of data expected"):
        shards.opened(tmp_path / "whole", tmp_path / "dataset.json")[0]


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    def chunk(name, content):
        end = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + end

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    content = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(files.BadInput, match="GiB of pixels; damaged"):
        files.read(tmp_path / "a.png")


def test_an_animation_is_no_picture(tmp_path):
    pictures = [Image.fromarray(PIXELS[:, :, k].astype(np.uint8)) for k in range(3)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    with pytest.raises(files.BadInput, match="3 pictures; 1 was expected"):
        files.read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "pixels",
    [
        "../a.raw",
        "/etc/passwd",
        "LIST\n../a.raw",
        "%d.raw 1 3 1",
        "..\\a.raw",
        "../a.raw\nX = LOCAL",
    ],
)
def test_a_header_reads_no_file_of_another_folder(tmp_path, pixels):
    import SimpleITK as sitk

    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path))
    (tmp_path / "in" / "a.raw").rename(tmp_path / "a.raw")
    path.write_text(path.read_text().replace("a.raw", pixels))
    with pytest.raises(files.BadInput, match="ElementDataFile is"):
        files.read(path)


@pytest.mark.parametrize("name", ["../../a", "/tmp/a", "a\\b", "..", ""])
def test_a_record_names_no_other_folder(tmp_path, name):
    write_record(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    for key in ("id", "patient"):
        record.write(tmp_path / "a.json", content | {key: name})
        with pytest.raises(ValueError, match=f"{key} is"):
            record.read(tmp_path / "a.json")


def test_pickles_are_loaded_nowhere():
    """But by PyTorch's reader of weights alone, which runs nothing."""
    root = Path(__file__).parents[1]
    found = {p for room in ("jssm", "prep") for p in (root / room).rglob("*.py")}
    assert len(found) > 100
    wrong = [loader for path in found | {root / "train.py"} for loader in loaders(path.read_text())]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "import marshal as m", "np.load(p, None, True)",
        "np.load(p, allow_pickle=x)", "torch.load(p)", "torch.load(p, weights_only=False)",
    ],
)  # fmt: skip
def test_a_loader_of_pickles_would_be_found(text):
    assert loaders(text)


def loaders(text: str) -> list[str]:
    """The statements that could load a pickle."""
    wrong = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            has_load = "joblib" in names and "load" in names
            bad = has_load or {"pickle", "dill", "cloudpickle", "marshal", "shelve"} & set(names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".load"):
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            of_torch = ast.unparse(node.func) == "torch.load"
            bad = of_torch and options.get("weights_only") != "True"
            of_numpy = ast.unparse(node.func) == "np.load"
            allowed = options.get("allow_pickle", "False") != "False" or len(node.args) > 2
            bad |= of_numpy and allowed
        else:
            continue
        wrong += [ast.unparse(node)] if bad else []
    return wrong
