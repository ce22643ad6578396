"""What the tests of ``jssm predict`` share: a run of the small model, scans, programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jssm import checkpoint
from jssm.cines import programs, segmenting
from jssm.config import Config, ModelConfig, to_json
from jssm.methods.model import Model, weights_of
from tests import dicom_files

FRAMES, BATCH_SIZE = 4, 3  # the second batch is not full


@contextmanager
def shared_programs() -> Iterator[None]:
    """All runs of the command have one model: each program is compiled once for all."""
    with pytest.MonkeyPatch.context() as patch:
        shared = programs.Programs()
        patch.setattr(segmenting, "Segmenter", partial(segmenting.Segmenter, programs=shared))
        yield


def write_run(directory: Path, model: Model) -> Path:
    """A run directory with the small model."""
    directory.mkdir()
    options = ModelConfig(size=32, depth=18, width=4, num_modes=2)
    (directory / "config.json").write_text(to_json(Config(data="none", model=options)))
    with checkpoint.Checkpoints(directory) as checkpoints:
        checkpoints.save_best(1, weights_of(model))
    return directory


def write_scans(folder: Path) -> Path:
    """A folder of scans: a 4ch and a 2ch cine of a patient, a short axis, a damaged file, a cine
    whose one frame is cut off, and files that are no scans."""
    options: dict[str, Any] = {"frames": FRAMES, "change": place}
    dicom_files.write_cine(folder / "Doe^Jane" / "a", **options)
    dicom_files.write_cine(folder / "b", view="2ch", series="1.2.4", **options)
    dicom_files.write_cine(folder / "c", view="sax", series="1.2.5", **options)
    (folder / "b" / "broken.dcm").write_bytes(b"")
    (folder / "notes.txt").write_text("Doe^Jane")
    return folder


def place(data: Any, number: int) -> None:
    """What makes the prediction move, and what a Segmentation and a leak need."""
    picture = dicom_files.picture(number)
    picture[:, : 6 * number] //= 2
    data.PixelData = picture.tobytes()
    data.FrameOfReferenceUID = "1.2.9"
    data.AccessionNumber = "ACC-4711"
    data.StudyDate, data.InstitutionName = "20200102", "Secret Hospital"
