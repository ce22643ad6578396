"""Files of scanners and annotators as cines: DICOM, NIfTI, MetaImage, PNG and JPEG.

Needs the extra ``files`` (``pip install 'jssm[files]'``); its libraries are imported when the
first file of a kind is read.
"""

import importlib.util
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from jssm.files import dicom, images, naming, nifti, series, view
from jssm.files.cine import Cine, Found, Problem, nifti_affine, patient_mm
from jssm.files.common import frame_time_s
from jssm.files.errors import BadInput
from jssm.files.images import count_frames, read
from jssm.files.masks import on_grid_of
from jssm.files.nifti import write_nifti

__all__ = [
    "BadInput",
    "Cine",
    "Found",
    "Problem",
    "count_frames",
    "frame_time_s",
    "nifti_affine",
    "on_grid_of",
    "open_cines",
    "patient_mm",
    "read",
    "write_nifti",
]


# What `jssm predict` writes for every cine, among other files.
RESULTS = {"summary.json", "points.json", "mask.nii.gz"}
FEW_VALUES = 8  # an image of so few different values is probably a label map


def open_cines(
    path: Path, *, salt: str = "", keep_names: bool = False
) -> tuple[list[Found], list[Problem]]:
    """The cines of a file, or of a folder and all folders in it, and what gave none.

    Pixels are not read before ``Found.load`` is called, so a large folder needs little memory.
    In a folder, DICOM series of one frame are passed over as no cines; a file given by its name
    may have one.

    salt: a secret word that goes into the pseudonyms, so that nobody can find an id by trying.
    keep_names: name DICOM cines by the patient's own id in place of a pseudonym.

    Raises:
      BadInput: when there is no such file or folder, or pydicom is needed and missing.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    root = path.absolute() if path.is_dir() else path.absolute().parent
    pictures, scans = [], []
    listed, results = _files(path)
    problems = [
        Problem(f"{_under(root, folder)}: a folder of results, not of images", False)
        for folder in results
    ]
    for file in listed:
        name = _under(root, file)
        if file.name.lower().endswith(images.SUFFIXES):
            if nifti.is_label_map(file):
                problems.append(Problem(f"{name}: no image, but a label map", False))
            else:
                pictures.append(_picture(file, name))
        elif file.name == "DICOMDIR" or file.suffix.lower() in (".raw", ".zraw"):
            continue  # the directory of a DICOM disk, and the pixels beside a .mhd
        elif not os.access(file, os.R_OK) or not file.is_file():
            problems.append(Problem(f"{name}: cannot be read", True))
        elif dicom.is_dicom(file):
            scans.append(file)
        else:
            problems.append(Problem(f"{name}: not a kind of file that is read here", False))
    if scans and importlib.util.find_spec("pydicom") is None:
        raise BadInput(f"{path}: pydicom is needed to read DICOM; pip install 'jssm[files]'")
    least = 2 if path.is_dir() else 1
    found, wrong = series.find(scans, root, salt=salt, keep_names=keep_names, least=least)
    return [*found, *pictures], [*problems, *wrong]


def _files(path: Path) -> tuple[list[Path], list[Path]]:
    """The file, or all files under the folder, by name; and the folders of results among them.

    Hidden files and links to folders are left aside.
    """
    if path.is_file():
        return [path.absolute()], []
    found, results = [], []
    for folder, folders, names in os.walk(path.absolute()):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if set(names) >= RESULTS:
            results.append(Path(folder))
            folders.clear()
        else:
            found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found, results


def _under(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _picture(path: Path, relative: str) -> Found:
    name = images.stem(Path(relative.replace("/", "_")))
    imported = naming.NAME.match(images.stem(path))
    described = view.from_description([images.stem(path), path.parent.name])
    return Found(
        name,
        imported["patient"] if imported else name,
        (path,),
        relative,
        partial(_load_picture, path, name),
        view=described or "other",
        described=described,
        study=(imported["study"] or "") if imported else "",
    )


def _load_picture(path: Path, name: str) -> Cine:
    cine = images.read(path)
    return replace(cine, name=name, notes=(*cine.notes, *_few_values(cine.frames[0])))


def _few_values(frame: np.ndarray) -> list[str]:
    count = len(np.unique(frame))
    few = 1 < count <= FEW_VALUES
    return [f"its pixels have {count} different values: is it a label map?"] if few else []
