"""The parts of `evidence` that the ablations exchange: each against what it says it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.tables import altered
from jssm.networks import evidence
from jssm.networks.dense import Dense
from jssm.networks.feature_search import LOG_STD, FeatureSearch
from jssm.networks.layers import blocks

rng = np.random.default_rng(0)


def applied(module, *arguments):
    """What a module with random weights gives."""
    variables = jax.eval_shape(
        lambda key: module.init(key, *arguments, train=False), jax.random.key(0)
    )
    leaves, tree = jax.tree.flatten(variables)
    drawn = [jnp.asarray(np.random.default_rng(k).uniform(0.1, 0.3, leaf.shape), leaf.dtype)
             for k, leaf in enumerate(leaves)]  # fmt: skip
    return jax.jit(lambda v: module.apply(v, *arguments, train=False))(
        jax.tree.unflatten(tree, drawn)
    )


def test_only_the_features_are_exchanged():
    images = jnp.asarray(rng.normal(size=(1, 32, 32, 1)), jnp.float32)
    ours, grey = (applied(kind(18, 2), images) for kind in (Dense, altered.GreyValues))
    np.testing.assert_array_equal(grey.features, blocks(images))
    np.testing.assert_array_equal(grey.classes, ours.classes)
    np.testing.assert_array_equal(grey.landmarks, ours.landmarks)


def test_only_the_variances_are_exchanged():
    profiles = jnp.asarray(rng.normal(size=(1, 6, 24, 2)), jnp.float32)
    ours, equal = (applied(kind(2), profiles) for kind in (FeatureSearch, altered.EqualVariances))
    np.testing.assert_array_equal(equal.means, ours.means)
    assert np.ptp(ours.variances) > 0
    np.testing.assert_allclose(equal.variances, np.exp(2 * LOG_STD), rtol=1e-6)


@pytest.mark.parametrize(
    ("part", "name", "exchanged"),
    [("grey", "Dense", altered.GreyValues),
     ("equal_variances", "FeatureSearch", altered.EqualVariances)],
)  # fmt: skip
def test_a_script_runs_with_the_part_exchanged(
    part, name, exchanged, tmp_path, monkeypatch, capsys
):
    for each in ("Dense", "FeatureSearch"):
        monkeypatch.setattr(evidence, each, getattr(evidence, each))
    monkeypatch.setattr("sys.argv", [])
    monkeypatch.setattr("sys.path", [])
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.argv[1:], __name__, sys.path[0])")
    altered.main([part, str(script), "--flag", "7"])
    assert capsys.readouterr().out == f"['--flag', '7'] __main__ {tmp_path}\n"
    assert getattr(evidence, name) is exchanged
