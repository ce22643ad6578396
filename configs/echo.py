"""Echocardiography, apical 2- and 4-chamber views of CAMUS (Leclerc et al., 2019).

First at 128×128, which is quick, then at 192×192:

    for size in 128 192; do
      python -m prep build --images IMAGES --masks LABELS --label 2 --split split.csv \\
          --patient-regex '(patient\\d+)_' --view echo --size $size --out data/echo$size
    done
    python train.py --config configs/echo.py --config.data=data/echo128 --workdir runs/echo128
    python train.py --config configs/echo.py --config.data=data/echo192 --workdir runs/echo192 \\
        --config.init_from=runs/echo128 --config.train.epochs=24 \\
        --config.train.learning_rate=0.001 --config.train.mask_weight=1.0

"""

from jssm.config import Augmentation, Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """Dense evidence and three searches; strong augmentation and a moving average.

    The fit needs no epochs of points alone.
    """
    return Config(
        data="data/echo",
        method="evidence",
        model=ModelConfig(encoder="unet", width=32, searches=3),
        train=TrainConfig(
            batch_size=16,
            epochs=50,
            points_epochs=0,
            warmup_epochs=1,
            cosine=True,
            learning_rate=0.002,
            weight_decay=0.02,
            clip_norm=1.0,
            ema=0.999,
            validate_every=10,
        ),
        augment=Augmentation(
            flip_left_right=True,
            rotation_degrees=30.0,
            translation=0.1,
            log_scale=0.25,
            log_aspect=0.15,
            contrast=0.5,
            shading=0.3,
            blur_px=1.2,
            noise=0.15,
        ),
    )
