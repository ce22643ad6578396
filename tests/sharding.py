"""The layouts in which the images of a data set may lie."""

import shutil
from pathlib import Path

import numpy as np

from jssm import shards


def in_shards(source: Path, out: Path, shard_cases: int) -> Path:
    """A copy of a data set with images and masks in shards."""
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("images.npy", "masks.npy"))
    for name in ("images", "masks"):
        pictures = np.load(source / f"{name}.npy")
        count, size, _ = pictures.shape
        with shards.writer(out / f"{name}.zarr", count, size, shard_cases) as take:
            for picture in pictures:
                take(picture)
    return out
