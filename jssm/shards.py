"""Pictures of a data set that do not fit one file, or one directory (prep/DATASET.md).

A folder ``images.zarr`` holds one array of Zarr 3, (N, S, S) uint8, in shards: files of many cases
with an index, so that any case is read by itself. TensorStore, which Orbax brings, reads and writes
it; every case and every index has a checksum.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorstore

CODECS = [
    {"name": "bytes"},
    # Masks shrink to an eightieth; level 1 takes 0.05 ms for a case of 224×224.
    {"name": "zstd", "configuration": {"level": 1}},
    {"name": "crc32c"},
]
INDEX_BYTES = 16  # of a shard's index, for each case
READS = 32  # at once: more than there are cores, for a distant disk is waited for


class Pictures:
    """Pictures (N, S, S) uint8 that stay on the disk; ``pictures[rows]`` reads those rows.

    Rows are what NumPy takes for a first axis. They are read all at once, by several threads.

    Raises, when they are read:
      ValueError: when a shard is missing or damaged, or the data set was written anew since it was
        opened.
    """

    def __init__(self, store: "tensorstore.TensorStore", seals: Sequence[Path]):
        """seals: files that are written last; what was read counts while they are the same."""
        self.store, self.seals = store, {path: _mark(path) for path in seals}
        self._rows = np.arange(store.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S)."""
        return tuple(self.store.shape)

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return self.store.dtype.numpy_dtype

    @property
    def nbytes(self) -> int:
        """Of all of them, when they are read."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        try:
            with _told(ValueError, "read"):
                return self.store[self._rows[rows]].read().result()
        finally:  # afterwards, whatever came of it: whoever writes breaks the seal first
            for path, mark in self.seals.items():
                if _mark(path) != mark:
                    raise ValueError(
                        f"{path.parent}: the data set was written anew while it was read"
                    )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def opened(folder: Path, seal: Path) -> Pictures:
    """The pictures of a folder of shards.

    Raises:
      FileNotFoundError: when a shard is missing.
      ValueError: when it is no such folder, or damaged, as far as that is seen without reading it.
    """
    import tensorstore

    with _told(ValueError, "read"):
        store = tensorstore.open(_spec(folder), read=True).result()
    shard, one = store.chunk_layout.write_chunk.shape, store.chunk_layout.read_chunk.shape
    if store.dtype.name != "uint8" or shard is None or one != (1, *store.shape[1:]):
        raise ValueError(f"{folder}: not 8-bit pictures (N, S, S), each of them by itself")
    cases = shard[0] or 1
    for number in range(-(-store.shape[0] // cases)):
        path = folder / f"{number}.0.0"
        if path.stat().st_size < INDEX_BYTES * cases:
            raise ValueError(f"{path}: the shard is cut off")
    return Pictures(store, [seal])


def joined(parts: Sequence[np.ndarray | Pictures]) -> Pictures:
    """The pictures of several data sets, those of the first first.

    Raises:
      ValueError: when they are of different sizes.
    """
    import tensorstore

    stores = [
        part.store if isinstance(part, Pictures) else tensorstore.array(part) for part in parts
    ]
    if len({store.shape[1:] for store in stores}) > 1:
        raise ValueError("the parts have images of different sizes")
    seals = [seal for part in parts if isinstance(part, Pictures) for seal in part.seals]
    return Pictures(tensorstore.concat(stores, axis=0), seals)


@contextmanager
def writer(
    folder: Path, count: int, size: int, shard_cases: int
) -> Iterator[Callable[[np.ndarray], None]]:
    """What takes ``count`` pictures (S, S) of 8-bit numbers, one after another, for a new
    ``folder`` with ``shard_cases`` of them in each shard. A shard appears whole or not at all.

    Raises:
      OSError: when they cannot be written.
    """
    import tensorstore

    with _told(OSError, "written"):
        store = tensorstore.open(_spec(folder, (count, size, size), shard_cases)).result()
    block = np.empty((min(shard_cases, count), size, size), np.uint8)
    taken = 0

    def take(picture: np.ndarray) -> None:
        nonlocal taken
        block[taken % shard_cases] = picture
        taken += 1
        if taken % shard_cases == 0 or taken == count:  # a shard at once, so its bytes are the same
            first = (taken - 1) // shard_cases * shard_cases
            with _told(OSError, "written"):
                store[first:taken].write(block[: taken - first]).result()

    yield take


def _spec(
    folder: Path, shape: tuple[int, int, int] | None = None, shard_cases: int = 0
) -> dict[str, Any]:
    """How TensorStore opens a folder, or with a shape begins it."""
    spec: dict[str, Any] = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder.resolve()}/"},
        "context": {"file_io_concurrency": {"limit": READS}},
        # Zeros are a mask; so they are written, and a missing shard is not taken for them.
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }
    if shape is None:
        return spec
    sharding = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": CODECS,
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
    }
    metadata = {
        "shape": shape,
        "data_type": "uint8",
        "fill_value": 0,
        "dimension_names": ["case", "row", "column"],
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [shard_cases, *shape[1:]]},
        },
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }
    return spec | {"metadata": metadata, "create": True}


@contextmanager
def _told(kind: type[Exception], what: str) -> Iterator[None]:
    """TensorStore's errors as ``kind``, in one sentence that names the file."""
    try:
        yield
    except ValueError as error:
        text = re.sub(r" \[\w+='.*", "", " ".join(str(error).split()))
        before, _, rest = text.rpartition('local file "')
        file, _, cause = rest.partition('"') if before else ("shards", "", rest)
        raise kind(f"{file}: cannot be {what} ({cause.lstrip(': ')})") from error


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Tells a file from another of its name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
