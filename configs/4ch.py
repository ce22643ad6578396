"""4-chamber cine MRI at 224×224 with the paper's settings.

    python -m prep phantom --view 4ch --patients 200 --out data/phantom_4ch
    python -m prep build --phantom data/phantom_4ch --view 4ch --size 224 --out data/4ch
    python train.py --config configs/4ch.py

The paper (6,112 images): about 10 hours on one V100, Dice 0.833 ± 0.051. It has not been trained
in full here: batch 256 at this size needs a GPU.
"""

from configs import default
from jssm.config import Config


def get_config() -> Config:
    """The paper's settings for this view."""
    return default.get_config(data="data/4ch", size=224)
