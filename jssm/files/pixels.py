"""The pixels of DICOM frames as grey values; sizes are checked before memory is taken."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files.common import grey
from jssm.files.dicom import Frame
from jssm.files.errors import BadInput, NotACine
from jssm.files.header import (
    check_length,
    frame_count,
    is_compressed,
    quiet,
    sentences,
    text,
    whole,
)


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
    with sentences(path), quiet():
        data = pydicom.dcmread(path, force=True)
        _check_pixels(data, path)
        if "TransferSyntaxUID" not in data.file_meta:  # an old file without its first part
            syntax = pydicom.uid.ImplicitVRLittleEndian
            explicit = pydicom.uid.ExplicitVRLittleEndian
            data.file_meta.TransferSyntaxUID = syntax if data.original_encoding[0] else explicit
        meant = text(data, "PhotometricInterpretation")
        if meant == "YBR_FULL_422" and not is_compressed(data) and _is_whole(data):
            data.PhotometricInterpretation = "YBR_FULL"  # said to be subsampled, and is not
        pictures = list(pydicom.pixels.iter_pixels(data, indices=[f.number for f in frames]))
        if meant == "PALETTE COLOR":
            pictures = [pydicom.pixels.apply_color_lut(p, data) for p in pictures]
        high = 2 ** whole(data, "BitsStored", 16) - 1
    found: list[np.ndarray | BadInput] = []
    for frame, picture in zip(frames, pictures, strict=True):
        values = grey(picture, path.name)
        if values.shape != frame.shape:
            raise BadInput(f"{path.name}: its pixels are not of the size that its header gives")
        if meant == "MONOCHROME1":
            values = high - values.astype(np.int64)
        if (frame.slope, frame.intercept) != (1, 0):
            values = (values * frame.slope + frame.intercept).astype(np.float32)
        found.append(values)
    return found


def _check_pixels(data: Any, path: Path) -> None:
    """Refuse pixel data of another size than the header gives, before anything is decoded."""
    if "PixelData" not in data:
        raise BadInput(f"{path.name}: the file holds no pixel data; truncated?")
    if not is_compressed(data):
        check_length(data, len(data.PixelData))
        return
    rows, columns = whole(data, "Rows"), whole(data, "Columns")
    for size in _codestream_sizes(data.PixelData):
        if size != (rows, columns):
            raise BadInput(
                f"{path.name}: compressed pixels of {size[1]}×{size[0]}, but the header says "
                f"{columns}×{rows}"
            )


def _is_whole(data: Any) -> bool:
    """Whether there are three bytes for every pixel."""
    pixels = whole(data, "Rows") * whole(data, "Columns") * frame_count(data)
    return len(data.PixelData) >= 3 * pixels


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
