"""Reading a data set directory (prep/DATASET.md), and drawing batches from it."""

import hashlib
import json
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jssm import shards
from jssm.shape import labels, shape_model
from jssm.shape.shape_model import ShapeModel
from jssm.shards import Pictures

SPLITS = ("train", "val")
NAMES = ("case", "patient", "image", "mask")  # columns of text
PICTURES = ("images", "masks")
SEAL = "dataset.json"  # the file of a data set that is written last


@dataclass(frozen=True)
class Dataset:
    """N cases on an S×S grid, as arrays on the disk; row i of each belongs to the same case.

    images: (N, S, S) uint8. masks: (N, S, S) uint8 of 0 and 1. Both are memory-mapped or, in shards
    and of several directories, read by rows. points: (N, T, 2) pixels.
    canonical_points: (N, T, 2). thetas: (N, 2, 3), from the canonical frame to pixels.
    spacing_mm: (N, 2) (row, column), NaN where unknown. truth_points: (N, T, 2) material points,
    NaN in cases that are no phantoms, or None. cases: the table of these cases, in row order. meta:
    dataset.json. Where a label does not cover the whole wall, masks shows what it covers, and
    unknown points and θ are NaN.
    """

    images: np.ndarray | Pictures
    masks: np.ndarray | Pictures
    points: np.ndarray
    canonical_points: np.ndarray
    thetas: np.ndarray
    spacing_mm: np.ndarray
    truth_points: np.ndarray | None
    cases: pd.DataFrame
    shape_model: ShapeModel
    meta: dict[str, Any]

    @property
    def size(self) -> int:
        """S, the side of the images in pixels."""
        return self.images.shape[1]

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split.

        Raises:
          ValueError: when it is not a split, or has no case.
        """
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        rows = np.flatnonzero(self.cases["split"].to_numpy() == split)
        if not len(rows):
            raise ValueError(f"the data set has no case in the split {split!r}")
        return rows

    def clips(self, split: str, count: int) -> np.ndarray:
        """For each case of one split, the rows of ``count`` frames of its cine from it on.

        (cases, count), in the order of ``rows``. A cine is the cases of the split that have the
        same patient and, where the table names it, the same image file, in the order of their
        frames. It is a heart cycle, so its first frame follows its last; one that has fewer than
        ``count`` frames is repeated.

        Raises:
          ValueError: when it is not a split, or has no case.
        """
        rows = self.rows(split)
        table = self.cases.iloc[rows].sort_values("frame", kind="stable")
        names = [name for name in ("patient", "image") if name in table.columns]
        following = np.empty((len(self.cases), count), np.int64)
        for _, cine in table.groupby(names, dropna=False):
            frames = cine.index.to_numpy()
            place = np.arange(len(frames))[:, None] + np.arange(count)
            following[frames] = frames[place % len(frames)]
        return following[rows]

    @cached_property
    def digest(self) -> str:
        """Tells this data set from another: of its tables, points and at most 64 images."""
        picked = np.unique(np.linspace(0, len(self.images) - 1, 64).round().astype(int))
        parts = [json.dumps(self.meta, sort_keys=True), self.cases.to_csv(index=False)]
        arrays = [self.points, self.thetas, self.images[picked], self.masks[picked]]
        content = [part.encode() for part in parts] + [np.asarray(a).tobytes() for a in arrays]
        return hashlib.sha256(b"".join(content)).hexdigest()[:16]

    @cached_property
    def covers(self) -> np.ndarray:
        """What each case's label covers (N,) int8, as codes of :mod:`jssm.shape.labels`."""
        return self.cases["covers"].map(labels.COVERS.index).to_numpy(np.int8)

    def mean_theta(self) -> np.ndarray:
        """The mean θ (2, 3) of the training cases whose label covers the wall.

        Raises:
          ValueError: when there is none.
        """
        rows = self.rows("train")
        rows = rows[self.covers[rows] == labels.MYOCARDIUM]
        if not len(rows):
            raise ValueError("the data set has no training case whose label covers the myocardium")
        return self.thetas[rows].mean(axis=0)


