"""Calls on the workers of a dask scheduler that runs already (``--dask ADDRESS``; docs/SCALE.md).

A worker that dies costs the calls that it had in hand: the scheduler gives them to others. So a
call must leave the same behind when it is made twice. Needs the extra ``dask``.
"""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jssm import runtime
from jssm.code import digest_of
from jssm.version import __version__

if TYPE_CHECKING:
    from distributed import Client

Call = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]  # with its arguments
ANSWER_S = 10  # in which the scheduler has to answer
UNDER_WAY = 4000  # calls that the scheduler holds at a time: more than any engine has cores
LIBRARIES = ("jax", "jaxlib", "numpy", "scipy")  # on which the results' bytes depend


class Unusable(OSError):
    """There is no engine, or a worker of it would give other results or write them elsewhere; the
    message is one sentence."""


@contextmanager
def connected(address: str, out: Path, *packages: str) -> Iterator["Engine"]:
    """The engine whose scheduler listens at ``address``, such as tcp://host:8786.

    out: an absolute path, a folder that all workers have to see. packages: beside jssm, those whose
    code has to be the same there.

    Raises:
      Unusable: when dask is missing, or no scheduler answers.
    """
    if importlib.util.find_spec("distributed") is None:
        raise Unusable("--dask: dask is needed: pip install 'jssm[dask]'")
    from distributed import Client

    try:
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise Unusable(f"--dask {address}: no dask scheduler answers there") from error
    with client:
        if not client.nthreads():
            print(f"--dask {address}: no worker is there yet; waiting for one", file=sys.stderr)
        yield Engine(client, address, out, ("jssm", *packages))


class Engine:
    """The workers of one scheduler.

    Every call makes sure that its worker has this machine's code, and sees the folder of results.
    """

    def __init__(self, client: "Client", address: str, out: Path, packages: tuple[str, ...]):
        self._client, self._address = client, address
        self._needed = about(packages), out

    @property
    def workers(self) -> int:
        """How many calls it can work on at a time, now."""
        return sum(self._client.nthreads().values())

    def each(self, calls: Iterable[Call]) -> Iterator[tuple[int, Future]]:
        """The number of each call, from 0, and what came of it, as they are done.

        A call that raised, or during which worker after worker died, does not stop the others.

        Raises:
          Unusable: when a worker cannot take part, or the scheduler has gone.
        """
        from distributed import as_completed

        numbers: dict[Any, int] = {}
        waiting = enumerate(calls)
        running = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)

        def begin(count: int) -> None:
            for number, call in islice(waiting, count):
                future = self._client.submit(_called, *self._needed, *call, pure=False)
                numbers[future.key] = number
                running.add(future)

        begin(UNDER_WAY)
        for future, result in running:
            number, status = numbers.pop(future.key), future.status
            del future  # so that scheduler and worker forget it
            begin(1)
            yield number, self._done(status, result)

    def results(self, calls: Iterable[Call]) -> Iterator[tuple[int, Any]]:
        """The number of each call, from 0, and its result, as they are done.

        Raises:
          Exception: as :meth:`each`, and what a call raised.
        """
        for number, done in self.each(calls):
            yield number, done.result()

    def _done(self, status: str, result: Any) -> Future:
        """What came of a call, by dask's words."""
        from distributed import KilledWorker

        done: Future = Future()
        if isinstance(result, CancelledError) or status in ("cancelled", "lost"):
            raise Unusable(f"--dask {self._address}: the scheduler has gone")
        if status != "error":
            done.set_result(result)
            return done
        _, error, _ = result
        if isinstance(error, Unusable):
            raise error
        if isinstance(error, ImportError) or "Error during deserialization" in str(error):
            raise Unusable(
                f"--dask {self._address}: scheduler and workers need jssm {__version__} with its "
                f"extras, as it is here ({' '.join(str(error.__cause__ or error).split())})"
            )
        if isinstance(error, KilledWorker):
            count = error.allowed_failures + 1
            error = OSError(f"{count} workers died over it; was there too little memory?")
        done.set_exception(error)
        return done


@cache
def about(packages: tuple[str, ...]) -> dict[str, str]:
    """What the bytes of results depend on: the code of our packages, and versions of others."""
    ours = {name: f"{__version__} of the code {digest_of(name)[:8]}" for name in packages}
    return ours | {name: importlib.metadata.version(name) for name in LIBRARIES}


def _called(
    needed: Mapping[str, str],
    out: Path,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
) -> Any:
    """The call, on a worker.

    Raises:
      Unusable: when this worker cannot take part.
    """
    runtime.prepare()
    own = about(tuple(name for name in needed if name not in LIBRARIES))
    for name, version in needed.items():
        if own[name] != version:
            raise Unusable(f"{_worker()} has {name} {own[name]}, but {version} is needed")
    if not out.is_dir():
        raise Unusable(f"{_worker()} does not see {out}: a folder that all share was expected")
    return function(*args, **options)


def _worker() -> str:
    from distributed import get_worker

    return f"the worker {get_worker().address}"
