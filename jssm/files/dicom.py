"""DICOM files: what their headers say of each frame, and their pixels.

Headers are read without the pixels, so that a large folder needs little memory. Nothing in a
header is trusted: every number is checked before it is used, and sizes before memory is taken.
"""

import logging
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files.cine import UNKNOWN, known
from jssm.files.errors import BadInput, NotACine
from jssm.files.images import check_size, grey

SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_FRAMES = 20_000  # of one file
DEFLATED = "1.2.840.10008.1.2.1.99"
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ImageType"),
    *("PatientName", "PatientID", "PatientBirthDate", "SeriesDescription", "ProtocolName"),
    *("SeriesNumber", "InstanceNumber", "TriggerTime", "NominalInterval", "FrameTime"),
    *("CardiacNumberOfImages", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"),
    *("PixelSpacing", "SliceThickness", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("BitsAllocated", "RescaleSlope", "RescaleIntercept", "PhotometricInterpretation"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("SequenceOfUltrasoundRegions", "AcquisitionTime", "BitsStored"),
]


@dataclass(frozen=True)
class Frame:
    """What a header says of one frame.

    path, number: the file and the frame in it, from 0. shape: (rows, columns).
    spacing_mm: (row, column). position, orientation: of the patient, LPS, or None.
    trigger_ms: NaN where unknown. instance: its number, or the frame's in a multi-frame object.
    slope, intercept: value = slope · stored + intercept. series: what all frames of a file share.
    """

    path: Path
    number: int
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    trigger_ms: float
    instance: int
    slope: float
    intercept: float
    series: "Series"


@dataclass(frozen=True)
class Series:
    """What a header says of the series; texts are "" and numbers NaN where it does not."""

    uid: str
    study: str
    patient: tuple[str, str, str]  # id, name, date of birth
    descriptions: tuple[str, ...]
    number: float
    kind: str  # the third part of ImageType, such as M or P
    thickness_mm: float
    location_mm: float
    interval_ms: float
    instance_uid: str


def is_dicom(path: Path) -> bool:
    """Whether the file says that it is DICOM, by its first bytes or by its suffix."""
    return path.name.lower().endswith(SUFFIXES) or _is_marked(path)


def _is_marked(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_header(path: Path) -> list[Frame]:
    """The frames of a file, from its header alone.

    Raises:
      BadInput: when the file is damaged.
      NotACine: when it is sound, but no image.
    """
    import pydicom

    if path.stat().st_size == 0:
        raise BadInput(f"{path.name}: the file is empty")
    with _sentences(path), _quiet():
        marked = _is_marked(path)
        if marked:
            meta = pydicom.filereader.read_file_meta_info(path)
            if str(meta.get("TransferSyntaxUID", "")).strip("\0 ") == DEFLATED:
                raise NotACine("deflated DICOM is not read; inflate it first")
        with path.open("rb") as file:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, force=not marked, specific_tags=list(TAGS)
            )
            rest = path.stat().st_size - file.tell()  # from the pixel data's tag on
        if "Rows" not in header or "Columns" not in header:
            kind = pydicom.uid.UID(_text(header, "SOPClassUID"))
            if not kind:
                raise BadInput("not a DICOM file, or cut off in its header")
            if kind.name == kind or "Image Storage" in kind.name:
                raise BadInput("the header has no Rows or no Columns; truncated?")
            raise NotACine(f"no image, but {kind.name}")
        _check_length(header, rest)
        return _frames(path, header)


def read_frames(frames: Sequence[Frame]) -> Iterator[np.ndarray | BadInput]:
    """The pixels (H, W) of each frame, rescaled, or what is wrong with it.

    Consecutive frames of one file are read in one go; one file is held at a time.
    """
    start = 0
    while start < len(frames):
        stop = start + 1
        while stop < len(frames) and frames[stop].path == frames[start].path:
            stop += 1
        try:
            yield from _read_file(frames[start:stop])
        except (BadInput, NotACine) as error:
            yield from [BadInput(str(error))] * (stop - start)
        start = stop


def _read_file(frames: Sequence[Frame]) -> list[np.ndarray | BadInput]:
    import pydicom

    path = frames[0].path
    with _sentences(path), _quiet():
        data = pydicom.dcmread(path, force=True)
        _check_pixels(data, path)
        if "TransferSyntaxUID" not in data.file_meta:  # an old file without its first part
            syntax = pydicom.uid.ImplicitVRLittleEndian
            explicit = pydicom.uid.ExplicitVRLittleEndian
            data.file_meta.TransferSyntaxUID = syntax if data.original_encoding[0] else explicit
        numbers = [frame.number for frame in frames]
        pictures = list(pydicom.pixels.iter_pixels(data, indices=numbers))
        high = 2 ** _whole(data, "BitsStored", 16) - 1
        inverted = _text(data, "PhotometricInterpretation") == "MONOCHROME1"
    found: list[np.ndarray | BadInput] = []
    for frame, picture in zip(frames, pictures, strict=True):
        values = grey(picture, path.name)
        if values.shape != frame.shape:
            raise BadInput(f"{path.name}: its pixels are not of the size that its header gives")
        if inverted:
            values = high - values.astype(np.int64)
        if (frame.slope, frame.intercept) != (1, 0):
            values = (values * frame.slope + frame.intercept).astype(np.float32)
        found.append(values)
    return found


def _check_pixels(data: Any, path: Path) -> None:
    """Pass pixel data of the size that the header gives, before anything is decoded."""
    if "PixelData" not in data:
        raise BadInput(f"{path.name}: the file holds no pixel data; truncated?")
    if not _is_compressed(data):
        _check_length(data, len(data.PixelData))
        return
    rows, columns = _whole(data, "Rows"), _whole(data, "Columns")
    for size in _codestream_sizes(data.PixelData):
        if size != (rows, columns):
            raise BadInput(
                f"{path.name}: compressed pixels of {size[1]}×{size[0]}, but the header says "
                f"{columns}×{rows}"
            )


def _check_length(header: Any, length: int) -> None:
    """Pass ``length`` bytes as enough for the pixels that the header claims."""
    pixels = _whole(header, "Rows") * _whole(header, "Columns")
    count = _whole(header, "SamplesPerPixel", 1) * _whole(header, "NumberOfFrames", 1)
    expected = pixels * count * _whole(header, "BitsAllocated") // 8
    check_size(expected, "PixelData")
    subsampled = "422" in _text(header, "PhotometricInterpretation")
    if length < expected and not subsampled and not _is_compressed(header):
        raise BadInput(f"{length} bytes of pixels, {expected} were expected; truncated?")


def _is_compressed(header: Any) -> bool:
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    return syntax is not None and not syntax.is_private and syntax.is_compressed


def _codestream_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """The (rows, columns) that each compressed JPEG or JPEG 2000 frame claims for itself.

    A decoder takes memory by these, so they must be those of the header.
    """
    from pydicom.encaps import generate_fragments

    for fragment in generate_fragments(data):
        if fragment[:4] == b"\xff\x4f\xff\x51" and len(fragment) >= 24:  # JPEG 2000: SOC, SIZ
            width, height, left, top = struct.unpack(">4I", fragment[8:24])
            yield height - top, width - left
        elif fragment[:2] == b"\xff\xd8":  # JPEG and JPEG-LS: segments up to a start of frame
            place = 2
            while place + 9 <= len(fragment) and fragment[place] == 0xFF:
                marker, length = struct.unpack(">BH", fragment[place + 1 : place + 4])
                is_start = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
                if is_start or marker == 0xF7:
                    yield struct.unpack(">HH", fragment[place + 5 : place + 9])
                    break
                place += 2 + length


def _frames(path: Path, header: Any) -> list[Frame]:
    """The frames that a header lists, every field checked."""
    count = _whole(header, "NumberOfFrames", 1)
    shape = _whole(header, "Rows"), _whole(header, "Columns")
    if min(shape) < 1 or not 1 <= count <= MAX_FRAMES:
        raise BadInput(f"{shape[1]}×{shape[0]} px and {count} frames in the header")
    per_frame = list(header.get("PerFrameFunctionalGroupsSequence", None) or [])
    if per_frame and len(per_frame) != count:
        raise BadInput(f"{len(per_frame)} frames described, but {count} in the header")
    series = _series(header)
    return [
        _frame(path, header, per_frame[number : number + 1], number, count, shape, series)
        for number in range(count)
    ]


def _frame(
    path: Path, header: Any, own: list, number: int, count: int, shape: tuple, series: Series
) -> Frame:
    """One frame; of a multi-frame object, ``own`` holds what its header says of this one alone."""
    places = [*own, *(header.get("SharedFunctionalGroupsSequence", None) or [])[:1]]

    def find(group: str, keyword: str) -> Any:
        """The data set that has the element: of the frame, of all frames, or the header."""
        for place in places:
            item = next(iter(place.get(group, None) or []), None)
            if item is not None and keyword in item:
                return item
        return header

    delay = "NominalCardiacTriggerDelayTime"
    trigger = _number(find("CardiacSynchronizationSequence", delay), delay)
    instance = _whole(find("FrameContentSequence", "TemporalPositionIndex"),
                      "TemporalPositionIndex", number)  # fmt: skip
    if count == 1 and not own:
        trigger, instance = _number(header, "TriggerTime"), _whole(header, "InstanceNumber", -1)
    elif math.isnan(trigger):
        trigger = _number(header, "FrameTime") * number
    values = find("PixelValueTransformationSequence", "RescaleSlope")
    slope = _number(values, "RescaleSlope", 1.0)
    if slope == 0:
        raise BadInput("RescaleSlope is 0")
    position = find("PlanePositionSequence", "ImagePositionPatient")
    return Frame(
        path,
        number,
        shape,
        _spacing(header, find("PixelMeasuresSequence", "PixelSpacing")),
        _numbers(position, "ImagePositionPatient", 3),
        _orientation(find("PlaneOrientationSequence", "ImageOrientationPatient")),
        trigger,
        instance,
        slope,
        _number(values, "RescaleIntercept", 0.0),
        series,
    )


def _series(header: Any) -> Series:
    kinds = header.get("ImageType", None) or []
    images = _number(header, "CardiacNumberOfImages")
    return Series(
        uid=_text(header, "SeriesInstanceUID"),
        study=_text(header, "StudyInstanceUID"),
        patient=(
            _text(header, "PatientID"),
            _text(header, "PatientName"),
            _text(header, "PatientBirthDate"),
        ),
        descriptions=(_text(header, "SeriesDescription"), _text(header, "ProtocolName")),
        number=_number(header, "SeriesNumber"),
        kind=str(kinds[2]) if not isinstance(kinds, str) and len(kinds) > 2 else "",
        thickness_mm=_number(header, "SliceThickness"),
        location_mm=_number(header, "SliceLocation"),
        interval_ms=_number(header, "NominalInterval") / images if images > 0 else math.nan,
        instance_uid=_text(header, "SOPInstanceUID"),
    )


def _spacing(header: Any, measures: Any) -> tuple[float, float]:
    pair = _numbers(measures, "PixelSpacing", 2)
    if pair is None:
        regions = header.get("SequenceOfUltrasoundRegions", None) or []
        if len(regions) == 1 and _number(regions[0], "PhysicalUnitsXDirection") == 3:  # cm
            row, column = (10 * abs(_number(regions[0], f"PhysicalDelta{a}")) for a in "YX")
            return known((row, column))
        return UNKNOWN
    if min(pair) <= 0:
        raise BadInput(f"PixelSpacing is {pair[0]:g}, {pair[1]:g}; positive numbers were expected")
    return pair[0], pair[1]


def _orientation(place: Any) -> tuple[float, ...] | None:
    found = _numbers(place, "ImageOrientationPatient", 6)
    if found is None:
        return None
    row, column = np.array(found[:3]), np.array(found[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 0.01:
        raise BadInput("ImageOrientationPatient is no pair of perpendicular unit vectors")
    return found


def _text(header: Any, keyword: str) -> str:
    value = header.get(keyword, None)
    return "" if value is None else str(value).strip("\0 ")


def _numbers(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None where the element is missing or empty.

    Raises:
      BadInput: when it holds something else.
    """
    value = header.get(keyword, None)
    if value is None or value == "":
        return None
    try:
        values = (value,) if isinstance(value, str | bytes | int | float) else tuple(value)
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise BadInput(f"{keyword} is {str(value)[:40]!r}; expected {wanted}")
    return found


def _number(header: Any, keyword: str, default: float = math.nan) -> float:
    found = _numbers(header, keyword, 1)
    return default if found is None else found[0]


def _whole(header: Any, keyword: str, default: int = 0) -> int:
    return int(_number(header, keyword, default))


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn whatever is raised inside into a BadInput of one sentence that names the file."""
    try:
        yield
    except (BadInput, NotACine) as error:
        text = str(error)
        raise type(error)(text if text.startswith(path.name) else f"{path.name}: {text}") from error
    except Exception as error:  # a damaged file makes pydicom and its decoders raise anything
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read as DICOM ({cause})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from warning of what is checked here."""
    from pydicom import config

    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
