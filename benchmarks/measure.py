"""Timing things beside one another, and naming the machine that did it."""

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

WARM_UPS = 2  # the first call compiles; the second finds caches as later ones do
REST_S = 0.1  # before each call: PyTorch's threads stay busy for a while after their work is done
QUEUED = 10  # calls that a GPU is given at once


@dataclass(frozen=True)
class Timing:
    """Seconds of one call over several rounds: median and quartiles, and each round's."""

    median_s: float
    lower_s: float
    upper_s: float
    rounds_s: tuple[float, ...]

    def ms_per(self, items: int) -> float:
        """The median in milliseconds per item, for a call that does ``items`` of them."""
        return 1e3 * self.median_s / items

    def per_second(self, items: int) -> float:
        """Items per second at the median, for a call that does ``items`` of them."""
        return items / self.median_s

    def spread_percent(self) -> float:
        """Half the distance between the quartiles, in percent of the median."""
        return 50 * (self.upper_s - self.lower_s) / self.median_s


def measure(
    functions: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    queued: int = 1,
    rest_s: float = REST_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times all ``functions`` in turn, round after round, so that what slows the machine for a
    while slows all of them.

    Each is called ``WARM_UPS`` times. Then a round rests for ``rest_s`` (seconds), calls it
    ``queued`` times, waits for the last result, and counts the time per call, by ``clock``
    (seconds).

    Raises:
      ValueError: when there is no round.
    """
    if min(repeats, queued) < 1:
        raise ValueError(f"repeats is {repeats} and queued {queued}, expected at least 1")
    calls = len(functions) * (WARM_UPS + repeats)
    rounds: dict[str, list[float]] = {name: [] for name in functions}
    with tqdm(total=calls, desc="measuring", unit="round", leave=False, disable=None) as bar:
        for function in functions.values():
            for _ in range(WARM_UPS):
                _wait(function())
                bar.update()
        for _ in range(repeats):
            for name, function in functions.items():
                time.sleep(rest_s)
                start = clock()
                for _ in range(queued):
                    result = function()
                _wait(result)
                rounds[name].append((clock() - start) / queued)
                bar.update()
    return {name: _summary(times) for name, times in rounds.items()}


def has_gpu() -> bool:
    """Whether JAX computes on a GPU."""
    return jax.default_backend() == "gpu"


def calls_at_once() -> int:
    """How many calls to queue: a GPU gets several, as in training, a CPU waits for each."""
    return QUEUED if has_gpu() else 1


def _wait(result: Any) -> None:
    """Until the devices have done what was asked of them, by JAX or by PyTorch."""
    jax.block_until_ready(result)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _summary(times: list[float]) -> Timing:
    lower, median, upper = (float(q) for q in np.percentile(times, [25, 50, 75]))
    return Timing(median, lower, upper, tuple(times))


def machine() -> dict[str, str | int]:
    """What was measured on: processor, cores, GPU where JAX has one, and versions."""
    device = jax.devices()[0]
    described: dict[str, str | int] = {"processor": _processor(), "cores": os.cpu_count() or 1}
    if device.platform != "cpu":
        described["gpu"] = device.device_kind
    described["python"] = platform.python_version()
    for package in ("jax", "torch", "deodr"):
        try:
            described[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return described


def _processor() -> str:
    """The processor's name; Linux has it in a file, other systems tell Python."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
