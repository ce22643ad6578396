"""``python -m benchmarks predict``: one image as soon as possible, and many, beside PyTorch.

PyTorch runs the same network alone; it draws no mask.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jssm
from benchmarks import peers, report, shapes
from benchmarks.measure import has_gpu, machine, measure
from benchmarks.peers import PROJECT
from benchmarks.report import Report
from jssm.methods.model import Model
from jssm.rasterizer import rasterize

PEER = "PyTorch"
WHOLE, NETWORK, RENDER = "predict", "network", "rasterizer"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``predict``."""
    parser = commands.add_parser("predict", help="a prediction, beside PyTorch's network")
    add = parser.add_argument
    add("--size", type=int, default=224, help="rows and columns of the images (default 224)")
    add("--batches", type=int, nargs="+", default=[1, 32], help="images at once (default 1 32)")
    add("--depth", type=int, default=34, choices=(18, 34), help="of the ResNet (default 34)")
    add("--width", type=int, default=64, help="channels of its first stage (default 64)")
    report.add_options(parser, "predict", repeats=15)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    found = Report("predict", machine(), report.settings(args))
    sentence = peers.missing(PEER)
    found.notes += [sentence] if sentence else []
    makers = [PROJECT] if sentence else [PROJECT, PEER]
    model = shapes.with_weights(shapes.model(args.size, depth=args.depth, width=args.width))
    network = None if sentence else torch_network(args)
    drawn = []
    for batch in args.batches:
        data = shapes.cases(batch, args.size)
        functions = project_functions(model, data)
        if network:
            functions[f"{NETWORK}, {PEER}"] = network(data["image"])
        timings = measure(functions, repeats=args.repeats)
        if network:  # the same function: PyTorch predicts numbers alone
            timings[f"{WHOLE}, {PEER}"] = timings[f"{NETWORK}, {PEER}"]
        rows = report.comparison(timings, [WHOLE, NETWORK, RENDER], makers, items=batch)
        title = f"ResNet{args.depth}, {args.size}×{args.size}, batch {batch}"
        found.tables[title] = rows
        found.tables[f"{title}: images per second"] = [
            {"": maker, WHOLE: timings[f"{WHOLE}, {maker}"].per_second(batch)} for maker in makers
        ]
        drawn += [row | {"ms per image": f"{row['ms per image']}, batch {batch}"} for row in rows]
    title = f"ResNet{args.depth}, {args.size}×{args.size}"
    report.bars(args.out / "predict.png", drawn, makers, title, "ms per image")
    found.write(args.out)


def project_functions(model: Model, data: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """``jssm.predict`` and its two long steps, from images in the host's memory."""
    images = data["image"].astype(np.float32)
    points = jnp.asarray(data["points"])
    network = jax.jit(
        lambda model, x: model.network.apply(model.variables, x, model.mean_theta, train=False)
    )
    render = jax.jit(jax.vmap(lambda p: rasterize(p, images.shape[1:])))
    made = {
        WHOLE: lambda: jssm.predict(model, images),
        NETWORK: lambda: network(model, images),
        RENDER: lambda: render(points),
    }
    return {f"{task}, {PROJECT}": function for task, function in made.items()}


def torch_network(args: argparse.Namespace) -> Callable[[np.ndarray], Callable[[], Any]]:
    """From images (N, S, S) to a function that runs the peer's network on them."""
    import torch

    from benchmarks.torch_resnet import Peer

    peers.torch_threads()
    device = "cuda" if has_gpu() and torch.cuda.is_available() else "cpu"
    peer = Peer(args.depth, args.width, 6 + shapes.NUM_MODES, device=device, bfloat16=False)

    def prepared(images: np.ndarray) -> Callable[[], Any]:
        pixels = torch.from_numpy(images.astype(np.float32))[:, None]
        return lambda: peer.predict(peer.place((pixels - pixels.mean()) / pixels.std()))

    return prepared
