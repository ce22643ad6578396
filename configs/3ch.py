"""3-chamber cine MRI at 224×224 with the paper's settings.

    python -m prep phantom --view 3ch --patients 200 --out data/phantom_3ch
    python -m prep build --phantom data/phantom_3ch --view 3ch --size 224 --out data/3ch
    python train.py --config configs/3ch.py

The paper (4,031 images): Dice 0.840 ± 0.052. It has not been trained
here; configs/4ch.py, with the same settings, has. Batch 256 at this size needs a GPU.
"""

from configs import default
from jssm.config import Config


def get_config() -> Config:
    """The paper's settings for this view."""
    return default.get_config(data="data/3ch", size=224)
