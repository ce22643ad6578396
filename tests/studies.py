"""A study without a network: two cines of a beating horseshoe, written as ``jssm predict`` does.

Frame 0 is end-diastole, frame 3 end-systole. One segment of each is doubted.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jssm import files
from jssm.cines import one_cine, outputs, segmenting
from jssm.cines.measures import Poses
from jssm.cines.result import Result
from jssm.methods.model import Model
from jssm.report.pages import write_pages
from jssm.shape.shape_model import ShapeModel
from tests import dicom_files

FRAMES, SIZE = 6, (48, 64)
DOUBTED = 2
ABOUT = {
    "jssm_version": "0",
    "model_run": "tiny",
    "model_step": "best",
    "model_weights_sha256": "0123456789abcdef",
    "smoothing_harmonics": 0,
    "whole_cycle": True,
}


def place(data, number):
    """What a Segmentation needs beside the pixels."""
    data.FrameOfReferenceUID = "1.2.9"


def write_study(folder: Path, shape: ShapeModel, *, chosen: Sequence[str]) -> Path:
    """The folder of results of a 2ch and a 4ch cine of one patient, of the latter those chosen."""
    for view, series in (("4ch", "1.2.3"), ("2ch", "1.2.4")):
        dicom_files.write_cine(
            folder / "scans" / view, view=view, series=series, frames=FRAMES, shape=SIZE,
            change=place,
        )  # fmt: skip
    found, problems = files.open_cines(folder / "scans")
    assert len(found) == 2, problems
    two, four = sorted(found, key=lambda item: item.view)
    (folder / "out").mkdir()
    (folder / "out" / "biplane.csv").write_text(
        f"patient,cine_2ch,cine_4ch\n{two.patient},{two.name},{four.name}\n"
    )
    for item in found:
        result = result_of(item, shape)
        names = chosen if item.view == "4ch" else ["report"]
        outputs.write(folder / "out" / item.name, result, about=ABOUT, outputs=names)
    write_pages(folder / "out")
    return folder / "out"


def result_of(item: files.Found, shape: ShapeModel) -> Result:
    """What a model would see: the wall contracts and comes back, and one mode sways."""
    cine = replace(item.load(), name=item.name)
    phase = 2 * np.pi * np.arange(FRAMES) / FRAMES
    theta = np.zeros((FRAMES, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = 15 + 2.5 * np.cos(phase)
    theta[:, 0, 2], theta[:, 1, 2] = 30, 24
    beta = np.zeros((FRAMES, shape.num_modes), np.float32)
    beta[:, 0] = 0.1 * np.sin(phase)
    arrays = (np.asarray(a) for a in (shape.mean, shape.modes, shape.variances))
    deviation = np.full((FRAMES, shape.num_points), 1.5, np.float32)
    segmenter = segmenting.Segmenter(Model({}, shape, jnp.eye(2, 3), None, size=0), FRAMES)
    poses = Poses(theta, beta, deviation, *arrays, tau=0.5)
    confidence, used = np.full(FRAMES, 0.9, np.float32), np.ones(FRAMES, bool)
    if item.view == "2ch":
        confidence[4], used[4] = 0.3, False
    segmented = segmenter.finish(cine, poses, confidence, used)
    segmented = replace(segmented, doubted=np.arange(6) == DOUBTED)
    return one_cine.with_warnings(Result(item, cine, segmented))
