"""2-chamber cine MRI at 224×224 with the paper's settings.

    python -m prep phantom --view 2ch --patients 200 --out data/phantom_2ch
    python -m prep build --phantom data/phantom_2ch --view 2ch --size 224 --out data/2ch
    python train.py --config configs/2ch.py

The paper (4,848 images): Dice 0.804 ± 0.093. It has not been trained
here; configs/4ch.py, with the same settings, has. Batch 256 at this size needs a GPU.
"""

from configs import default
from jssm.config import Config


def get_config() -> Config:
    """The paper's settings for this view."""
    return default.get_config(data="data/2ch", size=224)
