"""One of two processes that train together: prints, as JSON, what its test looks at.

python -m tests.two_processes PORT PROCESS DATA RUN

The second finds the first by the environment that Slurm would give it.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm import dataset
from jssm.methods.method import AXIS
from jssm.training import feed, hosts, loop, steps
from tests import toy
from tests.eight_devices import first_batch, greatest_difference
from tests.runs import descent, stop_at

STOP_AT = 8  # the step with which the second process, alone, gets a signal


def gradients(directory: str) -> dict[str, float]:
    """How far one step moves the weights on four devices, of two processes; and, as the first of
    these finds, how far it ends from there on one, as a share of that."""
    step, start = descent(toy.config(directory, batch_size=16), toy.method())
    batch, devices = first_batch(dataset.load(directory)), jax.local_devices()
    own = {name: a[hosts.part(len(a))] if np.ndim(a) else a for name, a in batch.items()}
    state = feed.replicate(jax.tree.map(jnp.copy, start), devices)
    end = steps.parallel(step, devices)(state, feed.place(own, devices))[0].variables
    found = {"moved": greatest_difference(end["params"], start.variables["params"])}
    if hosts.is_first():
        one = jax.jit(jax.vmap(step, (None, 0), axis_name=AXIS))
        expected = one(start, feed.place(batch, devices[:1]))[0].variables
        expected = jax.tree.map(lambda a: a[0], expected)
        found["difference"] = greatest_difference(end, expected) / found["moved"]
    return found


def follow(directory: str, run: Path, *, is_second: bool) -> str:
    """Go on with a run until a signal that one process gets; what both say then. One reads its
    cases step by step, the other has them all on its devices."""
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch)
        patch.setattr(feed, "RESIDENT_SHARE", 0.25 * is_second)
        hook = stop_at(STOP_AT) if is_second else None
        with pytest.raises(loop.Stopped) as stopped:
            loop.train(
                toy.config(directory, batch_size=4, ema=0.9, points_epochs=1), run, on_step=hook
            )
    return str(stopped.value)


def refusals(directory: str, run: Path, *, is_second: bool) -> list[str]:
    """What a process says of settings that do not suit, of what is wrong with the other one, and of
    what differs between them."""
    said = []

    def note(work):
        with pytest.raises((ValueError, hosts.Alone)) as error:
            work()
        said.append(str(error.value))

    def one_fails():
        with hosts.all_or_none():
            if is_second:
                raise ValueError("no such file")

    def one_fails_alone():
        with hosts.together():
            raise OSError("no space left" if is_second else "Gloo: Connection closed by peer")

    note(lambda: loop.train(toy.config(directory, batch_size=2), run / "other"))
    note(one_fails)
    note(lambda: hosts.check_same(settings=1, data=[int(is_second), "é" * 9 * is_second]))
    note(one_fails_alone)
    return said


if __name__ == "__main__":
    port, process, data, folder = sys.argv[1:]
    second = process == "1"
    if second:
        hosts.join(scheduler=True)
    else:
        hosts.join(f"localhost:{port}", 2, 0)
    found = gradients(data) | {
        "stopped": follow(data, Path(folder), is_second=second),
        "refusals": refusals(data, Path(folder), is_second=second),
        "devices": [len(jax.local_devices()), len(jax.devices())],
    }
    print(json.dumps(found))
