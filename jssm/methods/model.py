"""The network that bends and places the shape model, and its prediction (Eq. 3, 4 and 8).

A ResNet and three fully connected layers give θ, as a correction of the training set's mean θ, and
β. With ``refinements``, further networks look at the image resampled into the canonical frame by
the θ before, and correct θ and β there (a cascade, as in Dollár et al., "Cascaded pose
regression", 2010). With ``searches``, further ones look across the wall (``networks.search``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax import lax

from jssm.methods import losses
from jssm.networks import search
from jssm.networks.resnet import ResNet
from jssm.rasterizer import rasterize, rasterize_whole
from jssm.shape import affine, labels
from jssm.shape.integrity import Integrity, integrity
from jssm.shape.shape_model import ShapeModel

# The part of the canonical frame that a refinement sees: ± this, in RMS radii of the mean shape.
VIEW_EXTENT = 2.0
LOG_NOISE = -2.3  # how well a search knows where points belong, at first: to 0.1 RMS radii


class Method(NamedTuple):
    """A way to segment, as three pure functions: all that training and evaluation know of it.

    init(key) gives the Linen variables. loss(variables, batch, key) gives the scalar loss and,
    beside it, the metrics and the new batch statistics; it runs under a mapped axis "batch".
    predict(variables, images) gives an object with mask (N, H, W), and points (N, T, 2) or None.
    learns_points: its loss has a point term, with which training begins. clip: the frames of one
    cine that stand side by side in a batch and are augmented alike; 1 for single images.
    flow(variables, cine) gives, of a method that has it, the displacement (F, H, W, 2) px (x, y)
    of a cine (F, H, W): what lies at p in the first frame lies at p + displacement[f](p) in
    frame f.
    """

    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, Any]]
    predict: Callable[[Any, jax.Array], Any]
    learns_points: bool = True
    clip: int = 1
    flow: Callable[[Any, jax.Array], jax.Array] | None = None


class Pose(NamedTuple):
    """What places one shape: theta (2, 3) and the unbounded mode weights ``latent`` (K,)."""

    theta: jax.Array
    latent: jax.Array


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
        x = backbone(images[..., None], train=train)
        x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
        for features in (512, 256):
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(6 + self.num_modes, kernel_init=nn.initializers.normal(0.01))(x)


class Network(nn.Module):
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
        images = jax.vmap(normalize)(images)
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
            theta, latent = poses[-1]
            view = jax.vmap(canonical_view, (0, 0, None))(
                images, lax.stop_gradient(theta), self.view_size
            )
            correction, change = regress(view, f"refine_{stage}")
            theta = affine.compose(theta, jnp.eye(2, 3) + correction)
            poses.append(Pose(theta, latent + change))
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
        moves = jax.vmap(search.to_canonical)(network(profiles, train=train), canonical)
        correction, change = jax.vmap(search.fit, (None, 0, 0, None))(
            shape, canonical, moves, jnp.exp(log_noise)
        )
        theta = affine.compose(pose.theta, jnp.eye(2, 3) + correction)
        return Pose(theta, pose.latent + change)


class Model(struct.PyTreeNode):
    """A network with its weights and its shape model: all that a prediction needs.

    variables: the Linen variables ``params`` and ``batch_stats``.
    shape: the shape model. mean_theta: (2, 3), the training set's mean θ.
    network: the Linen module. size: the side of its square input, in pixels. tau: the softness of
    the mask, in pixels.
    """

    variables: Any
    shape: ShapeModel
    mean_theta: jax.Array
    network: Network = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)
    tau: float = struct.field(pytree_node=False, default=0.5)


class Prediction(struct.PyTreeNode):
    """What a model sees in N images of (H, W), in the pixels of those images.

    points: (N, T, 2) (Eq. 4). mask: (N, H, W) in [0, 1] (Eq. 8), a wall of at least about a pixel
    everywhere, so that it is one piece when cut at 0.5. theta: (N, 2, 3), from the
    canonical frame to the image. beta: (N, K), within ±3√λ. canonical_points: (N, T, 2) (Eq. 3).
    integrity: the certificate of each shape, (N,) in each field; ``integrity.ok`` sums it up.
    """

    points: jax.Array
    mask: jax.Array
    theta: jax.Array
    beta: jax.Array
    canonical_points: jax.Array
    integrity: Integrity


@jax.jit
def predict(model: Model, images: jax.Array, *, aspect: jax.Array | None = None) -> Prediction:
    """Segment ``images`` (N, H, W), in any intensity units and of any size.

    Images of another size than the network's, or whose pixels are not square, are letterboxed to
    it, and the result is mapped back. Pixels that are not finite count as 0. Pure: works under
    jit, vmap, grad and pmap.

    aspect: height over width of the images' pixels (``affine.aspect_of`` their spacing); None
    for square ones.

    Raises:
      ValueError: when ``images`` is not three-dimensional.
    """
    images = check_images(images)
    shape = images.shape[1:]
    square = (model.size, model.size)
    ratio = 1.0 if aspect is None else jnp.asarray(aspect, jnp.float32)
    to_square = jnp.asarray(affine.letterbox(shape, square, aspect=ratio))
    if shape == square and aspect is None:
        inputs = images
    else:
        inputs = jax.vmap(_letterboxed, (0, None, None))(images, square, to_square)
    poses: Any = model.network.apply(
        model.variables, inputs, model.mean_theta, model.shape, train=False
    )
    theta = affine.compose(affine.invert(to_square), poses[-1].theta)
    beta, canonical, points = jax.vmap(decode, (None, 0))(
        model.shape, Pose(theta, poses[-1].latent)
    )
    mask = jax.vmap(lambda p: rasterize_whole(p, shape, tau=model.tau))(points)
    return Prediction(points, mask, theta, beta, canonical, jax.vmap(integrity)(points))


def method(model: Model) -> Method:
    """The three functions of this model's network, shape model and mean θ; its weights are unused.

    The key of ``loss`` is unused: nothing in the network is random.
    """
    training = model.network.clone(axis_name="batch")

    def init(key: jax.Array) -> Any:
        images = jnp.zeros((1, model.size, model.size))
        return model.network.init(key, images, model.mean_theta, model.shape, train=False)

    return Method(
        init=init,
        loss=lambda variables, batch, key: loss(
            model.replace(variables=variables, network=training), batch
        ),
        predict=lambda variables, images: predict(model.replace(variables=variables), images),
    )


def decode(shape: ShapeModel, pose: Pose) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The mode weights (K,), canonical points (T, 2) and image points (T, 2) of one pose.

    The weights are 3√λ·tanh(latent): smooth, and never beyond ±3√λ.
    """
    beta = shape.limits * jnp.tanh(pose.latent)
    canonical = shape.deform(beta)
    return beta, canonical, affine.apply(pose.theta, canonical)


