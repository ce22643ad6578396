"""How a model learns what to expect of itself: on held-out patients, seen as well and as badly as
scans may be, and on images that show no heart.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from tqdm import tqdm

from jssm.config import Augmentation
from jssm.dataset import Dataset
from jssm.evaluation import strangers
from jssm.image_path import from_uint8
from jssm.methods.confidence import Confidence, expected_dice, standardized
from jssm.methods.model import Model, pose_of
from jssm.rasterizer import rasterize_whole
from jssm.shape.masks import binarize
from jssm.shape.overlap import overlap
from jssm.shape.pose import decode
from jssm.training.augment import augment

AS_THEY_ARE, LIKE_THEM = "as they are", "like them"
LOOKS = {
    AS_THEY_ARE: Augmentation(),
    LIKE_THEM: Augmentation(
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
MATTER = 3.0  # how much more than other examples those like the images to come count


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
    patients = data.cases["patient"].to_numpy()
    found: list[Examples] = []
    for start in tqdm(range(0, len(rows), BATCH), "doubting", unit="batch", disable=None):
        chosen = rows[start : start + BATCH]
        filled = np.resize(chosen, BATCH)  # so that every batch is of one size
        images, masks = from_uint8(data.images[filled]), data.masks[filled].astype(np.float32)
        kinds = rng.choice(list(strangers.KINDS), BATCH)
        others = np.stack([
            strangers.KINDS[kind](rng, image, mask)
            for kind, image, mask in zip(kinds, images, masks, strict=True)
        ])  # fmt: skip
        seen, moved = _in_all_looks(jax.random.key(rng.integers(2**31)), images, masks)
        views = zip(LOOKS, seen, moved, strict=True)
        for name, image, mask in [*views, (kinds, others, np.zeros_like(masks))]:
            names = np.full(BATCH, name)
            cues, dice = map(np.asarray, look(image, mask))
            found.append(Examples(cues, dice, patients[filled], names).of(np.arange(len(chosen))))
    return Examples(*map(np.concatenate, zip(*found, strict=True)))


@jax.jit
def _in_all_looks(
    key: jax.Array, images: jax.Array, masks: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images in [0, 1] and masks of 0 and 1 (n, S, S) in each of the :data:`LOOKS`, as training
    makes them: two (looks, n, S, S)."""
    nowhere = jnp.zeros((len(images), 4, 2))  # of points, which do not matter here
    seen, moved = [], []
    for options, look_key in zip(LOOKS.values(), jax.random.split(key, len(LOOKS)), strict=True):
        view = (images, masks)
        if options != Augmentation():
            keys = jax.random.split(look_key, len(images))
            view = jax.vmap(partial(augment, options=options))(keys, images, masks, nowhere)[:2]
        seen.append(jnp.clip(view[0], 0, 1))
        moved.append(view[1])
    return jnp.stack(seen), jnp.stack(moved)


