"""What a DICOM object shows: grey pictures of a cine, or something else that is passed over.

Decided by the class of the object and by what its pixels mean, never by their values.
"""

import re
from collections.abc import Sequence
from typing import Any

from jssm.files.header import frame_count, is_empty, items, text, texts, whole

# Objects whose own word for their kind is no image, also where the class is not told.
OTHER_MODALITIES = {"SEG", "PR", "RWV", "RTDOSE", "RTSTRUCT", "SR", "KO", "REG"}
DRAWN = "1.2.840.10008.5.1.4.1.1.66."  # classes of segmentations, also those newer than pydicom
NUCLEAR = ("Nuclear Medicine", "Positron")
VIDEO = re.compile("MPEG|HEVC")
# Words of Image Type and Frame Type from the third on, and what they tell of the pixels.
COMPONENTS = {
    "phase images": re.compile(r"P|PHASE|PHASE[ _]MAP|VELOCITY([ _]MAP)?|V"),
    "images of a real part": re.compile(r"R|REAL"),
    "images of an imaginary part": re.compile(r"I|IMAGINARY"),
}
DERIVED = {
    "localizers": re.compile(r"LOCALI[SZ]ER|SCOUT|SURVEY"),
    "derived maps": re.compile(
        r"(.*[ _])?(MAP|T[12](\*|[ _]?STAR)?MAP)|T[12](\*|[ _]?STAR)?|R[12](\*|[ _]?STAR)?"
        r"|ECV|ADC|TRACEW?|FA|PERFUSION|MTT|TTP|Z_SCORE|T_TEST|STD_DEVIATION|SUBTRACTION|QUANTITY"
    ),
    "projections of a volume": re.compile(r"PROJECTION IMAGE|MIP|MAX_IP|MIN_IP|VOLUME_RENDER"),
    "screen shots": re.compile(r"SCREEN[ _]?(SAVE|SHOT)|REPORT"),
}
# Private to GE: 0 magnitude, 1 phase, 2 real, 3 imaginary, and the name of its block.
GE_COMPONENT, GE_BLOCK = 0x0043102F, 0x00430010
# Units of measured quantities, as UCUM codes and as Rescale Type has them: of maps, not pictures.
QUANTITIES = {
    *("ms", "s", "1/s", "/s", "hz", "ppm", "[ppm]", "%", "rad", "mrad", "deg", "cm/s", "mm/s"),
    *("m/s", "mm2/s", "um2/s", "10-6.mm2/s", "ml/min", "ml/s", "mmhg", "mm[hg]"),
}
# What a Frame Increment Pointer of frames that do not follow in time points at: vectors of pages,
# slices, energies, detectors, rotations, angles, grid offsets, and steps of the positioner.
OTHER_STEPS = {
    *(0x00182001, 0x00182005, 0x00540010, 0x00540020, 0x00540050, 0x00540080, 0x00540090),
    *(0x3004000C, 0x00181520, 0x00181521),
}


def other_object(header: Any) -> str:
    """What the object is where it is no image of a cine at all; "" where it may be one."""
    from pydicom.uid import UID

    kind = UID(text(header, "SOPClassUID"))
    name = kind.name if kind and kind.name != kind else ""
    if name and "Image Storage" not in name:
        return f"no image, but {name}"
    if kind.startswith(DRAWN):
        return "no image, but a segmentation"
    if "Secondary Capture" in name and not _is_movie(header):
        return f"no cine, but {name}"
    if any(word in name for word in NUCLEAR):
        return f"no cine, but {name}"
    if text(header, "Modality") in OTHER_MODALITIES:
        return f"no image, but an object of the modality {text(header, 'Modality')}"
    if whole(header, "BitsAllocated", 16) == 1:
        return "no image, but masks of one bit a pixel"
    pointers = header.get("FrameIncrementPointer", None)
    if frame_count(header) > 1 and not is_empty(header, "FrameIncrementPointer"):
        listed = [pointers] if isinstance(pointers, int) else list(pointers)
        if OTHER_STEPS & {int(tag) for tag in listed}:
            return "no cine, but frames that do not follow each other in time"
    return ""


def other_picture(header: Any, groups: Sequence[Any]) -> str:
    """What a frame shows where it is no grey picture of the heart; "" where it is one.

    groups: what the header says of this frame, and of all frames (functional groups).
    """
    frame_type = _first(groups, "MRImageFrameTypeSequence")
    words = [word.upper() for word in texts(header, "ImageType")[2:]]
    if frame_type is not None:
        own = [word.upper() for word in texts(frame_type, "FrameType")[2:]]
        words = own or words
    component = text(frame_type or {}, "ComplexImageComponent") or text(
        header, "ComplexImageComponent"
    )
    is_mr = text(header, "Modality") in ("MR", "")
    words = [component.upper(), *(words if is_mr else []), _ge_component(header)]
    for shown, pattern in COMPONENTS.items():
        if any(pattern.fullmatch(word) for word in words):
            return shown
    for shown, pattern in DERIVED.items():
        if any(pattern.fullmatch(word) for word in words):
            return shown
    for unit in _units(header, groups):
        if unit.lower() in QUANTITIES:
            return f"maps of values in {unit}"
    return ""


def is_video(syntax: str) -> bool:
    """Whether a transfer syntax is a video stream."""
    from pydicom.uid import UID

    return bool(VIDEO.search(UID(syntax).name))


def _is_movie(header: Any) -> bool:
    """Whether a captured object has several frames and says how they follow in time."""
    timed = not is_empty(header, "FrameTime") or not is_empty(header, "FrameTimeVector")
    return frame_count(header) > 1 and timed


def _ge_component(header: Any) -> str:
    block, value = (getattr(header.get(tag), "value", None) for tag in (GE_BLOCK, GE_COMPONENT))
    if "GEMS" not in str(block):
        return ""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little") if value else None
    return {"1": "PHASE", "2": "REAL", "3": "IMAGINARY"}.get(str(value), "")


def _units(header: Any, groups: Sequence[Any]) -> list[str]:
    """The units of the values, by the rescale type and by maps to real-world values."""
    found = []
    for place in (*groups, header):
        transformed = (*items(place, "PixelValueTransformationSequence"), place)
        found += [text(item, "RescaleType") for item in transformed]
        for mapping in items(place, "RealWorldValueMappingSequence"):
            codes = items(mapping, "MeasurementUnitsCodeSequence")
            found += [text(code, "CodeValue") for code in codes]
    return found


def _first(groups: Sequence[Any], keyword: str) -> Any:
    return next((item for group in groups for item in items(group, keyword)), None)