def normalize(image: jax.Array) -> jax.Array:
    """The image (H, W) with mean 0 and standard deviation 1; a constant image gives 0."""
    centered = image - jnp.mean(image)
    variance = jnp.mean(centered**2)
    is_constant = variance == 0
    return jnp.where(is_constant, 0.0, centered * lax.rsqrt(jnp.where(is_constant, 1.0, variance)))


def canonical_view(image: jax.Array, theta: jax.Array, size: int) -> jax.Array:
    """What the ``image`` (H, W) shows in the canonical frame placed by theta: (size, size)."""
    step = 2 * VIEW_EXTENT / (size - 1)
    window = jnp.array([[step, 0, -VIEW_EXTENT], [0, step, -VIEW_EXTENT]])
    return affine.resample(image, affine.compose(theta, window), (size, size))


def loss(
    model: Model, batch: dict[str, jax.Array]
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    """Eq. 10 over a batch; in a cascade every stage has a point loss, the last one the mask's.

    ``batch`` has image (N, S, S), mask (N, S, S), points (N, T, 2), covers (N,) (the codes of
    :mod:`jssm.shape.labels`) and the scalar weights point_weight and mask_weight (δ). Where a label
    covers the cavity, the mask loss compares it with the polygon of the inner points, closed at
    the base; points that are NaN do not count. Each term is a mean over the cases that have it.
    Gives the loss and, beside it, the last stage's metrics and the new batch statistics. The mask
    is rendered only where its weight is not 0.
    """
    poses, new_stats = model.network.apply(
        model.variables,
        batch["image"],
        model.mean_theta,
        model.shape,
        train=True,
        mutable=["batch_stats"],
    )
    shape_hw = batch["mask"].shape[1:]
    axis_name, covers = model.network.axis_name, batch["covers"]
    has_points = jnp.any(jnp.isfinite(batch["points"]), axis=(1, 2))

    def of_points(points: jax.Array) -> jax.Array:
        each = jax.vmap(lambda p, true: losses.point_loss(p, true, shape_hw))
        return losses.mean_over(each(points, batch["points"]), has_points, axis_name)

    def of_mask(points: jax.Array) -> jax.Array:
        strips = jax.vmap(labels.covered_strip)(points, covers)
        masks = jax.vmap(lambda p: rasterize(p, shape_hw, tau=model.tau))(strips)
        each = jax.vmap(losses.dice_loss)(masks, batch["mask"])
        return losses.mean_over(each, covers != labels.NONE, axis_name)

    clouds = [jax.vmap(decode, (None, 0))(model.shape, pose)[2] for pose in poses]
    mask_term = lax.cond(batch["mask_weight"] > 0, of_mask, lambda _: jnp.zeros(()), clouds[-1])
    total = batch["point_weight"] * sum(map(of_points, clouds)) + batch["mask_weight"] * mask_term
    point_term = of_points(clouds[-1])
    metrics = {"loss": total, "points_loss": point_term, "mask_loss": mask_term}
    return total, (metrics, new_stats["batch_stats"])


def check_images(images: jax.Array) -> jax.Array:
    """``images`` (N, H, W) as float32, with 0 for what is not finite.

    Raises:
      ValueError: when it is not three-dimensional.
    """
    images = jnp.asarray(images)
    if images.ndim != 3:
        hint = "; add the leading axis with image[None]" if images.ndim == 2 else ""
        raise ValueError(f"images must have the shape (N, H, W), got {images.shape}{hint}")
    images = images.astype(jnp.float32)
    return jnp.where(jnp.isfinite(images), images, 0.0)


def _letterboxed(image: jax.Array, shape: tuple[int, ...], theta: jax.Array) -> jax.Array:
    """The image fitted into ``shape`` by ``theta``, of :func:`affine.letterbox`, unaliased.

    Its darkest value becomes 0, as in a data set, and so is the padding.
    """
    image = image - jnp.min(image)
    scale = jnp.stack([theta[1, 1], theta[0, 0]])
    shift = (jnp.array(shape) - scale * jnp.array(image.shape)) / 2
    return jax.image.scale_and_translate(
        image, shape, (0, 1), scale, shift, method="linear", antialias=True
    )
