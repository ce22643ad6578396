"""The peers: optional packages beside which this project is measured."""

import importlib.util
import os

PEERS = {"DEODR": ("deodr", "trimesh"), "PyTorch": ("torch",)}
PROJECT = "jssm"


def missing(peer: str) -> str | None:
    """One sentence that says how to install ``peer``, or None when it is there."""
    absent = [name for name in PEERS[peer] if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return (
        f"{peer} is left out: {' and '.join(absent)} cannot be imported; "
        "`pip install -e '.[bench]'` installs it."
    )


def torch_threads() -> None:
    """Gives PyTorch as many threads as JAX takes: one per core."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
