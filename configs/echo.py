"""Echocardiography, apical 2- and 4-chamber views of CAMUS (Leclerc et al., 2019), at 192×192.

    python -m prep build --images IMAGES --masks LABELS --label 2 --split split.csv \\
        --patient-regex '(patient\\d+)_' --view echo --size 192 --out data/echo
    python train.py --config configs/echo.py

The model that comes as jssm.load("echo"), in bfloat16 on an H100 beside another training, stopped
after 104 of the 160 epochs (three and a half minutes, at some 1,100 images a second): Dice
0.885 ± 0.052, HD 6.4 ± 2.9 px, one component in each of the 200 images of the 50 validation
patients. For two cores, on a data set of --size 128:

    python train.py --config configs/echo.py --config.model.encoder=unet --config.model.size=128 \\
        --config.train.epochs=50 --config.train.batch_size=16

which took 38 minutes of an Intel Xeon: Dice 0.880 ± 0.050, HD 4.6 ± 2.9 px of 128×128. With
--config.model.width=24 and a ResNet it was 0.876 after 40 minutes of an AMD EPYC.
"""

from jssm.config import Augmentation, Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """Dense evidence and three searches; strong augmentation and a moving average.

    The fit needs no epochs of points alone.
    """
    return Config(
        data="data/echo",
        method="evidence",
        model=ModelConfig(size=192, depth=18, width=32, searches=3),
        train=TrainConfig(
            batch_size=32,
            epochs=160,
            points_epochs=0,
            warmup_epochs=1,
            cosine=True,
            learning_rate=0.002,
            weight_decay=0.02,
            clip_norm=1.0,
            ema=0.999,
            validate_every=8,
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
