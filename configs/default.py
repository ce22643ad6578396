"""The paper's settings (Section 4, Implementation Details), for any data set.

    python train.py --config configs/default.py --config.data=DIR
"""

from jssm.augment import Augmentation
from jssm.config import Config


def get_config() -> Config:
    """ResNet34, Adam at 0.001, batch 256, K = 30, δ = 0.5; flips, rotation, translation."""
    return Config(
        augment=Augmentation(
            flip_left_right=True, flip_up_down=True, rotation_degrees=30.0, translation=0.1
        )
    )
