"""Made-up shapes, a model and a data set: enough to measure with."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jssm import rasterizer
from jssm.methods.model import Model
from jssm.networks.cascade import Cascade
from jssm.shape import shape_model
from jssm.shape.shape_model import from_arrays
from prep.dataset import store

NUM_POINTS, NUM_MODES = 88, 30
DISTINCT = 256  # cases that a data set has at most


def horseshoe(num_points: int) -> np.ndarray:
    """A strip (T, 2) in the canonical frame, open at the bottom: centroid 0, RMS radius 1."""
    angle = np.linspace(-1.5 * np.pi + 0.7, 0.5 * np.pi - 0.7, num_points // 2)
    arc = np.stack([np.cos(angle), 1.3 * np.sin(angle)], axis=-1)
    points = np.concatenate([0.76 * arc, arc])
    points -= points.mean(axis=0)
    return points / np.sqrt((points**2).sum(axis=1).mean())


def horseshoes(count: int, num_points: int, size: int, *, seed: int = 0) -> np.ndarray:
    """Horseshoes (N, T, 2) in pixels of a ``size`` × ``size`` image, each turned, scaled, shifted
    and bent by chance; none crosses itself or the border."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.5, 0.5, count), size * rng.uniform(0.22, 0.26, count)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=1)
    center = (size - 1) / 2 + rng.uniform(-0.05, 0.05, (count, 1, 2)) * size
    base = horseshoe(num_points)
    bend = rng.uniform(-0.1, 0.1, (count, 1, 1)) * (base**2)[:, ::-1]
    return np.einsum("nij,ntj->nti", linear, base + bend) + center


def model(size: int, *, depth: int, width: int, dtype: jnp.dtype | type = jnp.float32) -> Model:
    """A model of this project without weights, of the paper's numbers of points and modes."""
    mean = horseshoe(NUM_POINTS)
    flat = np.random.default_rng(0).normal(size=(2 * NUM_POINTS, NUM_MODES))
    modes = np.linalg.qr(flat)[0].T.reshape(NUM_MODES, NUM_POINTS, 2)
    variances = 0.5 * 0.8 ** np.arange(NUM_MODES)
    arrays = {"mean": mean, "modes": modes, "variances": variances}
    shape = from_arrays({name: jnp.asarray(a, jnp.float32) for name, a in arrays.items()})
    scale, center = 0.24 * size, (size - 1) / 2
    theta = jnp.array([[scale, 0, center], [0, scale, center]], jnp.float32)
    network = Cascade(num_modes=NUM_MODES, depth=depth, width=width, dtype=dtype)
    return Model({}, shape, theta, network, size)


def with_weights(empty: Model) -> Model:
    """The same model with the network's first weights."""
    images = jnp.zeros((1, empty.size, empty.size))
    initial = jax.jit(lambda key: empty.network.init(key, images, empty.mean_theta, train=False))
    return empty.replace(variables=initial(jax.random.key(0)))


def cases(count: int, size: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Images and masks (N, S, S) uint8 of horseshoes, and their points (N, T, 2) float32."""
    points = horseshoes(count, NUM_POINTS, size, seed=seed).astype(np.float32)
    draw = jax.jit(lambda p: rasterizer.rasterize(p, (size, size)))
    masks = np.stack([np.asarray(draw(p)) for p in points]) > 0.5
    noise = 20 * np.random.default_rng(seed).normal(size=masks.shape)
    images = np.clip(60 + 120 * masks + noise, 0, 255).astype(np.uint8)
    return {"image": images, "mask": masks.astype(np.uint8), "points": points}


def write_data_set(folder: Path, *, count: int, size: int, shard_cases: int = 0) -> None:
    """A data set (prep/DATASET.md) of ``count`` training cases and one validation case; the same
    :data:`DISTINCT` ones again and again. ``shard_cases`` is as for `prep build`."""
    total = count + 1
    made, shape = cases(min(total, DISTINCT), size), model(size, depth=18, width=4)
    again = np.arange(total) % DISTINCT
    folder.mkdir(parents=True, exist_ok=True)
    with store.pictures(folder, total, size, shard_cases) as take:
        for number in again:
            take(made["image"][number], made["mask"][number])
    arrays = {
        "points": made["points"][again],
        "canonical_points": np.broadcast_to(horseshoe(NUM_POINTS), (total, NUM_POINTS, 2)),
        "thetas": np.broadcast_to(np.asarray(shape.mean_theta), (total, 2, 3)),
        "spacing_mm": np.ones((total, 2)),
    }
    for name, array in arrays.items():
        store.save_floats(folder / f"{name}.npy", array)
    shape_model.save(folder / "shape_model.npz", shape.shape)
    names = [f"case{i:04d}" for i in range(total)]
    splits = ["train"] * count + ["val"]
    table = pd.DataFrame({"case": names, "patient": names, "frame": 0, "split": splits})
    table.assign(row=range(total)).to_csv(folder / "cases.csv", index=False)
    meta = {"format": 1, "size": size, "num_points": NUM_POINTS}
    (folder / "dataset.json").write_text(json.dumps(meta))
