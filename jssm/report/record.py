"""``report.json``: all of one cine that its report shows, and all that a correction needs.

Everything else that ``jssm predict`` writes can be made of it again, so it holds the poses and the
shape model that give the points, the frames as JPEG, and where these lie in the patient; of DICOM
files also what a Segmentation refers to. A page hands it back with corrected poses when it saves.

No JAX here: processes that write have none.
"""

import base64
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from jssm import files
from jssm.files import source_headers
from jssm.files.whole import write_whole
from jssm.pictures import style

if TYPE_CHECKING:
    from jssm.cines.result import Result

FORMAT = 1
NAME = "report.json"
QUALITY = 90  # of the JPEGs
HAND_PX = 0.2  # the standard deviation of a point that a reader put somewhere
SUPPOSED = 0.06  # of a predicted point, in RMS radii of the shape, where the model tells none
# What is needed of a record; those of older versions lack the rest.
KEYS = {
    *("format", "id", "patient", "study", "modality", "view", "view_by_description"),
    *("view_by_geometry", "keep_names", "supposed_mirrored", "segments", "rows", "columns"),
    *("spacing_mm", "stated_aspect", "aspect", "time_s", "frame_time_s", "to_patient_mm"),
    *("slice_direction_mm", "nifti_shape", "notes", "warnings", "about", "tau", "shape", "theta"),
    *("beta", "deviation_px", "near_px", "hand_px", "confidence", "used", "corrections", "frames"),
    *("headers", "sources"),
}
# What of an enhanced object's frames a Segmentation refers to; others hold dates and protocols.
GROUPS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")


def record(result: "Result", *, about: Mapping[str, Any], keep_names: bool) -> dict[str, Any]:
    """What :data:`NAME` holds of one cine; numbers of six digits or more, None for NaN.

    about: facts of the run, as summaries have them.
    """
    found, cine, poses = result.found, result.cine, result.segmented.poses
    return {
        "format": FORMAT,
        "id": cine.name,
        "patient": found.patient,
        "study": found.study,
        "modality": found.modality,
        "view": found.view,
        "view_by_description": found.described,
        "view_by_geometry": found.seen,
        "keep_names": keep_names,
        "supposed_mirrored": result.supposed_mirrored,
        "segments": list(result.segments),
        "rows": cine.frames.shape[1],
        "columns": cine.frames.shape[2],
        "spacing_mm": numbers(np.array(cine.spacing_mm), 10),
        "stated_aspect": cine.stated_aspect,
        "aspect": cine.aspect,
        "time_s": numbers(cine.time_s, 10),
        "frame_time_s": numbers(np.array(files.frame_time_s(cine)), 10),
        "from_trigger_s": numbers(cine.from_trigger_s, 10),
        "to_patient_mm": _optional(cine.to_patient_mm, 12),
        "slice_direction_mm": _optional(cine.slice_direction_mm, 12),
        "nifti_shape": list(cine.nifti_shape),
        "notes": _notes(result),
        "warnings": list(result.warnings),
        "about": dict(about),
        "tau": poses.tau,
        "shape": {
            name: numbers(getattr(poses, name), 7) for name in ("mean", "modes", "variances")
        },
        "theta": numbers(poses.theta, 8),
        "beta": numbers(poses.beta, 8),
        "deviation_px": _optional(_known(poses.deviation_px), 4),
        "near_px": numbers(near_px(poses.theta, poses.deviation_px), 4),
        "hand_px": HAND_PX,
        **_trust(result),
        "corrections": [],
        "frames": jpegs(cine.frames),
        **_headers(result, keep_names),
    }


def near_px(theta: np.ndarray, deviation_px: np.ndarray) -> np.ndarray:
    """How far predicted points may be off (F, T), where the model does not tell too."""
    scale = np.sqrt(np.abs(np.linalg.det(theta[:, :, :2])))[:, None]
    return np.where(np.isfinite(deviation_px), deviation_px, SUPPOSED * scale)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_whole(path, text + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a record, as it was written or as a page saved it.

    Raises:
      OSError: when there is no such file.
      ValueError: when it is no record, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, missing = content.get("format"), KEYS - content.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not what a report saved") from error
    if version != FORMAT or missing:
        lacks = f"; it lacks {min(missing)}" if missing else ""
        raise ValueError(f"{path}: not what a report of this version saved{lacks}")
    for key in ("id", "patient"):  # both become names of files
        if not re.fullmatch(r"[^/\\\0]+", str(content[key])) or set(content[key]) == {"."}:
            raise ValueError(f"{path}: {key} is {content[key]!r}, which is no name of a file")
    return content


def jpegs(frames: np.ndarray) -> list[str]:
    """The frames (F, H, W) as base64 of JPEGs, one grey window for all."""
    low, high = style.grey_range(frames)
    grey = np.clip((frames.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    texts = []
    for picture in np.rint(grey).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts


def from_jpegs(texts: Sequence[str]) -> np.ndarray:
    """The frames (F, H, W), uint8, of :func:`jpegs`."""
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in texts])


def _trust(result: "Result") -> dict[str, Any]:
    """How far each frame is to be trusted, None where the model does not tell, whether it takes
    part in the numbers, and which segments' strain is not to be trusted, likewise."""
    confidence, used = result.segmented.confidence, result.segmented.used
    doubtful = result.segmented.doubtful_segments
    return {
        "confidence": numbers(confidence, 4),
        "used": used.tolist(),
        "doubtful": None if doubtful is None else doubtful.tolist(),
    }


def _notes(result: "Result") -> list[str]:
    """What the files said of themselves, and what was left out of them."""
    lost = len(result.cine.problems)
    notes = dict.fromkeys([*result.found.notes, *result.cine.notes])
    return [*notes, *([f"{lost} damaged frames were left out"] if lost else [])]


def _headers(result: "Result", keep_names: bool) -> dict[str, Any]:
    """The headers that DICOM objects refer to, in DICOM's JSON, and of each frame its header and
    its number there."""
    paths = list(dict.fromkeys(path for path, _ in result.cine.sources))
    if not paths:
        return {"headers": [], "sources": []}
    headers = source_headers.read(paths, patient=result.found.patient, keep_names=keep_names)
    for header in headers:
        _spare(header)
    return {
        "headers": [header.to_json_dict() for header in headers],
        "sources": [[paths.index(path), number] for path, number in result.cine.sources],
    }


def _spare(header: Any) -> None:
    """Leave in an enhanced object's groups what tells place and spacing alone."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in header.get(name, ()):
            for element in list(groups):
                if element.keyword not in GROUPS:
                    del groups[element.tag]


def _known(values: np.ndarray) -> np.ndarray | None:
    return values if np.isfinite(values).any() else None


def _optional(values: np.ndarray | None, digits: int) -> Any:
    return None if values is None else numbers(values, digits)


def numbers(values: np.ndarray, digits: int) -> Any:
    """Nested lists of numbers with so many digits, None for NaN."""
    return _rounded(np.asarray(values, float).tolist(), f".{digits}g")


def _rounded(values: Any, form: str) -> Any:
    if isinstance(values, list):
        return [_rounded(value, form) for value in values]
    return float(format(values, form)) if math.isfinite(values) else None
