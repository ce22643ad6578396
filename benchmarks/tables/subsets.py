"""Data sets with a part of the training patients."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jssm import dataset
from jssm.dataset import Dataset
from jssm.shape import shape_model
from jssm.shape.shape_model import ShapeModel
from prep.shapes.pca import principal_modes

_ARRAYS = ("images", "masks", "points", "canonical_points", "thetas", "spacing_mm")


def folder_of(data: Path, share: float, out: Path) -> Path:
    """Where the part ``share`` of the training patients of ``data`` is; itself for all of them."""
    return data if share == 1 else out / "data" / f"{data.name}_{round(100 * share)}percent"


def write(source: Path, share: float, folder: Path, *, seed: int = 0) -> None:
    """Write to ``folder`` the data set ``source`` with ``share`` of its training patients.

    At least one patient is kept; who, the seed says, and a smaller share is part of a larger one.
    The validation cases are those of the source. Mean and modes of the shape model are computed
    again from the canonical points of the training cases that are left. An existing folder stays
    as it is.

    Raises:
      FileNotFoundError: when the source is not a data set.
      ValueError: when fewer than two training cases are left.
    """
    if (folder / "dataset.json").is_file():
        return
    data = dataset.load(source)
    rows = kept_rows(data, share, seed=seed)
    train = rows[np.isin(rows, data.rows("train"))]
    if len(train) < 2:
        raise ValueError(
            f"{source}: {100 * share:.0f} % of its training patients have {len(train)} case, "
            "expected at least 2"
        )
    shape = _shape_of(data, train)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(data, name) for name in (*_ARRAYS, "truth_points")}
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array[rows])
    shape_model.save(folder / "shape_model.npz", shape)
    data.cases.iloc[rows].assign(row=np.arange(len(rows))).to_csv(folder / "cases.csv", index=False)
    meta = {"num_cases": len(rows), "num_listed": len(rows), "num_modes": shape.num_modes}
    # Last, so that a folder that was cut short is written again.
    (folder / "dataset.json").write_text(json.dumps(data.meta | meta, indent=1))


def kept_rows(data: Dataset, share: float, *, seed: int) -> np.ndarray:
    """The rows of all validation cases, and of the ``share`` of training patients, in order."""
    patients = data.cases["patient"].to_numpy()
    known = np.unique(patients[data.rows("train")])
    drawn = np.random.default_rng(seed).permutation(known)[: max(round(share * len(known)), 1)]
    train = data.rows("train")
    return np.sort(np.concatenate([train[np.isin(patients[train], drawn)], data.rows("val")]))


def _shape_of(data: Dataset, rows: np.ndarray) -> ShapeModel:
    """The shape model of the cases whose points are known."""
    clouds = data.canonical_points[rows]
    clouds = clouds[np.isfinite(clouds).all(axis=(1, 2))]
    found = principal_modes(clouds, data.shape_model.num_modes)
    mean, modes, variances = (jnp.asarray(array, jnp.float32) for array in found)
    return ShapeModel(mean, modes, variances)
