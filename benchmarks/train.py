"""``python -m benchmarks train``: a whole training step and its parts, beside PyTorch's ResNet.

PyTorch's step is that of the same network alone (forward, mean squared error, backward, Adam),
without augmentation and masks: what it leaves out is measured here as parts of its own.
"""

import argparse
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import peers, report, shapes
from benchmarks.measure import REST_S, Timing, calls_at_once, has_gpu, machine, measure
from benchmarks.peers import PROJECT
from benchmarks.report import Report, Rows
from jssm import dataset
from jssm.config import Augmentation, Config, ModelConfig, TrainConfig
from jssm.methods.model import Model
from jssm.methods.regression import method
from jssm.rasterizer import rasterize
from jssm.shape import labels
from jssm.training import feed, steps
from jssm.training.augment import augment

PEER = "PyTorch"
STEP, NETWORK_STEP = "train step", "network, forward + backward + Adam"
BACKWARD, FORWARD = "network, forward + backward", "network, forward"
AUGMENT, RENDER = "augmentation", "rasterizer, forward + gradient"
AUGMENTATION = Augmentation(
    flip_left_right=True,
    flip_up_down=True,
    rotation_degrees=30.0,
    translation=0.1,
    log_scale=0.15,
    contrast=0.3,
    noise=0.1,
)

Functions = dict[str, Callable[[], Any]]


class Load(NamedTuple):
    """What one step works on: ``batch`` square images, ``size`` pixels wide."""

    size: int
    batch: int


