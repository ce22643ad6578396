"""How a model learns what to expect of itself: on held-out patients, seen as well and as badly as
scans may be, and on images that show no heart.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from tqdm import tqdm

from jssm.config import Augmentation
from jssm.dataset import Dataset
from jssm.evaluation import strangers
from jssm.image_path import from_uint8
from jssm.methods.confidence import Confidence, expected_dice, standardized
from jssm.methods.model import Model, pose_of
from jssm.rasterizer import rasterize_whole
from jssm.shape.masks import binarize, overlap
from jssm.shape.pose import decode
from jssm.training.augment import augment

AS_THEY_ARE = "as they are"
LOOKS = {
    AS_THEY_ARE: Augmentation(),
    "like them": Augmentation(
        flip_left_right=True, rotation_degrees=20, translation=0.05, log_scale=0.15,
        contrast=0.3, shading=0.2, blur_px=1.0, noise=0.1,
    ),
    "strange": Augmentation(
        flip_left_right=True, flip_up_down=True, rotation_degrees=180, translation=0.35,
        log_scale=0.7, log_aspect=0.2, contrast=1.0, shading=0.6, blur_px=4.0, noise=0.6,
        curves=0.5, convolutions=0.5,
    ),
    "stranger": Augmentation(
        flip_left_right=True, rotation_degrees=45, translation=0.2, log_scale=0.5, contrast=1.5,
        shading=1.0, blur_px=6.0, noise=1.0, curves=0.5, convolutions=1.0, surroundings=0.3,
    ),
}  # fmt: skip
BATCH = 20
GOOD = 0.7  # the Dice of a prediction that is of use
KEPT = 0.95  # of the good predictions, by the threshold
RIDGE = 1e-3  # on the weights of the cues


class Examples(NamedTuple):
    """Predictions and what came of them: cues (n, C), dice (n,), 0 where there was no heart, the
    patients (n,) and the kinds (n,), names of :data:`LOOKS` and of ``strangers.KINDS``."""

    cues: NDArray
    dice: NDArray
    patients: NDArray
    kinds: NDArray

    def of(self, chosen: NDArray) -> "Examples":
        """Those that are chosen, by indices or as booleans."""
        return Examples(*(each[chosen] for each in self))


def collect(model: Model, data: Dataset, rows: NDArray, *, seed: int = 0) -> Examples:
    """What the model does with the cases ``rows`` in every look, and with strangers made of them.

    Raises:
      ValueError: when the network has no cues.
    """
    square = jnp.zeros((1, model.size, model.size))
    if jax.eval_shape(pose_of, model, square).cues is None:
        raise ValueError("the model does not tell how sure it is; the method evidence does")
    look = jax.jit(partial(_cues_and_dice, model))
    rng = np.random.default_rng(seed)
    patients = data.cases["patient"].to_numpy()[rows]
    found: list[Examples] = []
    total = len(rows) * (len(LOOKS) + 1)
    with tqdm(total=total, desc="doubting", unit="image", disable=None) as bar:
        for start in range(0, len(rows), BATCH):
            chosen = rows[start : start + BATCH]
            images, masks = from_uint8(data.images[chosen]), data.masks[chosen]
            kinds = rng.choice(list(strangers.KINDS), len(chosen))
            seen = {
                name: _seen_as(jax.random.key(rng.integers(2**31)), images, masks, options)
                for name, options in LOOKS.items()
            }
            others = np.stack(
                [
                    strangers.KINDS[kind](rng, image, mask)
                    for kind, image, mask in zip(kinds, images, masks, strict=True)
                ]
            )
            for name, (image, mask) in {**seen, "": (others, np.zeros(masks.shape))}.items():
                cues, dice = look(image, binarize(mask).astype(np.float32))
                found.append(
                    Examples(
                        np.asarray(cues),
                        np.asarray(dice),
                        patients[start : start + BATCH],
                        np.array([name] * len(chosen)) if name else kinds,
                    )
                )
                bar.update(len(chosen))
    return Examples(*map(np.concatenate, zip(*found, strict=True)))


def _seen_as(
    key: jax.Array, images: NDArray, masks: NDArray, options: Augmentation
) -> tuple[jax.Array, jax.Array]:
    """Random views of images and masks (n, S, S), as training makes them."""
    nowhere = jnp.zeros((len(images), 4, 2))
    keys = jax.random.split(key, len(images))
    seen, moved, _ = jax.vmap(partial(augment, options=options))(
        keys, jnp.asarray(images), jnp.asarray(masks, jnp.float32), nowhere
    )
    return jnp.clip(seen, 0, 1), moved


def _cues_and_dice(
    model: Model, images: jax.Array, masks: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The cues (n, C) of images (n, S, S), and the Dice (n,) of what is drawn with masks of 0, 1."""
    pose = pose_of(model, images)
    points = jax.vmap(decode, (None, 0))(model.shape, pose)[2]
    drawn = jax.vmap(lambda p: rasterize_whole(p, images.shape[1:], tau=model.tau))(points)
    dice = jax.vmap(overlap)(binarize(drawn).astype(jnp.float32), masks)
    assert pose.cues is not None
    return pose.cues, jnp.where(jnp.sum(masks, axis=(1, 2)) > 0, dice, 0.0)


def fit(examples: Examples) -> Confidence:
    """The logistic regression of Dice on the cues, by its cross-entropy, and the threshold.

    The looks count alike, and so do the strangers, all together.
    """
    kinds = np.where(np.isin(examples.kinds, list(LOOKS)), examples.kinds, "stranger still")
    names, number, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    share = jnp.asarray(1 / (len(names) * counts[number]))
    center, scale = examples.cues.mean(axis=0), examples.cues.std(axis=0) + 1e-6
    untaught = Confidence(center, scale, np.zeros_like(center), np.float32(0), np.float32(0))
    units, dice = standardized(examples.cues, untaught), jnp.asarray(examples.dice)

    def loss(weights: jax.Array) -> jax.Array:
        logits = units @ weights[1:] + weights[0]
        entropy = dice * jax.nn.softplus(-logits) + (1 - dice) * jax.nn.softplus(logits)
        return share @ entropy + RIDGE * jnp.sum(weights[1:] ** 2)

    start = np.zeros(1 + len(center))
    found = optimize.minimize(jax.jit(jax.value_and_grad(loss)), start, jac=True).x
    taught = untaught.replace(weights=found[1:].astype(np.float32), bias=np.float32(found[0]))
    good = (examples.kinds == AS_THEY_ARE) & (examples.dice >= GOOD)
    sure = np.asarray(expected_dice(taught, examples.cues[good]))
    return taught.replace(least=np.float32(np.quantile(sure, 1 - KEPT)))
