"""TeTrIS (Lee et al., "TeTrIS: template transformer networks for image segmentation with shape
priors", 2019): a network deforms one template, the mean mask, through a spatial transformer.

An affine map comes first, then a free-form deformation whose cubic B-spline displacements a second
network reads off the image and the affinely placed template. Only the paper's abstract was at hand
and no code of its authors, so these are our choices:

- template: the training masks, each brought by its θ to the mean place, and averaged;
- affine: our own ResNet head (``model.depth``, ``model.width``), from the identity, its numbers
  times 0.1 so that the first steps do not throw the template off the heart, where the mask loss
  has no gradient to bring it back;
- control points: one in the middle of each cell of ``baseline.grid_px`` = 16 pixels, those at the
  margin repeated outside; two 3×3 convolutions and a 2×2 maximum per halving of the resolution
  until one pixel is one cell, ``model.width`` channels at first, twice as many after each halving;
- mask loss: one minus the soft Dice, of the deformed template alone;
- smoothness: the mean squared derivative of the displacement, in px per px, by differences of
  neighbouring pixels, with the weight ``baseline.smoothness`` = 0.1.

The template carries no points, so there are none here.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.scipy.ndimage import map_coordinates

from jssm.config import Config
from jssm.dataset import Dataset
from jssm.methods import losses
from jssm.methods.baselines import segmenter
from jssm.methods.baselines.convolutions import Convolutions
from jssm.methods.method import Method
from jssm.networks.cascade import Regressor
from jssm.networks.unet import halve
from jssm.shape import affine, labels

BATCH = 64  # masks that are averaged together
AFFINE_SCALE = 0.1  # of the head's numbers: ten times smaller steps of the affine map under Adam


class Deformed(NamedTuple):
    """The template placed in N images: mask (N, S, S), and the displacement (N, S, S, 2) px (x, y)
    that follows its affine map."""

    mask: jax.Array
    displacement: jax.Array


class Transformer(nn.Module):
    """Images (N, S, S, 1) and a template (S, S) to the deformed template.

    grid_px: pixels between control points, a power of 2. depth, width: see the module.
    """

    grid_px: int
    depth: int
    width: int
    dtype: Any
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, template: jax.Array, *, train: bool) -> Deformed:
        """The template in the place that each image shows."""
        regressor = Regressor(0, self.depth, self.width, self.dtype, self.axis_name, name="affine")
        numbers = regressor(images[..., 0], train=train).reshape(-1, 2, 3)
        theta = jax.vmap(about_center, (0, None))(AFFINE_SCALE * numbers, template.shape)
        placed = jax.vmap(affine.resample, (None, 0, None))(template, theta, template.shape)
        x = jnp.concatenate([images, placed[..., None]], axis=-1).astype(self.dtype)
        for level in range(int(np.log2(self.grid_px))):
            block = Convolutions(
                self.width * 2**level, 2, dtype=self.dtype, axis_name=self.axis_name
            )
            x = halve(block(x, train=train))
        controls = nn.Conv(2, (3, 3), kernel_init=nn.initializers.normal(1e-3), name="controls")(
            x.astype(jnp.float32)
        )
        displacement = jax.vmap(lambda c: free_form(c * self.grid_px, self.grid_px))(controls)
        mask = jax.vmap(transform, (None, 0, 0))(template, theta, displacement)
        return Deformed(mask, displacement)


def about_center(numbers: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The pixel map (2, 3) of six ``numbers`` (2, 3), in half image widths; 0 is the identity."""
    half = jnp.array(shape[::-1]) / 2
    return affine.about(half - 0.5, jnp.eye(2) + numbers[:, :2], numbers[:, 2] * half)


def bspline_weights(cells: int, grid_px: int) -> np.ndarray:
    """What each of ``cells`` control points weighs at each pixel, (cells · grid_px, cells).

    Control point k lies in the middle of the k-th cell of ``grid_px`` pixels; cubic B-splines are
    centred there. Those that would lie outside are copies of the outermost, so rows sum to 1.
    """
    place = (np.arange(cells * grid_px) + 0.5) / grid_px - 0.5
    weights = np.zeros((cells * grid_px, cells))
    for k in range(-2, cells + 2):
        weights[:, np.clip(k, 0, cells - 1)] += _cubic_bspline(place - k)
    return weights.astype(np.float32)


