"""Training over several processes: two real ones of two devices each, on this machine."""

import json
import os
import socket
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

from jssm import checkpoint
from jssm.training import hosts, loop
from tests import toy
from tests.conftest import write_dataset
from tests.runs import records, stop_at


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one process, not interrupted; the same one, begun by one process, continued by two
    and ended by one; and what the two found."""
    folder = tmp_path_factory.mktemp("hosts")
    data = write_dataset(folder / "data", cases=38)  # seven to validate with, by four
    config = toy.config(data, batch_size=4, ema=0.9, points_epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch)
        loop.train(config, folder / "whole")
        with pytest.raises(loop.Stopped, match="after step 4;"):
            loop.train(config, folder / "parts", on_step=stop_at(2))
        found = start_two(data, folder / "parts")
        loop.train(config, folder / "parts")
    return folder / "whole", folder / "parts", found


def start_two(data, run):
    """What each of two processes found, each with two devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    }
    slurm = {"JOB_ID": 1, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": 1, "LOCALID": 0}
    environment |= {f"SLURM_{name}": str(value) for name, value in slurm.items()}
    environment["JAX_COORDINATOR_PORT"] = str(port)
    command = [sys.executable, "-m", "tests.two_processes", str(port)]
    started = [
        subprocess.Popen(
            [*command, str(process), str(data), str(run)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        said = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, said, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_two_processes_have_the_gradients_of_one(runs):
    for found in runs[2]:
        assert found["devices"] == [2, 4]
        assert found["moved"] > 1e-3, "the step did nothing"
    assert runs[2][0]["difference"] < 1e-5


def test_a_run_goes_on_with_another_number_of_processes(runs):
    """One, two, one: the weights and the log of a run of one process."""
    whole, parts, _ = runs
    for step in ("best", "latest"):
        weights = [checkpoint.read_weights(run, step=step) for run in (whole, parts)]
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *weights)
    logs = [records(run, without=["images_per_second"]) for run in (whole, parts)]
    assert len(logs[0]) == len(logs[1]) == 4
    for one, other in zip(*logs, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_signal_to_one_process_stops_both_at_the_same_step(runs):
    """Three later than the signal came; one that they knew of in the middle of an epoch."""
    said = "stopped after step 13; the same command continues it"
    assert [found["stopped"] for found in runs[2]] == [said, said]


def test_what_is_wrong_with_one_process_is_told_by_all(runs):
    first, second = (found["refusals"] for found in runs[2])
    shared = "train.batch_size 2 cannot be shared evenly by 4 device(s) of 2 processes"
    differs = "process 1 has other data than process 0"
    ended = "process 0: another process has ended; see what it said"
    assert first[:3] == [shared, "process 1: no such file", differs]
    assert first[3].startswith(ended)
    assert second == [shared, "no such file", differs, "process 1: no space left"]


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ({"coordinator": "a:1", "processes": 2}, "give all three or none"),
        ({"process": 0}, "give all three or none"),
        ({"coordinator": "a:1", "processes": 2, "process": 0, "scheduler": True}, "the scheduler"),
        ({"coordinator": "node7", "processes": 2, "process": 0}, "expected HOST:PORT"),
        ({"coordinator": "node7:port", "processes": 2, "process": 0}, "expected HOST:PORT"),
        ({"coordinator": "node7:70000", "processes": 2, "process": 0}, "expected HOST:PORT"),
        ({"coordinator": "a:1", "processes": 0, "process": 0}, "expected 1 or more"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "expected 0 to 1"),
        ({"coordinator": "a:1", "processes": 2, "process": -1}, "expected 0 to 1"),
        ({"coordinator": "no host:1", "processes": 2, "process": 0}, "no host 'no host' is known"),
    ],
)
def test_wrong_flags_get_one_sentence(flags, wrong):
    with pytest.raises(ValueError, match=wrong) as error:
        hosts.join(**flags)
    assert "\n" not in str(error.value)


def test_without_flags_there_is_one_process():
    hosts.join()
    assert hosts.number() == 1
    assert hosts.is_first()
    assert hosts.everyones({"a": 1}) == [{"a": 1}]
    with pytest.raises(OSError, match="no space"), hosts.together(), hosts.all_or_none():
        raise OSError("no space")


def test_a_process_without_others_says_so():
    """There is no scheduler, or nobody listens, where JAX would end with a trace of its own."""
    code = """
from jssm.training import hosts
try:
    hosts.join(scheduler=True)
except ValueError as error:
    print(error)
hosts.join("localhost:%d", 2, 1, timeout_s=0.5)
"""
    schedulers = ("JAX_", "SLURM_", "OMPI_", "KUBERNETES_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(schedulers)}
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        port = silent.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", code % port],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert "the environment is not that of a scheduler" in done.stdout
    assert done.stderr.startswith(f"train.py: not all processes have come to localhost:{port}, af")
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1


def test_a_port_in_use_is_told():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen at port {port} "):
            hosts.join(f"localhost:{port}", 2, 0)
