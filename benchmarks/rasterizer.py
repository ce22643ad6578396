"""``python -m benchmarks rasterizer``: speed, memory and accuracy, beside DEODR.

DEODR runs in one thread; JAX takes every core it is given (``taskset -c 0`` gives it one). Calls
follow one another without rest, as in training: waking threads takes longer than a mask.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from benchmarks import exact, peers, report, shapes
from benchmarks.measure import Timing, calls_at_once, machine, measure
from benchmarks.peers import PROJECT
from benchmarks.report import COLOURS, Report, Rows
from jssm.rasterizer import rasterize

PEER = "DEODR"
FORWARD, GRADIENT = "forward", "forward + gradient"
SHIFT_PX = 1.0  # how far the drawn shapes lie from their targets
GRADIENT_SHAPES, GRADIENT_POINTS, GRADIENT_SIZE = 20, 24, 48  # of the check of gradients

Functions = dict[str, Callable[[], Any]]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``rasterizer``."""
    parser = commands.add_parser("rasterizer", help="masks and their gradients, beside DEODR")
    add = parser.add_argument
    add("--size", type=int, default=224, help="rows and columns (default 224)")
    add("--points", type=int, default=88, help="points per shape, T (default 88)")
    add("--batch", type=int, default=8, help="images at once (default 8)")
    add("--large-batch", type=int, default=256, help="its memory is told too (default 256)")
    sizes, counts = [64, 128, 224, 512, 1024], [24, 48, 88, 176, 352, 512]
    add("--sizes", type=int, nargs="*", default=sizes, help=f"for the curve (default {sizes})")
    add("--counts", type=int, nargs="*", default=counts,
        help=f"points per shape for the curve (default {counts})")  # fmt: skip
    report.add_options(parser, "rasterizer", repeats=30)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    found = Report("rasterizer", machine(), report.settings(args))
    sentence = peers.missing(PEER)
    found.notes += [sentence] if sentence else []
    makers = [PROJECT] if sentence else [PROJECT, PEER]
    points = shapes.horseshoes(args.batch, args.points, args.size)
    timings = timed(functions(points, args.size, makers), args.repeats)
    rows = report.comparison(timings, [FORWARD, GRADIENT], makers, items=args.batch)
    title = f"{args.size}×{args.size}, {args.points} points, batch {args.batch}"
    found.tables[title] = rows
    found.tables["Memory"] = memory(args)
    found.tables["Accuracy"] = accuracy(points, args.size, makers)
    found.tables["Gradient against central differences in float64"] = gradient_error()
    by_size, by_count = curves(args, makers)
    for title, curve in (("By size", by_size), ("By points", by_count)):
        if curve:
            found.tables[f"{title}, ms per image, {GRADIENT}"] = curve
    if by_size and by_count:
        draw_curves(args.out / "rasterizer.png", by_size, by_count, makers)
    else:
        report.bars(args.out / "rasterizer.png", rows, makers, "rasterizer", "ms per image")
    found.write(args.out)


def timed(functions: Functions, repeats: int) -> dict[str, Timing]:
    """All of them, call after call."""
    return measure(functions, repeats=repeats, queued=calls_at_once(), rest_s=0)


def functions(points: np.ndarray, size: int, makers: Sequence[str]) -> Functions:
    """Masks of ``points`` (N, T, 2), and gradients of the squared difference to the masks of the
    same shapes moved by ``SHIFT_PX``; by ``task, maker``."""
    placed, targets = jnp.asarray(points, jnp.float32), draw(points + SHIFT_PX, size) > 0.5
    forward, gradient = jax_functions(size)
    goal = targets.astype(jnp.float32)
    made: Functions = {
        f"{FORWARD}, {PROJECT}": lambda: forward(placed),
        f"{GRADIENT}, {PROJECT}": lambda: gradient(placed, goal),
    }
    if PEER in makers:
        from benchmarks import deodr_peer

        scenes = [deodr_peer.scene(p, (size, size)) for p in points]
        wanted = np.asarray(targets, np.float64)
        made[f"{FORWARD}, {PEER}"] = lambda: deodr_peer.forward(scenes)
        made[f"{GRADIENT}, {PEER}"] = lambda: deodr_peer.forward_and_gradient(scenes, wanted)
    return made


