"""The network that finds θ and β, from afar and then from close by.

A ResNet and three fully connected layers give θ, as a correction of the training set's mean θ, and
β. With ``refinements``, further networks look at the image resampled into the canonical frame by
the θ before, and correct θ and β there (a cascade, as in Dollár et al., "Cascaded pose
regression", 2010). With ``searches``, further ones look across the wall (``networks.search``).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jssm.image_path import standardized
from jssm.networks import search
from jssm.networks.resnet import ResNet
from jssm.shape import affine
from jssm.shape.pose import Pose, decode, moved
from jssm.shape.shape_model import ShapeModel

# The part of the canonical frame that a refinement sees: ± this, in RMS radii of the mean shape.
VIEW_EXTENT = 2.0
LOG_NOISE = -2.3  # how well a search knows where points belong, at first: to 0.1 RMS radii


class Regressor(nn.Module):
    """A ResNet and three fully connected layers: (N, H, W) to (N, 6 + K) numbers near 0."""

    num_modes: int
    depth: int
    width: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        backbone = ResNet(self.depth, self.width, self.dtype, self.axis_name, name="backbone")
        x = backbone(images[..., None], train=train)[-1]
        x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
        for features in (512, 256):
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(6 + self.num_modes, kernel_init=nn.initializers.normal(0.01))(x)


class Cascade(nn.Module):
    """Images to poses, one per stage of the cascade.

    num_modes: K. depth, width, dtype, axis_name: of each :class:`jssm.networks.resnet.ResNet`.
    locate_size: the side to which the image is shrunk for the first network; 0 for its full size.
    refinements: how many networks follow the first. view_size: the side of their view.
    searches: how many look across the wall after them.
    """

    num_modes: int
    depth: int = 34
    width: int = 64
    locate_size: int = 0
    refinements: int = 0
    view_size: int = 128
    searches: int = 0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        mean_theta: jax.Array,
        shape: ShapeModel | None = None,
        *,
        train: bool,
    ) -> list[Pose]:
        """The poses after each stage, each with a leading axis N, for ``images`` (N, H, W).

        ``shape`` is the shape model that searches move.

        Raises:
          ValueError: when there are searches and no shape model.
        """
        images = jax.vmap(standardized)(images)
        batch, height, width = images.shape

        def regress(view: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
            regressor = Regressor(
                self.num_modes, self.depth, self.width, self.dtype, self.axis_name, name=name
            )
            output = regressor(view, train=train)
            return output[:, :6].reshape(batch, 2, 3), output[:, 6:]

        small = (batch, self.locate_size, self.locate_size)
        view = jax.image.resize(images, small, "linear") if self.locate_size else images
        correction, latent = regress(view, "locate")
        poses = [Pose(mean_theta + correction * (max(height, width) / 2), latent)]
        for stage in range(self.refinements):
            view = jax.vmap(canonical_view, (0, 0, None))(
                images, lax.stop_gradient(poses[-1].theta), self.view_size
            )
            poses.append(moved(poses[-1], *regress(view, f"refine_{stage}")))
        for stage in range(self.searches):
            if shape is None:
                raise ValueError(f"{self.searches} searches along the wall need the shape model")
            poses.append(self._searched(images, poses[-1], shape, stage, train=train))
        return poses

    def _searched(
        self, images: jax.Array, pose: Pose, shape: ShapeModel, stage: int, *, train: bool
    ) -> Pose:
        """The pose after one search across the wall."""
        network = search.Search(self.width, self.dtype, self.axis_name, name=f"search_{stage}")
        log_noise = self.param(f"log_noise_{stage}", nn.initializers.constant(LOG_NOISE), ())
        canonical = jax.vmap(decode, (None, 0))(shape, lax.stop_gradient(pose))[1]
        profiles = jax.vmap(search.profiles)(images, lax.stop_gradient(pose.theta), canonical)
        moves = network(profiles, train=train, closed=shape.closed)
        moves = jax.vmap(search.to_canonical)(moves, canonical)
        change = jax.vmap(search.fit, (None, 0, 0, None))(
            shape, canonical, moves, jnp.exp(log_noise)
        )
        return moved(pose, *change)


def canonical_view(image: jax.Array, theta: jax.Array, size: int) -> jax.Array:
    """What the ``image`` (H, W) shows in the canonical frame placed by theta: (size, size)."""
    step = 2 * VIEW_EXTENT / (size - 1)
    window = jnp.array([[step, 0, -VIEW_EXTENT], [0, step, -VIEW_EXTENT]])
    return affine.resample(image, affine.compose(theta, window), (size, size))