def free_form(controls: jax.Array, grid_px: int) -> jax.Array:
    """The displacement (rows · grid_px, columns · grid_px, 2) of control points (rows, columns, 2).

    A tensor product of cubic B-splines; both have the same unit, and equal displacements of all
    control points move every pixel as much.
    """
    down, across = (bspline_weights(n, grid_px) for n in controls.shape[:2])
    return jnp.einsum("yi,ijc,xj->yxc", down, controls, across)


def transform(template: jax.Array, theta: jax.Array, displacement: jax.Array) -> jax.Array:
    """The ``template`` (S, S) seen through theta (2, 3) after a ``displacement`` (S, S, 2) in px.

    Pixel q shows the template at theta(q + displacement(q)), bilinearly; 0 outside.
    """
    rows, columns = jnp.mgrid[: template.shape[0], : template.shape[1]].astype(jnp.float32)
    source = affine.apply(theta, jnp.stack([columns, rows], axis=-1) + displacement)
    return map_coordinates(template, [source[..., 1], source[..., 0]], order=1)


def roughness(displacement: jax.Array) -> jax.Array:
    """The mean squared difference of a displacement (S, S, 2) px between neighbouring pixels."""
    return jnp.mean(jnp.diff(displacement, axis=0) ** 2) + jnp.mean(
        jnp.diff(displacement, axis=1) ** 2
    )


def case_loss(
    deformed: Deformed, true: jax.Array, epoch: jax.Array, *, smoothness: float
) -> jax.Array:
    """The Dice loss of one deformed template (S, S) plus the weighted roughness of its field."""
    return losses.dice_loss(deformed.mask, true) + smoothness * roughness(deformed.displacement)


def mean_mask(data: Dataset) -> np.ndarray:
    """The mean (S, S), in [0, 1], of the training masks of whole walls, all at their mean place.

    Raises:
      ValueError: when the training set has no such mask.
    """
    shape, rows = data.masks.shape[1:], data.rows("train")
    rows = rows[data.covers[rows] == labels.MYOCARDIUM]
    if not len(rows):
        raise ValueError("the data set has no training case whose label covers the myocardium")
    from_place = affine.invert(jnp.asarray(mean_place(data.thetas[rows])))

    @jax.jit
    def together(masks: jax.Array, thetas: jax.Array) -> jax.Array:
        source = affine.compose(thetas, from_place)
        moved = jax.vmap(affine.resample, (0, 0, None))(masks, source, shape)
        return jnp.sum(moved, axis=0)

    total = np.zeros(shape, np.float64)
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        total += np.asarray(together(data.masks[part].astype(np.float32), data.thetas[part]))
    return (total / len(rows)).astype(np.float32)


def mean_place(thetas: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) with the mean centre, scale and direction of ``thetas`` (N, 2, 3).

    The mean θ itself is too small where hearts are turned differently.
    """
    a, b, c, d = thetas[:, :, :2].mean(axis=0).ravel()
    angle = np.arctan2(c - b, a + d)
    scale = np.mean(np.sqrt(np.linalg.det(thetas[:, :, :2])))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = thetas[:, :, 2].mean(axis=0)
    return np.array([[cos, -sin, x], [sin, cos, y]], np.float32)


def constants(config: Config, data: Dataset) -> dict[str, Any]:
    """The template, ``mean_mask`` (S, S)."""
    return {"mean_mask": jnp.asarray(mean_mask(data))}


def method(config: Config, constants: dict[str, Any]) -> Method:
    """The three functions, of images as large as the template.

    Raises:
      ValueError: when ``baseline.grid_px`` does not divide the side of the images, or the template
        is of another size.
    """
    options, baseline = config.model, config.baseline
    if options.size % baseline.grid_px:
        raise ValueError(
            f"baseline.grid_px: {baseline.grid_px} does not divide the images' side {options.size}"
        )
    template = constants["mean_mask"]
    if template.shape != (options.size, options.size):
        raise ValueError(
            f"the template is {template.shape[1]} pixels wide but the images are {options.size}"
        )
    network = Transformer(
        baseline.grid_px,
        options.depth,
        options.width,
        segmenter.dtype_of(options),
    )
    return segmenter.from_network(
        network,
        template,
        size=options.size,
        case_loss=partial(case_loss, smoothness=baseline.smoothness),
        masks_of=lambda deformed: deformed.mask,
    )


def _cubic_bspline(distance: np.ndarray) -> np.ndarray:
    """The uniform cubic B-spline at a signed ``distance`` from its centre, in knots."""
    d = np.abs(distance)
    near = 2 / 3 - d**2 + d**3 / 2
    return np.where(d < 1, near, np.where(d < 2, (2 - d) ** 3 / 6, 0.0))
