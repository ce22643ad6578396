"""Several processes, on one host or on many, that train one model together.

All run the same command. A training step is one program on the devices of all of them, each feeds
its own devices with its part of every batch, and gradients are means over the whole. So that they
never part, what they decide by is told to all: where the run stands and the first weights by the
first process, which alone writes; the scores of a validation by all. A process without others does
none of it.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

JOIN_S = 300  # to wait for the others at the start
# Of what XLA says when another process is gone.
SIGNS_OF_LOSS = ("Gloo", "NCCL", "coordination service", "Connection closed", "Socket closed")


class Alone(Exception):
    """This process cannot go on, and the others wait for it in vain; its cause says why."""


def wrong_flags(
    coordinator: str | None, processes: int | None, process: int | None, *, scheduler: bool
) -> str | None:
    """What is wrong with the flags of :func:`join`, as one sentence, or None."""
    given = [value is not None for value in (coordinator, processes, process)]
    if scheduler and any(given):
        return "--distributed asks the scheduler for --coordinator, --processes and --process"
    if any(given) and not all(given):
        return "--coordinator, --processes and --process belong together; give all three or none"
    if coordinator is None or processes is None or process is None:
        return None
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        return f"--coordinator is {coordinator!r}, expected HOST:PORT"
    if processes < 1:
        return f"--processes is {processes}, expected 1 or more"
    if not 0 <= process < processes:
        return (
            f"--process is {process}, expected 0 to {processes - 1}, as --processes is {processes}"
        )
    return None


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    scheduler: bool = False,
    timeout_s: float = JOIN_S,
) -> None:
    """Join the other processes; with nothing given there are none.

    To be called before JAX computes anything. coordinator: HOST:PORT, where the first process
    listens and all others find it. processes, process: how many there are, and which this is,
    from 0. scheduler: the environment of Slurm, Open MPI, Kubernetes or a Cloud TPU has these.
    Where not all have come after ``timeout_s`` seconds, the process says so and ends.

    Raises:
      ValueError: when the values do not suit each other, the host is not known, the port is in use,
        or the environment is not that of a scheduler.
    """
    if wrong := wrong_flags(coordinator, processes, process, scheduler=scheduler):
        raise ValueError(wrong)
    if coordinator is None and not scheduler:
        return
    place = coordinator or "the host that the scheduler names"
    if coordinator:
        host, _, port = coordinator.rpartition(":")
        try:
            socket.getaddrinfo(host.strip("[]"), None)
        except OSError as error:
            raise ValueError(f"--coordinator: no host {host!r} is known ({error})") from error
        if process == 0:
            _check_port(int(port))
    # The loop has handlers of its own for signals. And JAX crashes where it has waited in vain.
    jax.config.update("jax_enable_preemption_service", False)
    waiting = threading.Timer(timeout_s, _give_up, [f"{place}, after {timeout_s:g} s"])
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(
            coordinator, processes, process, initialization_timeout=int(timeout_s) + 60
        )
    except ValueError as error:
        raise ValueError(
            "--distributed: the environment is not that of a scheduler which JAX knows (Slurm, "
            f"Open MPI, Kubernetes, Cloud TPU); give --coordinator ... instead ({error})"
        ) from error
    finally:
        waiting.cancel()


def _check_port(port: int) -> None:
    """Check that the port is free, for JAX may crash where it is not.

    Raises:
      ValueError: when it is in use, or only the administrator's.
    """
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=both).close()
    except OSError as error:
        raise ValueError(
            f"--coordinator: this process cannot listen at port {port} ({error.strerror})"
        ) from error


def _give_up(where: str) -> None:
    print(
        f"train.py: not all processes have come to {where}; is each of them running, with the "
        "same --coordinator and --processes and its own --process, and may they connect to it?",
        file=sys.stderr,
    )
    end_now(1)


def end_now(status: int) -> None:
    """End without a farewell, for which JAX would wait minutes and then crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def number() -> int:
    """Of processes."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return number() == 1 or jax.process_index() == 0


def on_first(make: Callable[[], AbstractContextManager]) -> AbstractContextManager:
    """What ``make`` gives in the first process, None in the others, as a context."""
    return make() if is_first() else nullcontext()


def all_devices(devices: list[jax.Device]) -> list[jax.Device]:
    """Those of all processes, process by process, of the kind of this one's ``devices``."""
    if number() == 1:
        return devices
    kind = devices[0].platform
    return [d for process in range(number()) for d in jax.local_devices(process, kind)]


def part(count: int) -> slice:
    """Which of the ``count`` cases of a batch this process feeds."""
    if number() == 1:
        return slice(count)
    own = count // number()
    return slice(own * jax.process_index(), own * (jax.process_index() + 1))


def joined(tree: Any) -> Any:
    """The arrays of all processes, which have the same shapes in each, joined along the first axis,
    process by process, as NumPy arrays."""
    return multihost_utils.process_allgather(tree, tiled=True) if number() > 1 else tree


def from_first(compute: Callable[[], Any], shapes: Any) -> Any:
    """The arrays that ``compute`` gives in the first process; shapes: a tree with theirs."""
    if number() == 1:
        return compute()
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return multihost_utils.broadcast_one_to_all(compute() if is_first() else empty)


def everyones(value: Any) -> list[Any]:
    """What each process gives here, of the kind that JSON can hold."""
    if number() == 1:
        return [value]
    written = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = joined(np.array([written.size]))
    rows = joined(np.resize(written, (1, sizes.max())))
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


@contextmanager
def all_or_none() -> Iterator[None]:
    """What is done within fails in every process when it fails in one.

    Raises:
      ValueError: in the others, with what that one said.
    """
    try:
        yield
    except Exception as error:
        everyones(str(error) or type(error).__name__)
        raise
    for process, problem in enumerate(everyones(None)):
        if problem is not None:
            raise ValueError(f"process {process}: {problem}")


def check_same(**values: Any) -> None:
    """Check that all processes have the same values, each of the kind that JSON can hold.

    Raises:
      ValueError: in all of them when they do not, with the names of those that differ.
    """
    first, *others = everyones(values)
    for process, other in enumerate(others, 1):
        if differing := [name for name in values if first[name] != other[name]]:
            raise ValueError(
                f"process {process} has other {' and '.join(differing)} than process 0"
            )


@contextmanager
def together(*common: type[Exception]) -> Iterator[None]:
    """What all do step by step. common: kinds of errors that all processes have at the same step.

    Raises:
      Alone: in place of any other error, except where there is one process.
    """
    try:
        yield
    except Exception as error:
        if number() == 1 or isinstance(error, common):
            raise
        raise Alone(f"process {jax.process_index()}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if any(sign in str(error) for sign in SIGNS_OF_LOSS):
        return "another process has ended; see what it said. The same command continues the run"
    return str(error) or type(error).__name__
