"""Words in anything that was written: names of files, their bytes, and what is packed in them."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

CODES = ("utf-8", "utf-16-le", "utf-16-be")


def leaks(folder: Path, words: Sequence[str]) -> list[tuple[str, str]]:
    """Each place under ``folder`` that has one of the words, with the word."""
    return [
        (place, word)
        for path in sorted(folder.rglob("*"))
        for place, content in _told(path, folder)
        for word in words
        if any(word.encode(code) in content for code in CODES)
    ]


def _told(path: Path, folder: Path) -> Iterator[tuple[str, bytes]]:
    name = path.relative_to(folder).as_posix()
    yield name, name.encode()
    if path.is_file():
        content = path.read_bytes()
        yield name, content
        for part in _unpacked(content):
            yield f"{name}, unpacked", part


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            yield from (file.read(member).replace(b"\0\0\0", b"") for member in file.infolist())
    elif content.startswith(b"\x89PNG"):
        at = 8
        while at < len(content):
            length = int.from_bytes(content[at : at + 4], "big")
            kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
            if kind == b"zTXt":
                yield zlib.decompress(body.partition(b"\0")[2][1:])
            at += 12 + length
