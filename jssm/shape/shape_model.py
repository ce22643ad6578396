"""The statistical shape model: a mean point cloud and its principal modes (Eq. 2 and 3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jssm.files.archive import read_npz


class ShapeModel(struct.PyTreeNode):
    """Shapes in the canonical frame: centroid of the mean 0, its RMS radius 1.

    mean: (T, 2) the mean point cloud P_m.
    modes: (K, T, 2) the principal modes C_β, orthonormal when flattened to (K, 2T).
    variances: (K,) their eigenvalues, largest first.
    closed: the shapes are rings, whose last points are followed by the first (``shape.order``).
    """

    mean: jax.Array
    modes: jax.Array
    variances: jax.Array
    closed: bool = struct.field(pytree_node=False, default=False)

    @property
    def num_points(self) -> int:
        """T, the number of points."""
        return self.mean.shape[0]

    @property
    def num_modes(self) -> int:
        """K, the number of modes (β_d in the paper)."""
        return self.modes.shape[0]

    @property
    def limits(self) -> jax.Array:
        """3√λ (K,), the bound of each mode weight."""
        return 3 * jnp.sqrt(self.variances)

    @jax.jit
    def deform(self, beta: jax.Array) -> jax.Array:
        """The canonical points (T, 2) of mode weights ``beta`` (K,): P_m + β·C_β (Eq. 3)."""
        return self.mean + jnp.tensordot(beta, self.modes, axes=1)

    @jax.jit
    def project(self, points: jax.Array) -> jax.Array:
        """The mode weights (K,) whose shape is nearest to canonical ``points`` (T, 2)."""
        return jnp.tensordot(self.modes, points - self.mean, axes=2)

    def truncate(self, num_modes: int) -> "ShapeModel":
        """The model with only its first ``num_modes`` modes.

        Raises:
          ValueError: when it has fewer.
        """
        if not 0 < num_modes <= self.num_modes:
            raise ValueError(
                f"the shape model has {self.num_modes} modes; cannot take the first {num_modes}"
            )
        return self.replace(modes=self.modes[:num_modes], variances=self.variances[:num_modes])


ARRAYS = ("mean", "modes", "variances")


def arrays_of(shape: ShapeModel) -> dict[str, Any]:
    """All of a model as arrays by name; ``closed`` is among them where it is True alone."""
    named = {name: getattr(shape, name) for name in ARRAYS}
    return {**named, "closed": np.ones(())} if shape.closed else named


def from_arrays(arrays: Mapping[str, Any]) -> ShapeModel:
    """The model of :func:`arrays_of`."""
    mean, modes, variances = (arrays[name] for name in ARRAYS)
    return ShapeModel(mean, modes, variances, bool(arrays.get("closed", False)))


def save(path: str | Path, shape: ShapeModel) -> None:
    """Write the model as an .npz of float32 arrays, those of :func:`arrays_of`."""
    arrays: dict[str, Any] = {}
    for name, array in arrays_of(shape).items():
        arrays[name] = np.asarray(array, np.float32)
    np.savez(path, **arrays)


def load(path: str | Path) -> ShapeModel:
    """Read what :func:`save` wrote.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when it is damaged, an array is missing or the shapes do not belong together.
    """
    arrays = read_npz(path)
    missing = set(ARRAYS) - set(arrays)
    if missing:
        raise ValueError(f"{path}: not a shape model, missing {sorted(missing)}")
    mean, modes, variances = arrays["mean"], arrays["modes"], arrays["variances"]
    if mean.ndim != 2 or modes.shape[1:] != mean.shape or variances.shape != modes.shape[:1]:
        raise ValueError(
            f"{path}: expected mean (T, 2), modes (K, T, 2), variances (K,); "
            f"got {mean.shape}, {modes.shape}, {variances.shape}"
        )
    return from_arrays({name: jnp.asarray(array) for name, array in arrays.items()})
