"""Torchvision's ResNet18, 34 and 50 weights in the Linen backbone of every network of a cascade.

The file is a state dict as torchvision gives it, ``.safetensors`` or ``.pth``. Both ResNets pad
alike, and ResNet50 strides in its 3×3 convolutions in both. What the file trained on was three
colours, each normalized over a collection; what the backbone sees is one grey image of mean 0 and
standard deviation 1, which stands for all three: so the first convolution is summed over the
colours. The classifier is left out.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jssm.networks.resnet import STAGES

_BOTTLENECK = 50
_STEM = ("backbone", "stem", "kernel")
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a weights file by torchvision's names, in torch's layout.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when it is no such file, or a library is missing that could read it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights (init_from)")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_torch(path)
    raise ValueError(f"{path}: expected weights in a .safetensors or .pth file (init_from)")


def into_backbones(
    variables: Any, weights: dict[str, np.ndarray], *, depth: int, source: str
) -> Any:
    """The Linen ``variables`` of a network with these weights in each of its backbones.

    depth: of the backbones. source: the file's name, for errors.

    Raises:
      ValueError: when the weights are of another depth or width, or some are missing.
    """
    found = _depth(weights)
    if found != depth:
        kind = f"those of a ResNet{found}" if found else "not those of a ResNet18, 34 or 50"
        raise ValueError(f"{source}: the weights are {kind}, but model.depth is {depth}")
    flat = traverse_util.flatten_dict(variables)
    stages = [path[1] for path in flat if path[:1] + path[2:] == ("params", *_STEM)]
    names = _names(depth)
    missing = sorted(set(names.values()) - weights.keys())
    if missing:
        raise ValueError(f"{source}: lacks {len(missing)} weights, the first is {missing[0]}")
    for stage in stages:
        for (collection, *inner), name in names.items():
            path = (collection, stage, "backbone", *inner)
            value = _to_linen(weights[name])
            if path[3] == "stem":
                value = value.sum(axis=2, keepdims=True)
            if value.shape != flat[path].shape:
                raise ValueError(
                    f"{source}: {name} is {value.shape} in Linen's order, but the network has "
                    f"{flat[path].shape}; pretrained weights want the width that they were "
                    f"trained with, --config.model.width={weights['conv1.weight'].shape[0]}"
                )
            flat[path] = jnp.asarray(value)
    return traverse_util.unflatten_dict(flat)


def _names(depth: int) -> dict[tuple[str, ...], str]:
    """Torchvision's name of each variable of a backbone, by its collection and path."""
    kind, convs = ("BottleneckBlock", 3) if depth == _BOTTLENECK else ("BasicBlock", 2)
    names = {("params", "stem", "kernel"): "conv1.weight"} | _norm(("stem_norm",), "bn1")
    number = 0
    for stage, blocks in enumerate(STAGES[depth], start=1):
        for i in range(blocks):
            ours, theirs = f"{kind}_{number}", f"layer{stage}.{i}"
            number += 1
            for k in range(convs):
                names[("params", ours, f"Conv_{k}", "kernel")] = f"{theirs}.conv{k + 1}.weight"
                names |= _norm((ours, f"BatchNorm_{k}"), f"{theirs}.bn{k + 1}")
            if i == 0 and (stage > 1 or depth == _BOTTLENECK):
                names[("params", ours, "shortcut", "kernel")] = f"{theirs}.downsample.0.weight"
                names |= _norm((ours, "shortcut_norm"), f"{theirs}.downsample.1")
    return names


def _norm(ours: tuple[str, ...], theirs: str) -> dict[tuple[str, ...], str]:
    return {
        ("batch_stats" if mine in ("mean", "var") else "params", *ours, mine): f"{theirs}.{their}"
        for their, mine in _NORM.items()
    }


def _depth(weights: dict[str, np.ndarray]) -> int | None:
    """18, 34 or 50, told by the number of blocks and of their convolutions; else None."""
    blocks = tuple(
        sum(name.startswith(f"layer{stage}.") and name.endswith("conv1.weight") for name in weights)
        for stage in (1, 2, 3, 4)
    )
    is_bottleneck = "layer1.0.conv3.weight" in weights
    fits = [d for d, b in STAGES.items() if b == blocks and (d == _BOTTLENECK) == is_bottleneck]
    return fits[0] if fits else None


def _to_linen(array: np.ndarray) -> np.ndarray:
    """A convolution's (out, in, h, w) as (h, w, in, out); a vector as it is; float32."""
    array = np.asarray(array, np.float32)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ValueError(
            f"{path}: reading it needs the package safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a sound .safetensors file ({error})") from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        convert = (
            f"safetensors.torch.save_file(torch.load('{path.name}'), '{path.stem}.safetensors')"
        )
        raise ValueError(
            f"{path}: reading it needs PyTorch; install it, or convert the file with it: {convert}"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file raises whatever its bytes happen to mean
        cause = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: not a sound .pth file ({cause})") from error
    if not isinstance(state, dict) or not all(hasattr(v, "numpy") for v in state.values()):
        raise ValueError(f"{path}: expected a state dict, names with tensors")
    return {name: tensor.numpy() for name, tensor in state.items()}
