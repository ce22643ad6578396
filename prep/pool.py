"""Where the cases of a command are worked on: processes of this machine, or a dask engine."""

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from jssm.engine import Engine


@dataclass(frozen=True)
class Pool:
    """jobs: processes, -1 for one per core; engine: its workers take their place."""

    jobs: int = 1
    engine: "Engine | None" = None

    def each(
        self, label: str, function: Callable, arguments: Sequence[tuple], *, unit: str = "case"
    ) -> list:
        """``function(*arguments[i])`` for every i, in parallel, in order; with a progress bar.

        The first call that raises ends it.
        """
        if self.engine is None:
            done = self._here(function, arguments)
        else:
            done = self.engine.results((_alone, (function, *args), {}) for args in arguments)
        found = dict(tqdm(done, desc=label, total=len(arguments), unit=unit, disable=None))
        return [found[i] for i in range(len(arguments))]

    def _here(self, function: Callable, arguments: Sequence[tuple]) -> Iterator[tuple[int, Any]]:
        from joblib import Parallel, delayed

        calls = (delayed(_numbered)(i, function, args) for i, args in enumerate(arguments))
        yield from Parallel(n_jobs=self.jobs, return_as="generator_unordered")(calls)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--dask``."""
    parser.add_argument("--dask", default="", metavar="ADDRESS", help="of a dask scheduler, such "
        "as tcp://host:8786, whose workers take the place of processes here")  # fmt: skip


@contextmanager
def opened(jobs: int, address: str, out: Path) -> Iterator[Pool]:
    """The pool for a command that writes to ``out``; ``address`` is what --dask says, or "".

    Raises:
      OSError: when dask is missing, or no scheduler answers.
    """
    if not address:
        yield Pool(jobs)
        return
    from jssm import engine

    with engine.connected(address, out.absolute(), "prep") as found:
        yield Pool(jobs, found)


_ALONE = threading.Lock()


def _alone(function: Callable, *args: Any) -> Any:
    """On a worker: one call at a time in its process, since ITK's random numbers are all one
    process's."""
    with _ALONE:
        return function(*args)


def _numbered(number: int, function: Callable, args: tuple) -> tuple[int, Any]:
    return number, function(*args)
