"""What is written of one segmented cine: one folder, described in docs/PREDICT.md."""

import gc
import importlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jssm import files
from jssm.cines import curves, places, sending
from jssm.cines.result import NAMES, Result
from jssm.cines.summary import summarize
from jssm.files import segmentation
from jssm.files.whole import write_whole
from jssm.pictures import movies
from jssm.report import record

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Output:
    """What one word of ``--outputs`` means.

    files: their names in the folder of a cine. write(folder, result, run) writes them; gives
    sentences for what could not be written.
    """

    files: tuple[str, ...]
    write: Callable[[Path, Result, "Run"], list[str]]


@dataclass(frozen=True)
class Run:
    """Of the run, the same for all its cines: facts for summaries and DICOM objects, and whether
    the patients' own names are written."""

    about: Mapping[str, Any]
    keep_names: bool = False


@dataclass(frozen=True)
class Written:
    """What summary.json says, and the seconds that each output took."""

    summary: dict[str, Any]
    seconds: dict[str, float]


def get_ready() -> None:
    """Do what the first cine would wait for: slow imports, the tables of DICOM."""
    with suppress(ImportError):
        for name in ("pydicom.sr.codedict", "nibabel", "av"):
            importlib.import_module(name)
    segmentation.get_ready()
    gc.freeze()  # else each DICOM object has all that was imported searched for garbage


def write(
    folder: Path,
    result: Result,
    *,
    about: Mapping[str, Any],
    keep_names: bool = False,
    outputs: Sequence[str] = NAMES,
) -> Written:
    """Write the files of one cine into ``folder``: the summary and these outputs.

    about: facts of the run, which go into the summary; the DICOM objects tell of the model by them.

    What an earlier run left there goes first, for it may be another model's. The summary is written
    last, so a folder that has one is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    run = Run(about, keep_names)
    warnings, seconds = list(result.warnings), {}
    for name in outputs:
        began = time.perf_counter()
        warnings += OUTPUTS[name].write(folder, result, run)
        seconds[name] = time.perf_counter() - began
    summary = {**summarize(result), **about, "warnings": warnings}
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(folder / SUMMARY, text + "\n")
    return Written(summary, seconds)


def _clear(folder: Path) -> None:
    (folder / SUMMARY).unlink(missing_ok=True)
    for output in OUTPUTS.values():
        for name in output.files:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def _whole(write: Callable[[Path, Result], None]) -> Callable[[Path, Result, Run], list[str]]:
    """A writer that writes all or fails, so that it has nothing to tell; the run does not matter
    to it."""

    def written(folder: Path, result: Result, _: Run) -> list[str]:
        write(folder, result)
        return []

    return written


def _write_mask(folder: Path, result: Result) -> None:
    """mask.nii.gz."""
    files.write_nifti(folder / "mask.nii.gz", result.segmented.mask, result.cine)


def _write_seg(folder: Path, result: Result, run: Run) -> list[str]:
    """mask.seg.dcm."""
    path = folder / "mask.seg.dcm"
    return sending.write_mask(path, result, about=run.about, keep_names=run.keep_names)


def _write_sr(folder: Path, result: Result, run: Run) -> list[str]:
    """report.sr.dcm."""
    path = folder / "report.sr.dcm"
    return sending.write_measures(path, result, about=run.about, keep_names=run.keep_names)


def _write_movie(folder: Path, result: Result) -> None:
    """overlay.mp4, or overlay.gif where that cannot be made; overlay.png for a single picture."""
    cine, count = result.cine, len(result.points)
    names = {}
    if result.motion is not None and result.segmented.is_measurable:
        names = {int(result.motion.es_frame): "  end-systole"}
        names[int(result.motion.ed_frame)] = "  end-diastole"
    used = result.segmented.used
    names |= {int(k): "  refused" for k in np.flatnonzero(~used)}
    labels = [f"{k} of 0-{count - 1}{names.get(k, '')}" for k in range(count)]
    pictures = list(
        movies.draw(
            cine.frames, result.points, aspect=cine.aspect, labels=labels, dashed=~used,
            closed=result.segmented.poses.closed,
        )
    )  # fmt: skip
    pace = movies.frames_per_second(files.frame_time_s(cine))
    if count == 1:
        pictures[0].save(folder / "overlay.png")
    elif movies.can_write_mp4():
        movies.write_mp4(folder / "overlay.mp4", pictures, pace)
    else:
        movies.write_gif(folder / "overlay.gif", pictures, pace)


def _write_report(folder: Path, result: Result, run: Run) -> list[str]:
    """report.json, of which the patient's page is made."""
    if result.segmented.poses.closed:
        return ["of a ring there is neither a page nor report.sr.dcm"]
    content = record.record(result, about=run.about, keep_names=run.keep_names)
    record.write(folder / record.NAME, content)
    return []


OUTPUTS = {
    "mask": Output(("mask.nii.gz",), _whole(_write_mask)),
    "seg": Output(("mask.seg.dcm",), _write_seg),
    "sr": Output(("report.sr.dcm",), _write_sr),
    "points": Output(("points.csv", "points.json"), _whole(places.write_points)),
    "vtk": Output(("points.pvd", "vtk"), _whole(places.write_vtk)),
    "movie": Output(("overlay.mp4", "overlay.gif", "overlay.png"), _whole(_write_movie)),
    "curves": Output(("curves.csv", "curves.png", "thickness.csv"), _whole(curves.write_curves)),
    "report": Output((record.NAME,), _write_report),
}
