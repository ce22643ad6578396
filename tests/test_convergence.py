"""What follows from a step's metrics and from a validation: parts of the strategy, the best."""

import json
from dataclasses import asdict

import pytest

from jssm.training import convergence


def test_the_mask_loss_begins_when_the_points_have_converged():
    progress, seen = convergence.Progress(), []
    for points_loss in (3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 0.1):
        progress, _ = convergence.judge(progress, merit=0, points_loss=points_loss, patience=2)
        seen.append((progress.with_mask, progress.stale))
    assert seen == [
        (False, 0),
        (False, 0),
        (False, 1),
        (False, 0),
        (False, 1),
        (True, 2),
        (True, 2),
    ]


def test_the_mask_loss_begins_after_so_many_epochs():
    progress, seen = convergence.Progress(), []
    for epoch in range(4):
        progress = convergence.begin_epoch(progress, epoch, points_epochs=2)
        seen.append(progress.with_mask)
    assert seen == [False, False, True, True]
    assert convergence.begin_epoch(convergence.Progress(), 0, points_epochs=0).with_mask
    begun_by_itself = convergence.Progress(with_mask=True)
    assert convergence.begin_epoch(begun_by_itself, 1, points_epochs=9).with_mask


def test_the_best_validation_has_the_most_merit():
    progress, seen = convergence.Progress(sums={"loss": [3.0, 2]}), []
    for merit in (-2.0, 0.5, 0.5, 0.4, float("nan"), 0.6):
        progress, is_best = convergence.judge(
            progress, merit=merit, points_loss=float("inf"), patience=9
        )
        seen.append(is_best)
    assert seen == [True, True, False, False, False, True]
    assert progress.best == 0.6
    assert progress.sums == {}


def test_progress_is_counted_step_by_step():
    progress = convergence.Progress()
    for metrics in ({"loss": 3.0}, {"loss": 1.0, "mask_loss": 5.0}):
        progress = convergence.count(progress, metrics)
    assert progress.step == 2
    assert progress.means == {"loss": 2.0, "mask_loss": 5.0}
    with pytest.raises(FloatingPointError, match="the loss is inf at step 3"):
        convergence.count(progress, {"loss": float("inf")})


def test_progress_of_earlier_versions_is_understood():
    old = {"step": 5, "with_mask": True, "stale": 1, "least_points_loss": 2.0, "best_dice": 0.4}
    progress = convergence.from_json(json.loads(json.dumps(old | {"sums": {"loss": [1.0, 2]}})))
    assert progress == convergence.Progress(5, True, 1, 2.0, 0.4, {"loss": [1.0, 2]})
    assert convergence.from_json(json.loads(json.dumps(asdict(progress)))) == progress
