"""4-chamber cine MRI at 224×224 with the paper's settings.

    python -m prep phantom --view 4ch --patients 255 --seed 1 --out data/phantom_4ch
    python -m prep build --phantom data/phantom_4ch --view 4ch --size 224 --out data/4ch
    python train.py --config configs/4ch.py --config.model.bfloat16=True

One H100, phantoms of version 0.3: 3 min 12 s; Dice 0.883 ± 0.035, HD 4.3 ± 1.5 mm, one component
in each of the 1,530 validation images (6,120 for training). The paper, 6,112 MRI frames: about 10
hours on one V100, Dice 0.833 ± 0.051. Batch 256 at this size needs a GPU.
"""

from configs import default
from jssm.config import Config


def get_config() -> Config:
    """The paper's settings for this view."""
    return default.get_config(data="data/4ch", size=224)
