"""Whole walls around drawn cavities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.methods import completing
from jssm.methods.model import Model
from jssm.networks import feature_search
from jssm.networks.dense import Maps
from jssm.networks.evidence import EvidenceNetwork, Observation
from jssm.networks.feature_search import Moves
from jssm.shape import affine, order
from jssm.shape.pose import Pose, decode
from jssm.shape.vectors import nearest_offsets
from tests.conftest import SIZE

SEEN = jnp.array([[8.0, 0.0, 15.0], [0.0, 8.0, 16.0]])
TRUE = Pose(jnp.array([[9.0, 1.0, 17.0], [-1.5, 8.5, 15.0]]), jnp.array([0.2, -0.1]))


class Beside(EvidenceNetwork):
    """It sees every heart at SEEN. Its search sees where the outer boundary is, and is as sure of
    an inner one far inside: with a ``deviation`` of 1000 it sees nothing and knows that."""

    deviation: float = 0.02

    def observe(self, images, shape, jitter, *, train):
        none = jnp.zeros((len(images), 1, 1, 1))
        pose = Pose(jnp.tile(SEEN, (len(images), 1, 1)), jnp.zeros((len(images), shape.num_modes)))
        return Observation(Maps(none, none, none), [pose], [])

    def search(self, number, features, shape, pose, *, train):
        def seen(pose):
            canonical = decode(shape, pose)[1]
            true = affine.apply(affine.invert(pose.theta), decode(shape, TRUE)[2])
            means = jnp.einsum("tad,td->ta", feature_search.frames(canonical), true - canonical)
            means -= jnp.where(order.is_outer(len(means)), 0.0, 0.5)[:, None]
            return Moves(means, jnp.full_like(means, self.deviation**2))

        return jax.vmap(seen)(pose)


def model_of(network, shape, *trusts):
    weights = {f"log_trust_{k}": jnp.log(trust) for k, trust in enumerate(trusts or (1.0,))}
    return Model({"params": weights}, shape, SEEN, network, SIZE)


def drawn(shape):
    """The inner boundary of the true shape, with other points on it than the shape's own."""
    inner = np.asarray(order.boundaries(decode(shape, TRUE)[2])[0])
    places = np.linspace(0, len(inner) - 1, 25)
    return np.stack([np.interp(places, np.arange(len(inner)), axis) for axis in inner.T], axis=1)


def complete(network, shape, *trusts):
    images = np.zeros((1, SIZE, SIZE), np.float32)
    return completing.completed(model_of(network, shape, *trusts), images, drawn(shape)[None])[0]


def test_the_inner_boundary_is_the_drawn_one_and_the_outer_the_seen_one(small_shape):
    found = complete(Beside(searches=1), small_shape)
    before = affine.apply(SEEN, small_shape.mean)
    true = decode(small_shape, TRUE)[2]
    assert np.linalg.norm(before - true, axis=1).max() > 3
    np.testing.assert_allclose(found, true, atol=0.3)


def test_an_outer_boundary_that_is_not_seen_follows_the_inner_one(small_shape):
    """The wall is as thick as the model had it: here that of the mean shape."""
    found = complete(Beside(searches=1, deviation=1e3), small_shape)
    inner, outer = order.boundaries(found)
    off = nearest_offsets(inner, jnp.asarray(drawn(small_shape), jnp.float32))
    np.testing.assert_allclose(off, 0, atol=0.5)
    first, last = order.boundaries(affine.apply(SEEN, small_shape.mean))
    thick, thick_before = (jnp.linalg.norm(v, axis=1) for v in (outer - inner, last - first))
    np.testing.assert_allclose(thick, thick_before, rtol=0.3)


def test_the_outer_boundary_counts_as_far_as_the_last_search_is_trusted(small_shape):
    """To trust it four times as much is to halve the deviations of what it finds."""
    found = complete(Beside(searches=2, deviation=0.4), small_shape, 0.01, 4.0)
    surer = complete(Beside(searches=1, deviation=0.2), small_shape)
    np.testing.assert_allclose(found, surer, atol=1e-3)
    for trust in (0.01, 0.25, 1.0):
        other = complete(Beside(searches=1, deviation=0.4), small_shape, trust)
        assert np.abs(found - other).max() > 0.1


def test_what_cannot_complete_is_told(small_shape, small_model):
    with pytest.raises(ValueError, match="method evidence, with searches"):
        completing.check(small_model)
    with pytest.raises(ValueError, match="method evidence, with searches"):
        completing.check(model_of(EvidenceNetwork(searches=0), small_shape))
    ring = small_shape.replace(closed=True)
    with pytest.raises(ValueError, match="a ring's points begin"):
        completing.check(model_of(EvidenceNetwork(searches=1), ring))
