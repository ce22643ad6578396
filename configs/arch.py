"""The corpus callosum, an arch, in mid-sagittal brain MRI at 192×192, on two CPU cores.

    python -m prep build --shape arch --images IMAGES --masks MASKS --label 255 --size 192 \\
        --view cc --out data/arch
    python train.py --config configs/arch.py

Six minutes, beside other work: Dice 0.921 ± 0.022, HD 1.86 ± 0.53 px on the 33 validation subjects
(docs/SHAPES.md). --config.method=unet trains the U-Net by the same steps and augmentation. Nothing
was tuned.
"""

from jssm.config import Augmentation, Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """Dense evidence and three searches, narrow, as the set is small.

    No mirror images: every head looks to the left, and a mirrored arch is another shape.
    """
    return Config(
        data="data/arch",
        method="evidence",
        model=ModelConfig(size=192, depth=18, width=16, searches=3),
        train=TrainConfig(
            batch_size=8,
            epochs=60,
            points_epochs=0,
            warmup_epochs=1,
            cosine=True,
            learning_rate=0.002,
            clip_norm=1.0,
            ema=0.99,
            validate_every=10,
        ),
        augment=Augmentation(
            rotation_degrees=20.0,
            translation=0.05,
            log_scale=0.1,
            contrast=0.2,
        ),
    )
