"""A trained landmark network, applied: images of any size in, landmarks in their pixels out."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jssm import checkpoint
from jssm.image_path import from_uint8
from jssm.methods import landmark_net
from jssm.methods.method import Method
from jssm.networks.heatmaps import Landmarks
from jssm.shape import affine
from prep.dataset import images
from prep.errors import Refused

BATCH = 16  # images that are looked at together


@dataclass(frozen=True)
class Settings:
    """What decides the result of a training, beside the data."""

    size: int = 64
    width: int = 16
    levels: int = 4
    sigma_px: float = 1.0  # of the targets, in px of the network's input
    epochs: int = 15
    batch_size: int = 16
    learning_rate: float = 0.002
    seed: int = 0

    def method(self) -> Method:
        """The network of these settings."""
        return landmark_net.method(
            size=self.size, width=self.width, levels=self.levels, sigma_px=self.sigma_px
        )


@dataclass(frozen=True)
class Locator:
    """A trained network: its settings, its variables, and the mean landmarks (3, 2) of its
    training, upright on a grid of one pixel's width."""

    settings: Settings
    variables: Any
    mean_landmarks: np.ndarray

    def __call__(self, pictures: np.ndarray, *, threshold: float, aspect: float = 1.0) -> Landmarks:
        """The landmarks of uint8 images (N, H, W), in their pixels; with a leading axis N.

        Where a confidence is below the threshold there are none. aspect: the height of a pixel over
        its width.
        """
        size, square = self.settings.size, (self.settings.size, self.settings.size)
        small = np.stack([images.fit_image(p, size, aspect=aspect) for p in pictures])
        parts = [
            _predict(self.settings, self.variables, np.resize(part, (BATCH, *square)))
            for part in (small[k : k + BATCH] for k in range(0, len(small), BATCH))
        ]  # batches of one size, so that it compiles once
        seen = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(small)], *parts)
        found = seen.found & (seen.confidence >= threshold).all(axis=1)
        back = affine.invert(affine.letterbox(pictures.shape[1:], square, aspect=aspect))
        points = np.where(found[:, None, None], affine.apply(back, seen.points), np.nan)
        return seen.replace(points=points, found=found)


def load(run: Path) -> Locator:
    """The best network of a run directory.

    Raises:
      Refused: when it holds none.
    """
    try:
        stored = json.loads((run / "settings.json").read_text())
        weights = checkpoint.read_weights(run)
    except (OSError, ValueError) as error:
        raise Refused(f"{run}: no trained landmark network there ({error})") from error
    return Locator(
        Settings(**stored["settings"]), weights["variables"], np.array(stored["mean_landmarks"])
    )


@partial(jax.jit, static_argnums=0)
def _predict(settings: Settings, variables: Any, pictures: jax.Array) -> Landmarks:
    return settings.method().predict(variables, from_uint8(pictures))