def load(directory: str | Path) -> Dataset:
    """Open the data set in ``directory``; arrays stay on disk until they are used.

    Raises:
      FileNotFoundError: when it is not a data set directory, naming the files it lacks; or when a
        shard is missing, or a directory that it is joined of.
      ValueError: when a file is damaged, there are more or fewer images than points, or of another
        size than they should be, or cases.csv names a kind of label that is not known.
    """
    root = Path(directory)
    meta = read_meta(root) if (root / SEAL).is_file() else {}
    known = [name for name in PICTURES if "parts" in meta or (root / f"{name}.zarr").is_dir()]
    names = [*PICTURES, "points", "canonical_points", "thetas", "spacing_mm"]
    needed = [f"{name}.npy" for name in names if name not in known]
    needed += ["cases.csv", SEAL, "shape_model.npz"]
    missing = [name for name in needed if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root}: not a data set directory, missing {', '.join(missing)}; "
            "make one with `python -m prep build`"
        )
    arrays = {name: mapped(root / f"{name}.npy") for name in names if name not in PICTURES}
    images, masks = (pictures(root, name, meta) for name in PICTURES)
    count, size = len(arrays["points"]), meta.get("size", images.shape[1])
    for name, found in zip(PICTURES, (images, masks), strict=True):
        if found.shape != (count, size, size):
            raise ValueError(
                f"{root}: {name} have the shape {found.shape}, {(count, size, size)} was expected"
                + ("; a part is not as it was when it was joined" if "parts" in meta else "")
            )
    truth = root / "truth_points.npy"
    table = read_table(root / "cases.csv")
    if "covers" not in table.columns:  # a data set of whole walls
        table["covers"] = labels.COVERS[labels.MYOCARDIUM]
    included = table[table["split"].isin(SPLITS)]
    if unknown := set(included["covers"]) - set(labels.COVERS):
        raise ValueError(
            f"{root / 'cases.csv'}: covers is {sorted(map(str, unknown))[0]!r}, "
            f"expected one of {', '.join(labels.COVERS)}"
        )
    return Dataset(
        images=images,
        masks=masks,
        **arrays,
        truth_points=mapped(truth) if truth.is_file() else None,
        cases=included.sort_values("row").reset_index(drop=True),
        shape_model=shape_model.load(root / "shape_model.npz"),
        meta=meta,
    )


def read_meta(root: Path) -> dict[str, Any]:
    """The fields of dataset.json.

    Raises:
      OSError: when it cannot be read.
      ValueError: when it is damaged.
    """
    try:
        meta = json.loads((root / SEAL).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{root / SEAL}: damaged ({error})") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{root / SEAL}: a table of fields was expected")
    return meta


def parts(root: Path, meta: dict[str, Any]) -> list[Path]:
    """The directories that the data set in ``root`` is joined of, in the order of its rows.

    Raises:
      ValueError: when ``meta`` does not tell them.
    """
    try:
        return [root / part["folder"] for part in meta["parts"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{root / SEAL}: parts with a folder each were expected") from error


def pictures(root: Path, name: str, meta: dict[str, Any]) -> np.ndarray | Pictures:
    """The images or masks of the data set in ``root``: those of its parts, shards, or one file.

    Raises:
      OSError: when they cannot be opened.
      ValueError: when they are damaged, or those of parts are of different sizes.
    """
    if "parts" in meta:
        return shards.joined([_own_pictures(part, name) for part in parts(root, meta)])
    return _own_pictures(root, name)


def _own_pictures(root: Path, name: str) -> np.ndarray | Pictures:
    shards_of = root / f"{name}.zarr"
    return (
        shards.opened(shards_of, root / SEAL)
        if shards_of.is_dir()
        else mapped(root / f"{name}.npy")
    )


def mapped(path: Path) -> np.ndarray:
    """The array of an .npy, memory-mapped.

    Raises:
      OSError: when it cannot be opened.
      ValueError: when it is damaged.
    """
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError, OverflowError) as error:
        raise ValueError(f"{path}: no array, or a damaged one ({error})") from error


def read_table(path: Path) -> pd.DataFrame:
    """A table of cases from CSV; names stay what they are, also NA, None, 001 and 1e5."""
    columns = pd.read_csv(path, nrows=0).columns
    absent = {name: ["", "nan", "NaN"] for name in columns if name not in NAMES}
    names = dict.fromkeys(NAMES, str)
    return pd.read_csv(path, dtype=names, na_values=absent, keep_default_na=False)


def epoch_order(rows: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> np.ndarray:
    """The rows of each batch of one epoch, (batches, batch_size), shuffled by seed and epoch.

    ``rows`` is (cases,), or (cases, n) as :meth:`Dataset.clips` gives them: then as many batches
    are filled with clips drawn at random, each of which stands together, and n must divide
    ``batch_size``. Full batches only, so that every step has the same shape; fewer rows than one
    batch are repeated to fill it.
    """
    order = rows[np.random.default_rng([seed, epoch]).permutation(len(rows))]
    return np.resize(order, (max(len(rows) // batch_size, 1), batch_size))


def blocks(count: int, size: int = 64) -> Iterator[np.ndarray]:
    """The rows 0 to ``count``, a few at a time, to read what does not fit in memory."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def arrays(data: Dataset) -> dict[str, np.ndarray | Pictures]:
    """What training needs of every case: image, mask, points and covers."""
    return {
        "image": data.images,
        "mask": data.masks,
        "points": data.points,
        "covers": data.covers,
    }


def batches(data: Dataset, order: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """The :func:`arrays` of the cases in each row of ``order`` (batches, batch_size)."""
    whole = arrays(data)
    for rows in order:
        yield {name: array[rows] for name, array in whole.items()}
