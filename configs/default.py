"""The paper's settings (Section 4, Implementation Details), for any data set.

python train.py --config configs/default.py --config.data=DIR
"""

from jssm.config import Augmentation, Config, ModelConfig


def get_config(data: str = "", size: int = 0) -> Config:
    """ResNet34, Adam at 0.001, batch 256, K = 30, δ = 0.5; flips, rotation, translation.

    How far to rotate and to translate, and when the points count as converged, the paper leaves
    open: ±30°, ±10 % of the image, and 15 validations without improvement.
    """
    return Config(
        data=data,
        model=ModelConfig(size=size),
        augment=Augmentation(
            flip_left_right=True, flip_up_down=True, rotation_degrees=30.0, translation=0.1
        ),
    )
