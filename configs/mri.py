"""Cine MRI in 2-, 3- and 4-chamber views of any scanner, from phantoms alone, at 192×192.

    python -m prep phantom --view all --patients 500 --frames 2 --size 192 --looks random \\
        --seed 7 --out data/phantom_mri
    python -m prep build --phantom data/phantom_mri --view mri --size 192 --true-points \\
        --val-fraction 0.1 --out data/mri
    python train.py --config configs/mri.py

No real image is learned from, so contrasts, surroundings, orientation and size are drawn far more
widely than any scanner's. The model of the package went on from there, with real frames of which
the cavity is drawn (docs/models/mri.md). To go on from that with masks of your own:

    python train.py --config configs/mri.py --config.init_from=mri --config.data=data/mine \\
        --config.train.batch_size=5 --config.train.epochs=80 --config.train.learning_rate=0.001 \\
        --config.train.ema=0.98 --config.train.warmup_epochs=1 --workdir runs/mine  # twenty masks

One H100 trains at some 1,000 images a second, in bfloat16 (three to five minutes); two cores of an
AMD EPYC at 7 to 11, which is six hours. The scores of the model that comes as jssm.load("mri")
are in docs/models/mri.md.
"""

from jssm.config import Augmentation, Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """Dense evidence and three searches; random looks, and any orientation.

    The fit needs no epochs of points alone.
    """
    return Config(
        data="data/mri",
        method="evidence",
        model=ModelConfig(size=192, depth=18, width=24, searches=3),
        train=TrainConfig(
            batch_size=32,
            epochs=71,
            points_epochs=0,
            warmup_epochs=4,
            cosine=True,
            learning_rate=0.002,
            weight_decay=0.02,
            clip_norm=1.0,
            ema=0.999,
            validate_every=4,
        ),
        augment=Augmentation(
            flip_left_right=True,
            rotation_degrees=180.0,
            translation=0.12,
            log_scale=0.5,
            log_aspect=0.15,
            contrast=0.5,
            shading=0.3,
            blur_px=1.5,
            noise=0.12,
            curves=0.3,
            convolutions=0.4,
            surroundings=0.4,
        ),
    )
