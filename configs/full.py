"""The comparison at full size: the paper's settings for all, and searches along the wall for ours.

    python -m benchmarks tables --table 1 --data data/2ch data/3ch data/4ch --out tables

It wants a GPU and has not been trained.
"""

from dataclasses import replace

from configs import default
from jssm.config import Config


def get_config() -> Config:
    """As configs/default.py, with three searches, and networks that compute in bfloat16."""
    config = default.get_config()
    return replace(config, model=replace(config.model, searches=3, bfloat16=True))