def _cues_and_dice(
    model: Model, images: jax.Array, masks: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The cues (n, C) of images (n, S, S), and the Dice (n,) of what is drawn, by masks of 0, 1."""
    pose = pose_of(model, images)
    points = jax.vmap(decode, (None, 0))(model.shape, pose)[2]
    draw = partial(
        rasterize_whole, shape=images.shape[1:], tau=model.tau, closed=model.shape.closed
    )
    drawn = jax.vmap(draw)(points)
    dice = jax.vmap(overlap)(binarize(drawn).astype(jnp.float32), masks)
    assert pose.cues is not None
    return pose.cues, jnp.where(jnp.sum(masks, axis=(1, 2)) > 0, dice, 0.0)


def fit(examples: Examples) -> Confidence:
    """The logistic regression of Dice on the cues, by its cross-entropy, and the threshold.

    The looks count alike, and so do the strangers, all together; only the images as they are, or
    like them, count :data:`MATTER` times as much. Examples with a cue that is not finite do not
    count: their confidence is 0 anyway.

    Raises:
      ValueError: when the cues of no example are finite, or the regression does not converge.
    """
    examples = examples.of(np.isfinite(examples.cues).all(axis=1))
    if not len(examples.cues):
        raise ValueError("the cues of no example are finite, so nothing can be learned of them")
    kinds = np.where(np.isin(examples.kinds, list(LOOKS)), examples.kinds, "stranger still")
    names, number, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    weights = (np.where(np.isin(names, (AS_THEY_ARE, LIKE_THEM)), MATTER, 1.0) / counts)[number]
    cues, nothing = jnp.asarray(examples.cues), jnp.zeros(())
    untaught = Confidence(
        jnp.mean(cues, axis=0), jnp.std(cues, axis=0) + 1e-6, jnp.zeros(cues.shape[1]),
        nothing, nothing,
    )  # fmt: skip
    units = np.asarray(standardized(cues, untaught), np.float64)
    bias, slopes = regression(units, examples.dice.astype(np.float64), weights / weights.sum())
    taught = untaught.replace(
        weights=jnp.asarray(slopes, jnp.float32), bias=jnp.asarray(bias, jnp.float32)
    )
    good = (examples.kinds == AS_THEY_ARE) & (examples.dice >= GOOD)
    if not good.any():
        return taught.replace(least=jnp.ones(()))  # nothing is to be trusted
    sure = expected_dice(taught, cues[good])
    return taught.replace(least=jnp.quantile(sure, 1 - KEPT))


def regression(units: NDArray, dice: NDArray, share: NDArray) -> tuple[float, NDArray]:
    """The bias and the weights (C,) of the logistic regression of ``dice`` (n,) on ``units``
    (n, C), in double precision; each example counts by its ``share`` (n,), which add up to 1.

    Raises:
      ValueError: when it does not converge.
    """

    def loss(weights: NDArray) -> tuple[float, NDArray]:
        logits, ridge = units @ weights[1:] + weights[0], RIDGE * weights[1:]
        entropy = np.logaddexp(0, logits) - dice * logits
        slopes = share * (special.expit(logits) - dice)  # of the entropy, by the logits
        gradient = np.append(slopes.sum(), slopes @ units + 2 * ridge)
        return share @ entropy + ridge @ weights[1:], gradient

    # In single precision no step lowers the loss any more while the gradient is still far from 0.
    found = optimize.minimize(loss, np.zeros(1 + units.shape[1]), jac=True)
    if not found.success:
        raise ValueError(f"the confidence cannot be learned: {found.message}")
    return found.x[0], found.x[1:]


class Judged(NamedTuple):
    """What was expected of examples, by what was learned on other patients: dice (n,), and whether
    they are refused (n,)."""

    dice: NDArray
    refused: NDArray


def crossed(examples: Examples) -> Judged:
    """Each half of the patients judged by what was learned on the other half.

    Raises:
      ValueError: when there is but one patient.
    """
    dice, refused = np.zeros(len(examples.dice)), np.zeros(len(examples.dice), bool)
    for own in halves(examples.patients):
        learned = fit(examples.of(~own))
        dice[own] = expected_dice(learned, jnp.asarray(examples.cues[own]))
        refused[own] = dice[own] < learned.least
    return Judged(dice, refused)


def halves(patients: NDArray) -> tuple[NDArray, NDArray]:
    """Which cases (n,) are of every other of the ``patients`` (n,), and which of the rest.

    Raises:
      ValueError: when there is but one patient.
    """
    names, number = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        raise ValueError("one patient is too few, at least two were expected")
    return number % 2 == 0, number % 2 == 1


def summary(examples: Examples, judged: Judged) -> list[dict[str, str]]:
    """A row for each kind of images: Dice, what was expected, how many were refused, of the good
    ones (Dice of :data:`GOOD` and more) too, and how well good and bad are told apart."""
    rows = []
    names = [*LOOKS, *strangers.KINDS]
    for name in [name for name in names if name in examples.kinds]:
        own = examples.kinds == name
        dice, expected, refused = examples.dice[own], judged.dice[own], judged.refused[own]
        good = dice >= GOOD
        rows.append({
            "images": name,
            "number": f"{len(dice)}",
            "Dice": f"{dice.mean():.3f}",
            "expected": f"{expected.mean():.3f}",
            "mean error": f"{np.abs(expected - dice).mean():.3f}",
            "refused": f"{refused.mean():.1%}",
            "good refused": f"{refused[good].mean():.1%}" if good.any() else "–",
            f"Dice under {GOOD} found (AUC)": f"{separation(expected, ~good):.3f}",
        })  # fmt: skip
    return rows


def separation(confidence: NDArray, bad: NDArray) -> float:
    """The area under the ROC curve: how often a bad example has a lower ``confidence`` (n,) than a
    good one, ties half; NaN where all are ``bad`` (n,) or none is."""
    worse, better = confidence[bad], confidence[~bad]
    if not len(worse) or not len(better):
        return float("nan")
    above = stats.mannwhitneyu(better, worse).statistic
    return float(above / (len(worse) * len(better)))
