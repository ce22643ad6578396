"""Fields of a DICOM header, each checked before it is used, and errors as sentences."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jssm.files.common import check_size, silenced
from jssm.files.errors import BadInput, NotACine


def text(header: Any, keyword: str) -> str:
    """The field as text, "" where it is missing."""
    value = header.get(keyword, None)
    return "" if value is None else str(value).strip("\0 ")


def texts(header: Any, keyword: str) -> tuple[str, ...]:
    """The values of a field that may have several, as text."""
    value = header.get(keyword, None)
    if value is None:
        return ()
    values = (value,) if isinstance(value, str | bytes | int | float) else tuple(value)
    return tuple(str(v).strip("\0 ") for v in values)


def numbers(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None where the element is missing or empty.

    Some programs write the comma of their language in place of the decimal point.

    Raises:
      BadInput: when it holds something else.
    """
    if is_empty(header, keyword):
        return None
    value = header.get(keyword)
    try:
        values = (value,) if isinstance(value, str | bytes | int | float) else tuple(value)
        if len(values) == 1 < count and "." in str(value):
            values = tuple(str(value).split(","))  # a comma in the backslash's place
        found = tuple(float(str(v).replace(",", ".")) for v in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise BadInput(f"{keyword} is {str(value)[:40]!r}; expected {wanted}")
    return found


def number(header: Any, keyword: str, default: float = math.nan) -> float:
    """One finite number, ``default`` where the element is missing or empty."""
    found = numbers(header, keyword, 1)
    return default if found is None else found[0]


def loose(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """As :func:`numbers`, but None for anything else: for fields that frames can do without."""
    try:
        return numbers(header, keyword, count)
    except BadInput:
        return None


def whole(header: Any, keyword: str, default: int = 0) -> int:
    """One whole number, ``default`` where the element is missing or empty."""
    return int(number(header, keyword, default))


def is_empty(header: Any, keyword: str) -> bool:
    """Whether the element is missing, or there without a value."""
    value = header.get(keyword, None)
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def items(header: Any, keyword: str) -> list[Any]:
    """The items of a sequence, none where it is missing."""
    return list(header.get(keyword, None) or [])


def frame_count(header: Any) -> int:
    """The number of frames; 0, which some programs write for one picture, counts as 1."""
    return whole(header, "NumberOfFrames", 1) or 1


def check_length(header: Any, length: int) -> int:
    """How many bytes of pixels the header claims, where ``length`` bytes are enough for them.

    Raises:
      BadInput: when they are too few, or the header claims more than a cine may have.
    """
    pixels = whole(header, "Rows") * whole(header, "Columns")
    samples = whole(header, "SamplesPerPixel", 1)
    if samples == 3 and "422" in text(header, "PhotometricInterpretation"):
        samples = 2  # two pixels share their colour
    count = samples * frame_count(header)
    expected = pixels * count * whole(header, "BitsAllocated") // 8
    check_size(expected, "PixelData")
    if length < expected and not is_compressed(header):
        raise BadInput(f"{length} bytes of pixels, {expected} were expected; truncated?")
    return expected


def is_compressed(header: Any) -> bool:
    """Whether the transfer syntax says that the pixels are compressed."""
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    return syntax is not None and not syntax.is_private and syntax.is_compressed


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turn whatever is raised inside into a BadInput of one sentence that names the file."""
    try:
        yield
    except (BadInput, NotACine) as error:
        sentence = str(error)
        raise type(error)(
            sentence if sentence.startswith(path.name) else f"{path.name}: {sentence}"
        ) from error
    except Exception as error:  # a damaged file makes pydicom and its decoders raise anything
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read as DICOM ({cause})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning of what is checked here."""
    from pydicom import config

    with silenced("pydicom"), warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield
