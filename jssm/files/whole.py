"""Files that appear whole or not at all, and folders that one program writes at a time."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, all of it or nothing: one that was there stays until the new one is whole.

    Text is written as UTF-8.

    Raises:
      OSError: when it cannot be written; then nothing is left of it.
    """
    # Two machines may do the same at once, with processes of one number.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder and be the only program that writes there, until the end or until it dies.

    Raises:
      OSError: when another one does so, or the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # which has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)  # the lock goes with the process; no file stays
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{folder}: another program writes there; wait for its end") from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
