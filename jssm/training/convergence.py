"""Where a run stands, and what follows from it: pure functions, without arrays and files.

The paper trains in two parts (Appendix C): points alone, then points and mask. The second begins
when the validation point loss has not improved for ``train.patience`` validations, or after
``train.points_epochs`` epochs.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Progress:
    """Where a run stands; travels with the latest checkpoint as JSON.

    step: how many were taken. with_mask: the second part has begun. stale: validations since the
    point loss last improved. best: the greatest merit of a validation. sums: of each metric since
    the last validation, the sum and the number of steps that had it.
    """

    step: int = 0
    with_mask: bool = False
    stale: int = 0
    least_points_loss: float = float("inf")
    best: float = float("-inf")
    sums: dict[str, list[float]] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """The mean of each metric since the last validation."""
        return {name: total / count for name, (total, count) in self.sums.items()}


def from_json(values: dict[str, Any]) -> Progress:
    """The progress in a checkpoint; until version 0.3 ``best`` was called ``best_dice``."""
    renamed = {("best" if name == "best_dice" else name): v for name, v in values.items()}
    return Progress(**renamed)


def begin_epoch(progress: Progress, epoch: int, *, points_epochs: int) -> Progress:
    """Before an epoch, counted from 0: after ``points_epochs`` of them the mask loss begins."""
    return replace(progress, with_mask=progress.with_mask or epoch >= points_epochs)


def count(progress: Progress, metrics: dict[str, float]) -> Progress:
    """After a step.

    Raises:
      FloatingPointError: when the loss is not finite, naming the step.
    """
    step = progress.step + 1
    if not np.isfinite(metrics["loss"]):
        raise FloatingPointError(f"the loss is {metrics['loss']} at step {step}")
    sums = dict(progress.sums)
    for name, value in metrics.items():
        total, steps = sums.get(name, (0.0, 0))
        sums[name] = [total + value, steps + 1]
    return replace(progress, step=step, sums=sums)


def judge(
    progress: Progress, *, merit: float, points_loss: float, patience: int
) -> tuple[Progress, bool]:
    """After a validation; also gives whether it was the best so far.

    merit: more is better. points_loss: infinite where the method has none.
    """
    is_best = merit > progress.best
    progress = replace(progress, sums={}, best=merit if is_best else progress.best)
    if progress.with_mask:
        return progress, is_best
    stale = 0 if points_loss < progress.least_points_loss else progress.stale + 1
    least = min(points_loss, progress.least_points_loss)
    with_mask = stale >= patience
    return replace(progress, stale=stale, least_points_loss=least, with_mask=with_mask), is_best