@lru_cache
def jax_functions(size: int) -> tuple[Any, Any]:
    """The jitted forward pass (N, T, 2) to (N, S, S), and the loss with its gradient; once made,
    kept with what was compiled."""
    forward = jax.vmap(lambda p: rasterize(p, (size, size)))

    def difference(points: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.sum((forward(points) - targets) ** 2)

    return jax.jit(forward), jax.jit(jax.value_and_grad(difference))


def draw(points: np.ndarray, size: int) -> jax.Array:
    """The masks (N, S, S) of ``points`` (N, T, 2)."""
    return jax_functions(size)[0](jnp.asarray(points, jnp.float32))


def memory(args: argparse.Namespace) -> Rows:
    """What the compiled forward pass with gradient needs beside its inputs and outputs."""
    _, gradient = jax_functions(args.size)
    rows = []
    for batch in dict.fromkeys((args.batch, args.large_batch)):
        points = jax.ShapeDtypeStruct((batch, args.points, 2), jnp.float32)
        targets = jax.ShapeDtypeStruct((batch, args.size, args.size), jnp.float32)
        needed = gradient.lower(points, targets).compile().memory_analysis()
        total_mib = needed.temp_size_in_bytes / 2**20
        rows.append({"batch": batch, "MiB": total_mib, "MiB per image": total_mib / batch})
    return rows


def accuracy(points: np.ndarray, size: int, makers: Sequence[str]) -> Rows:
    """Means over the shapes: the area of the soft mask against the exact one, and the overlap of
    the thresholded mask with the polygon's."""
    areas = np.array([exact.area(p) for p in points])
    true = np.stack([exact.coverage(p, size) for p in points]) > 0.5
    masks = {PROJECT: np.asarray(draw(points, size), np.float64)}
    if PEER in makers:
        from benchmarks import deodr_peer

        scenes = [deodr_peer.scene(p, (size, size)) for p in points]
        masks[PEER] = np.stack(deodr_peer.forward(scenes))[..., 0]
    return [
        {
            "": maker,
            "area bias, %": float(np.mean(100 * (soft.sum(axis=(1, 2)) / areas - 1))),
            "IoU with a polygon of 16×16 samples per pixel": float(np.mean(_iou(soft > 0.5, true))),
        }
        for maker, soft in masks.items()
    ]


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a & b).sum(axis=(1, 2)) / (a | b).sum(axis=(1, 2))


def gradient_error() -> Rows:
    """The greatest difference over the greatest entry of each shape's gradient, of the sum of the
    mask under weights by chance."""
    points = shapes.horseshoes(GRADIENT_SHAPES, GRADIENT_POINTS, GRADIENT_SIZE, seed=1)
    shape = (GRADIENT_SIZE, GRADIENT_SIZE)
    weights = np.random.default_rng(1).normal(size=shape)
    ours = jax.jit(jax.grad(lambda p: jnp.sum(rasterize(p, shape) * weights)))
    errors = []
    for each in points.astype(np.float32).astype(np.float64):
        true = exact.central_differences(
            lambda p: float(np.sum(exact.soft_mask(p, GRADIENT_SIZE) * weights)), each
        )
        found = np.asarray(ours(jnp.asarray(each, jnp.float32)))
        errors.append(float(np.abs(found - true).max() / np.abs(true).max()))
    return [{"shapes": len(errors), "median": float(np.median(errors)), "worst": max(errors)}]


def curves(args: argparse.Namespace, makers: Sequence[str]) -> tuple[Rows, Rows]:
    """ms per image by the image's size, and by the number of points."""
    by_size = [_point(args, makers, size, args.points, "pixels") for size in args.sizes]
    by_count = [_point(args, makers, args.size, count, "points") for count in args.counts]
    return by_size, by_count


def _point(
    args: argparse.Namespace, makers: Sequence[str], size: int, count: int, name: str
) -> dict[str, Any]:
    points = shapes.horseshoes(args.batch, count, size)
    wanted = {k: v for k, v in functions(points, size, makers).items() if k.startswith(GRADIENT)}
    timings = timed(wanted, max(args.repeats // 3, 1))
    masks = np.asarray(draw(points, size))
    row: dict[str, Any] = {name: size if name == "pixels" else count}
    row |= {m: timings[f"{GRADIENT}, {m}"].ms_per(args.batch) for m in makers}
    near = int(np.sum((masks > 1e-5) & (masks < 1 - 1e-5)))
    return row | {"pixels near the outline": near // args.batch}


def draw_curves(path: Path, by_size: Rows, by_count: Rows, makers: Sequence[str]) -> None:
    """Both curves, with the number of pixels near the outline as a guide."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    labels = ("pixels along a side", "points per shape, T")
    for axes, rows, label in zip(panels, (by_size, by_count), labels, strict=True):
        x = [next(iter(row.values())) for row in rows]
        for maker in makers:
            axes.loglog(x, [r[maker] for r in rows], "o-", color=COLOURS[maker], label=maker)
        near = np.array([row["pixels near the outline"] for row in rows], float)
        guide = near * rows[0][PROJECT] / near[0]
        axes.loglog(x, guide, ":", color="grey", label="∝ pixels near the outline")
        axes.set_xlabel(label)
        axes.set_xticks(x, map(str, x))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"ms per image, {GRADIENT}")
    panels[0].legend()
    report.save(figure, path)
