"""Batches on their way to the devices."""

import jax
import numpy as np
import pytest

from jssm import dataset
from jssm.training import feed


def test_data_that_does_not_fit_is_streamed(small_data, monkeypatch):
    """The same batches in the same order, and no more than a few of them at a time."""
    data = dataset.load(small_data)
    order = dataset.epoch_order(data.rows("train"), 4, seed=0, epoch=0)
    resident = list(feed.Feed(data, jax.devices()[:1]).batches(order))
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    streamed = list(feed.Feed(data, jax.devices()[:1]).batches(order))
    expected = list(dataset.batches(data, order))
    assert len(resident) == len(streamed) == len(expected) == 4
    for batch in (resident, streamed):
        for found, true in zip(batch, expected, strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), found, true)


def test_an_error_while_streaming_is_not_lost(small_data, monkeypatch):
    data = dataset.load(small_data)
    monkeypatch.setattr(feed, "RESIDENT_SHARE", 0.0)
    with pytest.raises(IndexError):
        list(feed.Feed(data, jax.devices()[:1]).batches(np.array([[10**6]])))
