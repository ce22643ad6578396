"""Evidence from every pixel, shape from the model: images to poses.

A dense network (``networks.dense``) maps the wall, the cavity and three landmarks. The landmarks
place the mean shape (``shape.placing``); nothing is regressed, so that a heart in another place is
the same evidence elsewhere. Searches across the wall, in the dense network's features, then tell
how far each point is to move and how sure that is, and the shape model is fitted to all of it
(``networks.feature_search``).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jssm.image_path import standardized
from jssm.networks import feature_search, heatmaps
from jssm.networks.cues import cues
from jssm.networks.dense import FEATURE_STRIDE, LANDMARK_STRIDE, Dense, Maps, to_image, to_map
from jssm.networks.feature_search import FeatureSearch, Moves
from jssm.shape import affine, placing
from jssm.shape.pose import Pose, decode, moved
from jssm.shape.shape_model import ShapeModel

HALF_PROFILES = (0.7, 0.5, 0.4)  # of the first searches, in RMS radii; later ones have the last
LOG_TRUST = -1.0  # how much the moves count, before training
SIGMA_PX = 1.5  # of the landmarks' targets, in pixels of their maps


class Observation(NamedTuple):
    """All that the network makes of N images.

    maps: the dense evidence. poses: that of the landmarks, then one per search, with what its fit
    tells of it. moves: what each search found.
    """

    maps: Maps
    poses: list[Pose]
    moves: list[Moves]


class EvidenceNetwork(nn.Module):
    """Images to poses, one of the landmarks and one per search.

    depth, width, dtype, axis_name, encoder: of :class:`jssm.networks.dense.Dense`. searches: how
    many.
    """

    depth: int = 18
    width: int = 32
    searches: int = 3
    dtype: Any = jnp.float32
    axis_name: str | None = None
    encoder: str = "resnet"

    def setup(self) -> None:
        """The dense network, and what each search learns."""
        self.dense = Dense(self.depth, self.width, self.dtype, self.axis_name, self.encoder)
        self.across = [
            FeatureSearch(self.width, self.dtype, self.axis_name) for _ in range(self.searches)
        ]
        self.log_trust = [
            self.param(f"log_trust_{k}", nn.initializers.constant(LOG_TRUST), ())
            for k in range(self.searches)
        ]

    def __call__(
        self, images: jax.Array, mean_theta: jax.Array, shape: ShapeModel, *, train: bool
    ) -> list[Pose]:
        """The poses after each stage, each with a leading axis N, for ``images`` (N, H, W).

        The mean θ has no say in them.
        """
        steady = jnp.zeros((images.shape[0], 2, 3))
        seen = self.observe(images, shape, steady, train=train)
        *before, last = seen.poses
        if not seen.moves:  # nothing was searched, so nothing can be told
            return seen.poses
        of_one = partial(cues, shape, sigma_px=SIGMA_PX)
        found = jax.vmap(of_one)(seen.maps, seen.poses[0], last, seen.moves[-1])
        return [*before, last._replace(cues=found)]

    def observe(
        self, images: jax.Array, shape: ShapeModel, jitter: jax.Array, *, train: bool
    ) -> Observation:
        """The poses and what they rest on; ``jitter`` (N, 2, 3) is added to the first pose, in
        the canonical frame."""
        maps = self.dense(jax.vmap(standardized)(images)[..., None], train=train)
        theta = jax.vmap(place, (None, 0))(shape, maps.landmarks)
        theta = affine.compose(theta, jnp.eye(2, 3) + jitter)
        pose = Pose(lax.stop_gradient(theta), jnp.zeros((images.shape[0], shape.num_modes)))
        poses, moves = [pose], []
        for k in range(self.searches):
            moves.append(self.search(k, maps.features, shape, pose, train=train))
            step = jax.vmap(feature_search.fit, (None, 0, 0, None))(
                shape, pose.latent, moves[-1], jnp.exp(self.log_trust[k])
            )
            pose = moved(pose, step.place, step.latent)._replace(factor=step.factor)
            poses.append(pose)
        return Observation(maps, poses, moves)

    def search(
        self, number: int, features: jax.Array, shape: ShapeModel, pose: Pose, *, train: bool
    ) -> Moves:
        """What the search of this number finds in ``features`` (N, h, w, F) about poses with a
        leading axis N."""
        profiles = jax.vmap(look, (None, 0, 0, None))(
            shape, features, lax.stop_gradient(pose), half_profile(number)
        )
        return self.across[number](profiles, train=train, closed=shape.closed)


def half_profile(search: int) -> float:
    """How far the search of this number sees, in RMS radii, to either side of the wall's middle."""
    return HALF_PROFILES[min(search, len(HALF_PROFILES) - 1)]


def place(shape: ShapeModel, landmarks: jax.Array) -> jax.Array:
    """θ (2, 3), by the mean shape, from the landmarks' maps (h, w, 3)."""
    found = heatmaps.peaks(landmarks, sigma_px=SIGMA_PX)
    points = to_image(found.points, LANDMARK_STRIDE)
    middles = placing.middles(shape.mean, closed=shape.closed)
    return placing.from_landmarks(middles, points, found.confidence)


def look(shape: ShapeModel, features: jax.Array, pose: Pose, half_width: float) -> jax.Array:
    """The profiles (T/2, SAMPLES, F) of ``features`` (h, w, F) across the wall of a pose."""
    canonical = decode(shape, pose)[1]
    places = affine.apply(pose.theta, feature_search.profile_places(canonical, half_width))
    return feature_search.sample(features, to_map(places, FEATURE_STRIDE))
