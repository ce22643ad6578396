"""The comparison on two CPU cores: phantoms at 96×96 and narrow networks, minutes a run.

    python -m prep phantom --view 4ch --patients 150 --frames 5 --size 96 --seed 1 \\
        --out data/phantom_4ch
    python -m prep build --phantom data/phantom_4ch --view 4ch --size 96 --out data/4ch
    python train.py --config configs/small.py

`python -m benchmarks tables --small` runs it for every row of every table; docs/RESULTS.md has the
scores and times.
"""

from jssm.config import Augmentation, BaselineConfig, Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """The demonstration's network and augmentation, in 16 epochs."""
    return Config(
        data="data/4ch",
        baseline=BaselineConfig(pretrain_epochs=12),
        model=ModelConfig(depth=18, width=16, locate_size=64, searches=3),
        train=TrainConfig(
            batch_size=16,
            epochs=16,
            points_epochs=6,
            learning_rate=0.002,
            warmup_epochs=1,
            cosine=True,
            clip_norm=1.0,
            ema=0.99,
            validate_every=2,
        ),
        augment=Augmentation(
            flip_left_right=True,
            rotation_degrees=20.0,
            translation=0.05,
            log_scale=0.1,
            contrast=0.2,
        ),
    )
