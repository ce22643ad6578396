"""Reading archives of arrays (.npz) of which nothing is believed: no pickles, bounded memory."""

import io
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jssm.files.common import MAX_BYTES


def read_npz(path: str | Path, *, most: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an .npz, of at most ``most`` bytes together.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when it is damaged, holds anything but arrays of numbers and text, or claims more.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            size = sum(member.file_size for member in members)
            if size > most:
                raise ValueError(f"it claims {size / 2**30:.1f} GiB of arrays")
            return {m.filename.removesuffix(".npy"): _array(file.read(m)) for m in members}
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    # zipfile tells of damage by all of these; RuntimeError is a member with a password.
    except (
        ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError,
        OverflowError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"{path}: no archive of arrays, or a damaged one ({cause})") from error


def _array(content: bytes) -> np.ndarray:
    """One member. Its header may claim any size, so the bytes decide."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"an array of the format {version}")
    shape, by_column, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    rest = len(content) - stream.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize > rest:
        raise ValueError(f"an array of {shape} in {rest} bytes")
    flat = np.frombuffer(content, dtype, count, stream.tell()) if dtype.itemsize else np.empty(
        count, dtype
    )  # fmt: skip
    return flat.reshape(shape, order="F" if by_column else "C").copy()
