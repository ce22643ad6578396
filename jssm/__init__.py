"""jssm: heart-muscle segmentation with a deep statistical shape model, in JAX.

Everything here is a pure function of arrays, except ``load`` and ``load_dataset``, which read.
"""

# Shapes
from jssm.affine import apply as warp
from jssm.integrity import Integrity, integrity
from jssm.shape_model import ShapeModel

# Rendering
from jssm.rasterizer import rasterize, signed_distance, strip_triangles

# Prediction
from jssm.checkpoint import load
from jssm.model import Model, Prediction, predict

# Losses
from jssm.losses import dice_loss, point_loss, point_rmse

# Data
from jssm.augment import Augmentation, augment
from jssm.dataset import Dataset
from jssm.dataset import load as load_dataset

__all__ = [
    "Augmentation",
    "Dataset",
    "Integrity",
    "Model",
    "Prediction",
    "ShapeModel",
    "augment",
    "dice_loss",
    "integrity",
    "load",
    "load_dataset",
    "point_loss",
    "point_rmse",
    "predict",
    "rasterize",
    "signed_distance",
    "strip_triangles",
    "warp",
]
__version__ = "0.1.0"
