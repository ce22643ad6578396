"""Batches on their way to the devices, so that a training step never waits for data.

A data set that fits lives on the devices, and a batch is gathered there; a larger one is read by
threads, a few batches ahead.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jssm import dataset as dataset_lib
from jssm.dataset import Dataset
from jssm.methods.method import AXIS
from jssm.training import hosts

RESIDENT_SHARE = 0.25  # of a device's memory that a data set may take
AHEAD = 2  # batches

T = TypeVar("T")


def replicate(tree: Any, devices: list[jax.Device]) -> Any:
    """The arrays of ``tree`` on every device."""
    return jax.device_put(tree, _sharding(devices, PartitionSpec()))


def place(batch: dict[str, Any], devices: list[jax.Device]) -> dict[str, jax.Array]:
    """A batch (n, ...) split over the devices, (devices, n / devices, ...); scalars go to each."""
    count = len(devices)
    split = {
        name: np.broadcast_to(value, (count,))
        if np.ndim(value) == 0
        else np.reshape(value, (count, -1, *np.shape(value)[1:]))
        for name, value in batch.items()
    }
    return jax.device_put(split, _sharding(devices, PartitionSpec(AXIS)))


class Feed:
    """The cases of ``data`` as batches on ``devices``, as :func:`place` gives them.

    Of several processes each reads its own part of a batch.
    """

    def __init__(self, data: Dataset, devices: list[jax.Device], *, resident: bool | None = None):
        """resident: whether the data set lives on the devices; by default where it fits."""
        self._data, self._devices, self._resident = data, devices, None
        arrays = dataset_lib.arrays(data)
        if resident is None:
            size = sum(array.nbytes for array in arrays.values())
            resident = size <= RESIDENT_SHARE * _memory(devices[0])
        if resident:
            # A copy of what is on the disk, so that no step reads a file.
            self._resident = replicate(jax.tree.map(np.array, arrays), devices)
        self._gather = jax.jit(
            lambda arrays, rows: jax.tree.map(lambda array: array[rows], arrays),
            out_shardings=_sharding(devices, PartitionSpec(AXIS)),
        )

    def batches(self, order: np.ndarray) -> Iterator[dict[str, jax.Array]]:
        """This process's part of the cases of each row of ``order`` (batches, n)."""
        yield from self._placed(order[:, hosts.part(order.shape[1])])

    def _placed(self, order: np.ndarray) -> Iterator[dict[str, jax.Array]]:
        if self._resident is not None:
            for rows in order:
                yield self._gather(self._resident, place({"rows": rows}, self._devices)["rows"])
        else:
            yield from ahead(lambda rows: place(self._read(rows), self._devices), order)

    def whole_batches(self, order: np.ndarray) -> Iterator[dict[str, Any]]:
        """All cases of each row, each (n, ...) on one device, or in the host's memory where this
        process has several.

        Of arrays on all devices XLA spreads the work over them too, and it has hung.
        """
        if self._resident is not None and len(self._devices) == 1:
            for batch in self._placed(order):
                yield {name: array[0] for name, array in batch.items()}
        else:
            yield from ahead(self._read, order)

    def on_one_device(self, tree: Any) -> Any:
        """The arrays of ``tree``, as :func:`replicate` gives them, where whole batches go."""
        return jax.device_put(tree, self._devices[0])

    def _read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return next(dataset_lib.batches(self._data, rows[None]))


def ahead(read: Callable[[np.ndarray], T], order: np.ndarray) -> Iterator[T]:
    """``read(rows)`` for each row of ``order``, by threads that are a few batches ahead."""
    with ThreadPoolExecutor(AHEAD) as readers:
        waiting: deque = deque()
        for rows in order:
            waiting.append(readers.submit(read, rows))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _sharding(devices: list[jax.Device], spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), spec)


def _memory(device: jax.Device) -> int:
    """The bytes that a device has in all."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
