"""A trained model as one file that does without this package: ``jssm.predict``, serialized.

    exported = jax.export.deserialize(bytearray(Path("model.jax").read_bytes()))
    out = exported.call(images)  # the fields of jssm.Prediction, as "points" and "integrity.ok"

Reading it takes JAX and flatbuffers. The weights are in the file. Its images are float32 (N, H, W)
with any N and one fixed H and W.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from jssm.files.whole import write_whole
from jssm.methods import packing, registry
from jssm.methods.model import Model, predict

PLATFORMS = ("cpu", "cuda")


def serialize(model: Model, *, shape: tuple[int, int] | None = None) -> bytes:
    """``jssm.predict`` with this model for images (N, H, W), as bytes of a jax.export artifact.

    shape: (H, W) of the images, the network's own by default; others are letterboxed inside. The
    artifact gives a dictionary, so that it does not need the classes of this package. It runs on
    the platforms of :data:`PLATFORMS`.

    Raises:
      ValueError: when the package flatbuffers, which jax.export writes with, is missing.
    """
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *(shape or (model.size, model.size))), jnp.float32)

    def function(images: jax.Array) -> dict[str, jax.Array]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(predict(model, images))
        return {".".join(field.name for field in path): array for path, array in leaves}

    artifact = export.export(jax.jit(function), platforms=PLATFORMS)(images)
    try:
        return bytes(artifact.serialize())
    except ImportError as error:
        raise ValueError("jax.export needs flatbuffers: pip install flatbuffers") from error


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``export``."""
    parser = commands.add_parser(
        "export",
        description="Write jssm.predict with a trained model as a serialized jax.export artifact "
        "for float32 images (N, H, W), any N.",
    )
    packing.add_source(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the file to write")
    add("--shape", type=int, nargs=2, metavar=("ROWS", "COLUMNS"),
        help="of the images (default: the network's own size)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; raises ValueError or OSError, in one sentence, where that cannot be."""
    model = registry.load(args.source, step=args.step)
    shape = tuple(args.shape) if args.shape else (model.size, model.size)
    if min(shape) < 1:
        raise ValueError(f"--shape {shape[0]} {shape[1]}: two positive numbers were expected")
    if not args.out.parent.is_dir():  # told before the model is traced
        raise FileNotFoundError(f"{args.out}: {args.out.parent} is not a folder")
    content = serialize(model, shape=shape)
    write_whole(args.out, content)
    print(f"wrote {args.out}: {len(content) / 2**20:.1f} MiB, images (N, {shape[0]}, {shape[1]})")
    return 0
