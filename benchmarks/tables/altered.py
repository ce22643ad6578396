"""A script of the checkout with one part of `evidence` exchanged, for the ablations of table 7.

    python -m benchmarks.tables.altered grey train.py --config ...

The library has no switch for what does not pay, so the part is exchanged here.
"""

import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from jssm.networks import evidence
from jssm.networks.dense import FEATURE_STRIDE, Dense, Maps
from jssm.networks.feature_search import LOG_STD, FeatureSearch, Moves
from jssm.networks.layers import blocks


class GreyValues(Dense):
    """The dense network, with the image itself in place of its features."""

    def __call__(self, images: jax.Array, *, train: bool) -> Maps:
        """The maps; the features (N, H/2, W/2, 4) are the grey values of 2×2 pixels."""
        maps = super().__call__(images, train=train)
        return maps._replace(features=blocks(images, FEATURE_STRIDE))


class EqualVariances(FeatureSearch):
    """The search, which believes all its moves alike."""

    def __call__(self, profiles: jax.Array, *, train: bool, closed: bool = False) -> Moves:
        """The moves, with the variance that all have before training."""
        moves = super().__call__(profiles, train=train, closed=closed)
        return moves._replace(variances=jnp.full_like(moves.variances, jnp.exp(2 * LOG_STD)))


# What each exchanges in networks.evidence, by its name there.
PARTS: dict[str, tuple[str, type]] = {
    "grey": ("Dense", GreyValues),
    "equal_variances": ("FeatureSearch", EqualVariances),
}


def main(arguments: list[str]) -> None:
    """``PART SCRIPT FLAGS...``: run the script with that part exchanged."""
    part, script, *flags = arguments
    setattr(evidence, *PARTS[part])
    sys.argv = [script, *flags]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
