"""The contract of a way to segment: all that training and evaluation know of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

AXIS = "batch"  # the mapped axis under which a loss runs, over all devices


def mean_dice(means: dict[str, float]) -> float:
    """The mean Dice of whole walls and of cavities, which count alike, whatever their numbers."""
    known = [means[name] for name in ("dice", "cavity_dice") if name in means]
    return sum(known) / len(known)


class Method(NamedTuple):
    """A way to segment, as three pure functions.

    Images are float32 (N, S, S) in 0..1 on their way through :mod:`jssm.image_path`; masks are
    (N, S, S) in 0..1; points are (x, y) in pixels.

    init(key) gives the Linen variables.

    loss(variables, batch, key) gives the scalar loss and, beside it, the metrics and the new batch
    statistics; it runs under the mapped axis :data:`AXIS`. ``batch`` has image and mask, points
    (N, T, 2), covers (N,) (the codes of :mod:`jssm.shape.labels`), place (N,), where each case
    stands in the whole batch of all devices, and the scalars point_weight, mask_weight and epoch,
    of which a method takes what it needs.

    predict(variables, images) gives an object with mask, and points (N, T, 2) or None.

    learns_points: its loss has a point term, with which training begins. clip: the frames of one
    cine that stand side by side in a batch and are augmented alike; 1 for single images.

    flow(variables, cine) gives, of a method that has it, the displacement (F, S, S, 2) px (x, y)
    of a cine (F, S, S): what lies at p in the first frame lies at p + displacement[f](p) in
    frame f.

    scores(variables, batch) gives, of a method that does not segment, the scores (N,) of the cases
    of a validation batch, by name, NaN where unknown; those of the others are Dice and point loss.
    merit(means) says of the means of the scores how good they are; more is better.
    """

    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, Any]]
    predict: Callable[[Any, jax.Array], Any]
    learns_points: bool = True
    clip: int = 1
    flow: Callable[[Any, jax.Array], jax.Array] | None = None
    scores: Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]] | None = None
    merit: Callable[[dict[str, float]], float] = mean_dice
