"""Cines are written beside the computing, by processes of their own.

Encoders, DICOM objects and figures keep Python's interpreter busy, so threads would hold up the
computing. These processes import no JAX (see :mod:`jssm.cines.measures`).
"""

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from typing import Any

from jssm.cines.result import Result

MOST = 4
WRITERS = "jssm.cines.outputs"  # the module that they get ready, while the first cine is segmented


def usual_number() -> int:
    """One process for every two cores, at least one and at most :data:`MOST`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(max((cores or 1) // 2, 1), MOST)


class Writers:
    """Processes that write; without any, this one does.

    One that is ended from outside (as for want of memory) fails what was in its hands; others take
    its place.
    """

    def __init__(self, number: int):
        self.number = number
        self._pool = _started(number) if number else None

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., Any], *args: Any, **options: Any) -> Future:
        """Begin to call a function of a module, with arguments that can be pickled."""
        if self._pool is None:
            return _called(function, *args, **options)
        try:
            return self._pool.submit(function, *args, **options)
        except BrokenProcessPool:
            self._pool = _started(self.number)
            return self._pool.submit(function, *args, **options)


def write_cine(folder: Path, result: Result, **options: Any) -> Any:
    """``outputs.write``, imported where it is called."""
    from jssm.cines import outputs

    return outputs.write(folder, result, **options)


def get_ready() -> None:
    """What a process that writes does first."""
    importlib.import_module(WRITERS).get_ready()


def write_biplane(*args: Any, **options: Any) -> list[str]:
    """``sending.write_biplane``, imported where it is called."""
    from jssm.cines import sending

    return sending.write_biplane(*args, **options)


def write_page(out: Path, patient: str, folders: Sequence[Path]) -> None:
    """``pages.write_page``, imported where it is called."""
    from jssm.report import pages

    pages.write_page(out, patient, folders)


def result_of(future: Future) -> Any:
    """What a call gave, or its error.

    Raises:
      OSError: when its process was ended.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "the process that wrote it was ended; was there too little memory?"
        ) from error


def _called(function: Callable[..., Any], *args: Any, **options: Any) -> Future:
    """A call that is done already."""
    future: Future = Future()
    try:
        future.set_result(function(*args, **options))
    except Exception as error:
        future.set_exception(error)
    return future


def _started(number: int) -> ProcessPoolExecutor:
    # Forked ones would hold locks of JAX's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        number, mp_context=context, initializer=_prepare, initargs=(WRITERS,)
    )
    pool.submit(os.getpid)  # the first starts now, the others when there is more to do
    return pool


def _prepare(module: str) -> None:
    """Get ready, and live no longer than the parent, but survive its Ctrl-C: what is being written
    is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if module:
        importlib.import_module(module).get_ready()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
