"""``python -m benchmarks feed``: how long a training waits for data that memory does not hold.

A data set is written, in one file each and in shards, and put out of the operating system's cache.
Then the loop's steps read its cases in random order, as in training; and the feed alone, as fast as
it can.
"""

import argparse
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import report, shapes, train
from benchmarks.measure import WARM_UPS, has_gpu, machine
from benchmarks.report import Report
from benchmarks.train import Load
from jssm import dataset
from jssm.training.feed import AHEAD, Feed, place


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``feed``."""
    parser = commands.add_parser("feed", help="how long a training waits for data on the disk")
    add = parser.add_argument
    add("--load", type=train.load, metavar="SIZExBATCH",
        help="(default 224x16; on a GPU 224x256)")  # fmt: skip
    add("--depth", type=int, default=18, choices=(18, 34), help="of the ResNet (default 18)")
    add("--width", type=int, default=16, help="channels of its first stage (default 16)")
    add("--gib", type=float, default=4.0, help="of images and masks (default 4)")
    add("--shard-cases", type=int, default=1000, help="of each shard (default 1000)")
    add("--steps", type=int, default=100, help="of the loop (default 100)")
    add("--folder", type=Path, help="where the data sets are written (default: a temporary one)")
    report.add_options(parser, "feed", repeats=1)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    item = args.load = args.load or (Load(224, 256) if has_gpu() else Load(224, 16))
    args.bfloat16 = has_gpu()
    needed = (2 * args.steps + WARM_UPS) * item.batch
    count = max(int(args.gib * 2**30) // (2 * item.size**2), needed)
    rows = []
    for layout, shard_cases in (("one file each", 0), ("shards", args.shard_cases)):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            out = Path(folder)
            shapes.write_data_set(out, count=count, size=item.size, shard_cases=shard_cases)
            rows.append({"images and masks in": layout} | measured(args, item, out))
    title = f"{count} cases of {item.size}×{item.size}, batch {item.batch}"
    args.folder = None
    Report("feed", machine(), report.settings(args), {title: rows}).write(args.out)


def measured(args: argparse.Namespace, item: Load, folder: Path) -> dict[str, Any]:
    """One row: the loop, and the feed by itself, each with half of the cases."""
    data, devices = dataset.load(folder), jax.local_devices()
    dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
    model = shapes.model(item.size, depth=args.depth, width=args.width, dtype=dtype)
    config = train.config_for(args, item, str(folder))
    step, state = train.stepper(model, config, devices)
    source, same = Feed(data, devices, resident=False), place(train.scalars(config), devices)
    order = dataset.epoch_order(data.rows("train"), item.batch, seed=0, epoch=0)
    forget(folder)
    pending: deque = deque()
    read_before, waited = read_bytes(), 0.0
    batches = source.batches(order[: args.steps + WARM_UPS])
    for number in range(args.steps + WARM_UPS):
        if number == WARM_UPS:
            jax.block_until_ready(state)
            began, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        state, metrics = step(state, batch | same)
        pending.append(metrics)
        if len(pending) > AHEAD:
            jax.device_get(pending.popleft())
    jax.device_get(list(pending))
    loop_s = time.perf_counter() - began
    read = read_bytes() - read_before
    alone_s = drained(source.batches(order[args.steps + WARM_UPS :][: args.steps]))
    cases = args.steps * item.batch
    return {
        "GiB on the disk": size_of(folder) / 2**30,
        "images per second": cases / loop_s,
        "waits for data, % of the loop": 100 * waited / loop_s,
        "kB read per case": read / 1e3 / (cases + WARM_UPS * item.batch),
        "the feed alone, images per second": cases / alone_s,
    }


def drained(batches: Iterator[Any]) -> float:
    """How long all batches take, in seconds."""
    began = time.perf_counter()
    for batch in batches:
        jax.block_until_ready(batch)
    return time.perf_counter() - began


def forget(folder: Path) -> None:
    """Put all files of a folder out of the operating system's cache, where it knows how."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()  # what is not written yet stays
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def read_bytes() -> float:
    """What this process has read from disks so far; NaN where the system does not tell."""
    told = Path("/proc/self/io")
    if not told.is_file():
        return float("nan")
    return int(dict(line.split(": ") for line in told.read_text().splitlines())["read_bytes"])


def size_of(folder: Path) -> int:
    """The bytes of its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
