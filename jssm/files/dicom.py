"""DICOM files: what their headers say of each frame.

Headers are read without the pixels, so that a large folder needs little memory. Nothing in a
header is trusted: every number is checked before it is used, and sizes before memory is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files import kinds
from jssm.files.cine import UNKNOWN, known
from jssm.files.errors import BadInput, NotACine
from jssm.files.header import (
    check_length,
    frame_count,
    is_compressed,
    is_empty,
    items,
    loose,
    number,
    numbers,
    quiet,
    sentences,
    text,
    texts,
    whole,
)

SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_FRAMES = 20_000  # of one file
DEFLATED = "1.2.840.10008.1.2.1.99"
NO_DIRECTION = "ImageOrientationPatient is no pair of perpendicular unit vectors"
CENTIMETRE = 3  # as the unit of an ultrasound region's axis
SAME = 0.01  # two sources of one length agree within this share of it
TAGS: list[Any] = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ImageType"),
    *("PatientName", "PatientID", "PatientBirthDate", "SeriesDescription", "ProtocolName"),
    *("SeriesNumber", "InstanceNumber", "TriggerTime", "NominalInterval", "HeartRate"),
    *("CardiacNumberOfImages", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"),
    *("PixelSpacing", "SliceThickness", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "Modality"),
    *("SequenceOfUltrasoundRegions", "PhotometricInterpretation", "PixelAspectRatio"),
    *("FrameTime", "FrameTimeVector", "FrameIncrementPointer", "ComplexImageComponent"),
    *("RealWorldValueMappingSequence", "ViewName", "ViewCodeSequence"),
    *(kinds.GE_BLOCK, kinds.GE_COMPONENT),
]


@dataclass(frozen=True)
class Frame:
    """What a header says of one frame.

    path, number: the file and the frame in it, from 0. shape: (rows, columns).
    spacing_mm: (row, column). aspect: height over width of a pixel where that alone is told, else
    1. position, orientation: of the patient, LPS, or None. time_ms: of the frame, NaN where
    unknown; clock: the field that tells it. turn: its place in the order of times, -1 where not
    told; instance: its file's number, -1 where that has none. slope, intercept:
    value = slope · stored + intercept. series: what all frames of a file share. other: what it
    shows where it is no grey picture. notes: sentences about its numbers.
    """

    path: Path
    number: int
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    aspect: float
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    time_ms: float
    clock: str
    turn: int
    instance: int
    slope: float
    intercept: float
    series: "Series"
    other: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """What a header says of the series; texts are "" and numbers NaN where it does not.

    is_loop: its file holds several frames that no more is told of than that they follow in time, so
    that it is a cine of its own. phases: images of a heart beat. interval_ms, heart_rate: the beat.
    """

    uid: str
    study: str
    modality: str
    patient: tuple[str, str, str]  # id, name, date of birth
    descriptions: tuple[str, ...]
    number: float
    kind: str  # the third part of ImageType, such as M or P
    thickness_mm: float
    location_mm: float
    interval_ms: float
    heart_rate: float
    phases: float
    instance_uid: str
    is_loop: bool


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
      NotACine: when it is sound, but no image of a cine.
    """
    import pydicom

    if path.stat().st_size == 0:
        raise BadInput(f"{path.name}: the file is empty")
    with sentences(path), quiet():
        marked = _is_marked(path)
        if marked:
            meta = pydicom.filereader.read_file_meta_info(path)
            syntax = str(meta.get("TransferSyntaxUID", "")).strip("\0 ")
            if syntax == DEFLATED:
                raise NotACine("deflated DICOM is not read; inflate it first")
            if kinds.is_video(syntax):
                raise NotACine("DICOM with a video stream is not read; turn it into frames first")
        with path.open("rb") as file:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, force=not marked, specific_tags=TAGS
            )
            rest = path.stat().st_size - file.tell()  # from the pixel data's tag on
        if other := kinds.other_object(header):
            raise NotACine(other)
        if "Rows" not in header or "Columns" not in header:
            if not text(header, "SOPClassUID"):
                raise BadInput("not a DICOM file, or cut off in its header")
            raise BadInput("the header has no Rows or no Columns; truncated?")
        expected = check_length(header, rest)
        return _frames(path, header, 0 if is_compressed(header) else rest // max(expected, 1))


def _frames(path: Path, header: Any, held: int) -> list[Frame]:
    """The frames that a header lists, every field checked.

    held: how many times as many pixels as the header claims there are, 0 where that is not known.
    """
    count = frame_count(header)
    shape = whole(header, "Rows"), whole(header, "Columns")
    if min(shape) < 1 or not 1 <= count <= MAX_FRAMES:
        raise BadInput(f"{shape[1]}×{shape[0]} px and {count} frames in the header")
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    if per_frame and len(per_frame) != count:
        raise BadInput(f"{len(per_frame)} frames described, but {count} in the header")
    series = _series(header, is_loop=count > 1 and not per_frame)
    shared = items(header, "SharedFunctionalGroupsSequence")[:1]
    times, clock, notes = _loop_times(header, count)
    if held > 1:
        notes.append(f"the file holds {held} times as many pixels as its header says; the rest "
                     "is not read")  # fmt: skip
    return [
        _frame(
            path, header, [*per_frame[n : n + 1], *shared], n, shape, series,
            (times[n], clock), notes,
        )
        for n in range(count)
    ]  # fmt: skip


def _frame(
    path: Path,
    header: Any,
    groups: list[Any],
    place: int,
    shape: tuple[int, int],
    series: Series,
    time: tuple[float, str],
    notes: Sequence[str],
) -> Frame:
    """One frame; ``groups`` hold what its header says of this one and of all frames alone."""

    def find(group: str, keyword: str) -> Any:
        """The data set that has the element: of the frame, of all frames, or the header."""
        inner = (item for place in groups for item in items(place, group)[:1])
        return next((item for item in inner if not is_empty(item, keyword)), header)

    for keyword in ("NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime"):
        delay = number(find("CardiacSynchronizationSequence", keyword), keyword)
        if math.isfinite(delay):
            time = delay, keyword
            break
    values = find("PixelValueTransformationSequence", "RescaleSlope")
    slope = number(values, "RescaleSlope", 1.0)
    if slope == 0:
        raise BadInput("RescaleSlope is 0")
    content = find("FrameContentSequence", "TemporalPositionIndex")
    measures = find("PixelMeasuresSequence", "PixelSpacing")
    spacing, aspect, remarks = _spacing(header, measures)
    orientation = _orientation(find("PlaneOrientationSequence", "ImageOrientationPatient"))
    if orientation == ():
        remarks.append(NO_DIRECTION)
    return Frame(
        path,
        place,
        shape,
        spacing,
        aspect,
        numbers(find("PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3),
        orientation or None,
        *time,
        whole(content, "TemporalPositionIndex", -1),
        whole(header, "InstanceNumber", -1),
        slope,
        number(values, "RescaleIntercept", 0.0),
        series,
        kinds.other_picture(header, groups),
        (*notes, *remarks),
    )


def _series(header: Any, *, is_loop: bool) -> Series:
    kind = texts(header, "ImageType")[2:3]
    view = [text(header, "ViewName")]
    view += [text(code, "CodeMeaning") for code in items(header, "ViewCodeSequence")]
    return Series(
        uid=text(header, "SeriesInstanceUID"),
        study=text(header, "StudyInstanceUID"),
        modality=text(header, "Modality"),
        patient=(
            text(header, "PatientID"),
            text(header, "PatientName"),
            text(header, "PatientBirthDate"),
        ),
        descriptions=(*view, text(header, "SeriesDescription"), text(header, "ProtocolName")),
        number=number(header, "SeriesNumber"),
        kind=kind[0] if kind else "",
        thickness_mm=number(header, "SliceThickness"),
        location_mm=number(header, "SliceLocation"),
        interval_ms=number(header, "NominalInterval"),
        heart_rate=(loose(header, "HeartRate", 1) or (math.nan,))[0],
        phases=number(header, "CardiacNumberOfImages"),
        instance_uid=text(header, "SOPInstanceUID"),
        is_loop=is_loop,
    )


def _loop_times(header: Any, count: int) -> tuple[Sequence[float], str, list[str]]:
    """The times of a file's frames in ms where its header tells them, by which field, and notes.

    The vector of frame times decides over the one frame time, if it fits the number of frames.
    """
    if count == 1:
        return [number(header, "TriggerTime")], "TriggerTime", []
    notes = []
    if not is_empty(header, "FrameTimeVector"):
        steps = loose(header, "FrameTimeVector", count)
        if steps is not None and min(steps[1:]) > 0:
            return list(accumulate((0.0, *steps[1:]))), "FrameTimeVector", []
        notes.append(f"FrameTimeVector does not hold {count} rising times and is not believed")
    step = number(header, "FrameTime")
    if step <= 0:
        notes.append(f"FrameTime is {step:g} ms and is not believed")
        step = math.nan
    return [n * step for n in range(count)], "FrameTime", notes


def _spacing(header: Any, measures: Any) -> tuple[tuple[float, float], float, list[str]]:
    """The spacing (row, column) of a frame, the aspect where that alone is told, and notes.

    Where ultrasound regions and PixelSpacing both tell it, and differ, the regions decide.
    """
    notes = []
    pair = numbers(measures, "PixelSpacing", 2)
    if pair is not None and min(pair) <= 0:
        listed = f"{pair[0]:g}, {pair[1]:g}"
        notes.append(f"PixelSpacing is {listed}; positive numbers were expected")
        pair = None
    regions = _region_spacings(header)
    if len(regions) > 1:
        notes.append("its ultrasound regions have unlike scales, so none is believed")
    region = next(iter(regions)) if len(regions) == 1 else None
    if region is not None:
        if pair is not None and not np.allclose(pair, region, rtol=SAME):
            notes.append(
                f"PixelSpacing is {pair[0]:g}, {pair[1]:g} mm, but the ultrasound regions have "
                f"{region[0]:g}, {region[1]:g} mm, which are believed"
            )
        pair = region
    ratio = loose(header, "PixelAspectRatio", 2)
    spacing = UNKNOWN if pair is None else (pair[0], pair[1])
    if ratio is None or min(ratio) <= 0:
        return spacing, 1.0, notes
    aspect = ratio[0] / ratio[1]
    if pair is None:
        return spacing, aspect, notes
    if abs(pair[0] / pair[1] / aspect - 1) > SAME:
        notes.append(
            f"PixelAspectRatio is {ratio[0]:g}:{ratio[1]:g}, but the spacing {pair[0]:g}, "
            f"{pair[1]:g} mm, which is believed"
        )
    return spacing, 1.0, notes


def _region_spacings(header: Any) -> set[tuple[float, float]]:
    """The spacings of the ultrasound regions that are measured in cm."""
    found = set()
    for region in items(header, "SequenceOfUltrasoundRegions"):
        units = {number(region, f"PhysicalUnits{a}Direction") for a in "XY"}
        if units == {CENTIMETRE} and number(region, "RegionSpatialFormat", 1) == 1:
            row, column = (10 * abs(number(region, f"PhysicalDelta{a}")) for a in "YX")
            found.add(known((row, column)))
    return found - {UNKNOWN}


def _orientation(place: Any) -> tuple[float, ...] | None:
    """The direction cosines; None where they are not told, () where they are none."""
    found = numbers(place, "ImageOrientationPatient", 6)
    if found is None:
        return None
    row, column = np.array(found[:3]), np.array(found[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 0.01:
        return ()
    return found