def load(text: str) -> Load:
    """``128x16``: images of 128×128, 16 in a batch."""
    try:
        size, batch = map(int, text.split("x"))
    except ValueError as error:
        message = f"{text}: expected SIZExBATCH, such as 128x16"
        raise argparse.ArgumentTypeError(message) from error
    return Load(size, batch)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``train``."""
    parser = commands.add_parser("train", help="a training step, beside PyTorch")
    add = parser.add_argument
    add("--loads", type=load, nargs="+", metavar="SIZExBATCH",
        help="(default 128x16 224x8; on a GPU 224x256)")  # fmt: skip
    add("--depth", type=int, default=34, choices=(18, 34), help="of the ResNet (default 34)")
    add("--width", type=int, default=64, help="channels of its first stage (default 64)")
    add("--bfloat16", action=argparse.BooleanOptionalAction,
        help="compute the network in bfloat16 (default: on a GPU)")  # fmt: skip
    add("--loop-steps", type=int, default=10,
        help="steps of the loop whose overhead is measured; 0 for none (default 10)")  # fmt: skip
    report.add_options(parser, "train", repeats=9)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    args.loads = args.loads or ([Load(224, 256)] if has_gpu() else [Load(128, 16), Load(224, 8)])
    args.bfloat16 = has_gpu() if args.bfloat16 is None else args.bfloat16
    rest_s = 0.0 if has_gpu() else REST_S
    found = Report("train", machine(), report.settings(args))
    sentence = peers.missing(PEER)
    found.notes += [sentence] if sentence else []
    makers = [PROJECT] if sentence else [PROJECT, PEER]
    for item in args.loads:
        title = f"ResNet{args.depth}, {item.size}×{item.size}, batch {item.batch}"
        timed = functions(args, item, with_peer=not sentence)
        timings = measure(timed, repeats=args.repeats, queued=calls_at_once(), rest_s=rest_s)
        if not sentence:  # the same function: PyTorch's step is the network's
            timings[f"{STEP}, {PEER}"] = timings[f"{NETWORK_STEP}, {PEER}"]
        tasks = [STEP, NETWORK_STEP, BACKWARD, FORWARD, AUGMENT, RENDER]
        rows = report.comparison(timings, tasks, makers, items=item.batch)
        found.tables[title] = rows
        found.tables[f"{title}: images per second"] = [
            {
                "": maker,
                "training": timings[f"{STEP}, {maker}"].per_second(item.batch),
                "forward": timings[f"{FORWARD}, {maker}"].per_second(item.batch),
            }
            for maker in makers
        ]
        found.tables[f"{title}: parts of {PROJECT}'s step"] = parts(timings, args, item)
        picture = args.out / f"train_{item.size}x{item.batch}.png"
        report.bars(picture, rows, makers, title, "ms per image")
    found.write(args.out)


def parts(timings: dict[str, Timing], args: argparse.Namespace, item: Load) -> Rows:
    """What each part takes of the step, in percent, measured by itself."""
    whole = timings[f"{STEP}, {PROJECT}"].median_s
    names = (NETWORK_STEP, AUGMENT, RENDER)
    shares = {name: timings[f"{name}, {PROJECT}"].median_s / whole for name in names}
    shares["the rest: losses, shape model, metrics"] = 1 - sum(shares.values())
    rows = [{"part": name, "% of the step": 100 * share} for name, share in shares.items()]
    if args.loop_steps:
        outside = 100 * outside_share(args, item)
        rows.append({"part": "outside the device, % of the loop", "% of the step": outside})
    return rows


def functions(args: argparse.Namespace, item: Load, *, with_peer: bool) -> Functions:
    """All that is timed, by ``task, maker``."""
    dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
    model = shapes.model(item.size, depth=args.depth, width=args.width, dtype=dtype)
    data = shapes.cases(item.batch, item.size)
    step, variables = train_step(model, data, config_for(args, item))
    made = {STEP: step} | network_functions(model.replace(variables=variables), data)
    made |= part_functions(data)
    named = {f"{task}, {PROJECT}": function for task, function in made.items()}
    return named | (torch_functions(args, data) if with_peer else {})


def config_for(args: argparse.Namespace, item: Load, directory: str = "") -> Config:
    """A run of this project that does what is measured here."""
    return Config(
        data=directory,
        model=ModelConfig(depth=args.depth, width=args.width, bfloat16=args.bfloat16),
        train=TrainConfig(batch_size=item.batch, epochs=2, points_epochs=0, validate_every=2),
        augment=AUGMENTATION,
    )


def stepper(model: Model, config: Config, devices: list[jax.Device]) -> tuple[Callable, Any]:
    """The step as the loop makes it, and the first state."""
    ours = method(model)
    optimizer = steps.make_optimizer(config.train, steps_per_epoch=100)
    step = steps.parallel(
        partial(
            steps.train_step,
            method=ours,
            optimizer=optimizer,
            augmentation=config.augment,
            ema=config.train.ema,
            seed=config.seed,
        ),
        devices,
    )
    _, compute = steps.first_state(ours, optimizer, config)
    return step, feed.replicate(compute(), devices)


def scalars(config: Config) -> dict[str, Any]:
    """What a batch holds beside the cases, with the mask's loss."""
    return {
        "place": np.arange(config.train.batch_size),
        "point_weight": np.float32(config.train.point_weight),
        "mask_weight": np.float32(config.train.mask_weight),
    }


def train_step(
    model: Model, data: dict[str, np.ndarray], config: Config
) -> tuple[Callable[[], Any], Any]:
    """One step on a batch that is on the device, and a copy of the first variables."""
    devices = jax.local_devices()
    step, state = stepper(model, config, devices)
    variables = jax.tree.map(jnp.array, jax.device_get(state.variables))
    covers = np.full(len(data["image"]), labels.MYOCARDIUM, np.int8)
    batch = feed.place(data | scalars(config) | {"covers": covers}, devices)

    def once() -> Any:
        nonlocal state
        state, metrics = step(state, batch)
        return state, metrics

    return once, variables


def network_functions(model: Model, data: dict[str, np.ndarray]) -> Functions:
    """The network by itself: images to a mean squared error, as the peer does it."""
    network, theta = model.network, model.mean_theta
    images = jnp.asarray(data["image"], jnp.float32)
    optimizer = optax.adam(1e-3)

    def error(params: Any, stats: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": stats}
        poses, new = network.apply(variables, images, theta, train=True, mutable=["batch_stats"])
        outputs = [poses[-1].theta - theta, poses[-1].latent]
        squares = [jnp.sum((o - 1.0) ** 2) for o in outputs]
        return (squares[0] + squares[1]) / len(images), new["batch_stats"]

    def adam(state: Any) -> Any:
        params, stats, opt_state = state
        grads, stats = jax.grad(error, has_aux=True)(params, stats)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state

    variables = model.variables
    params, stats = variables["params"], variables["batch_stats"]
    forward = jax.jit(lambda v: network.apply(v, images, theta, train=False))
    backward = jax.jit(jax.grad(error, has_aux=True))
    step = jax.jit(adam, donate_argnums=0)
    state = jax.tree.map(jnp.copy, (params, stats, optimizer.init(params)))

    def once() -> Any:
        nonlocal state
        state = step(state)
        return state

    return {
        NETWORK_STEP: once,
        BACKWARD: lambda: backward(params, stats),
        FORWARD: lambda: forward(variables),
    }


def part_functions(data: dict[str, np.ndarray]) -> Functions:
    """What the step does beside the network."""
    points = jnp.asarray(data["points"])
    images, masks = (jnp.asarray(data[name], jnp.float32) for name in ("image", "mask"))
    keys = jax.random.split(jax.random.key(0), len(points))
    change = jax.jit(jax.vmap(lambda *case: augment(*case, options=AUGMENTATION)))

    def difference(points: jax.Array) -> jax.Array:
        drawn = jax.vmap(lambda p: rasterize(p, masks.shape[1:]))(points)
        return jnp.sum((drawn - masks) ** 2)

    render = jax.jit(jax.value_and_grad(difference))
    return {
        AUGMENT: lambda: change(keys, images, masks, points),
        RENDER: lambda: render(points + 1),
    }


def torch_functions(args: argparse.Namespace, data: dict[str, np.ndarray]) -> Functions:
    """The peer's network on the same images."""
    import torch

    from benchmarks.torch_resnet import Peer

    peers.torch_threads()
    device = "cuda" if has_gpu() and torch.cuda.is_available() else "cpu"
    outputs = 6 + shapes.NUM_MODES
    peer = Peer(args.depth, args.width, outputs, device=device, bfloat16=args.bfloat16)
    pixels = np.asarray(data["image"], np.float32)
    images = peer.place(torch.from_numpy((pixels - pixels.mean()) / pixels.std())[:, None])
    targets = torch.ones(len(pixels), outputs, device=device)
    return {
        f"{NETWORK_STEP}, {PEER}": lambda: peer.step(images, targets),
        f"{BACKWARD}, {PEER}": lambda: peer.gradients(images, targets),
        f"{FORWARD}, {PEER}": lambda: peer.predict(images),
    }


def outside_share(args: argparse.Namespace, item: Load) -> float:
    """The share of the loop's time in which the device computes nothing.

    The loop's steps (batches fed, metrics fetched late, as in ``training.loop``) are measured
    in turn with the same steps on one batch that never leaves the device.
    """
    with tempfile.TemporaryDirectory() as folder:
        shapes.write_data_set(Path(folder), count=4 * item.batch, size=item.size)
        data = dataset.load(folder)
        config = config_for(args, item, folder)
        dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
        model = shapes.model(item.size, depth=args.depth, width=args.width, dtype=dtype)
        loops = loop_functions(model, data, config, count=args.loop_steps)
        timings = measure(loops, repeats=args.repeats)
    return 1 - timings["bare"].median_s / timings["loop"].median_s


def loop_functions(model: Model, data: dataset.Dataset, config: Config, *, count: int) -> Functions:
    """``count`` steps as the loop makes them, and as many on one batch."""
    devices = jax.local_devices()
    step, state = stepper(model, config, devices)
    source, rows = feed.Feed(data, devices), np.arange(len(data.images))
    size = config.train.batch_size
    same = feed.place(scalars(config), devices)

    def run(batches: Iterable[dict[str, jax.Array]], fetch: bool) -> Any:
        nonlocal state
        pending: deque = deque()
        for batch in batches:
            state, metrics = step(state, batch | same)
            pending.append(metrics)
            if fetch and len(pending) > feed.AHEAD:
                jax.device_get(pending.popleft())
        return jax.device_get(list(pending))

    (one,) = source.batches(rows[None, :size])
    order = dataset.epoch_order(np.tile(rows, count), size, seed=0, epoch=0)[:count]
    return {
        "bare": lambda: run([one] * count, fetch=False),
        "loop": lambda: run(source.batches(order), fetch=True),
    }
