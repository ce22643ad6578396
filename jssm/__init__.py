"""jssm: heart-muscle segmentation with a deep statistical shape model, in JAX.

Everything here is a pure function of arrays, except ``load`` and ``load_dataset``, which read.
"""

# Shapes
from jssm.affine import apply as warp

# Data
from jssm.augment import Augmentation, augment

# Prediction
from jssm.checkpoint import load
from jssm.dataset import Dataset
from jssm.dataset import load as load_dataset
from jssm.integrity import Integrity, integrity

# Losses
from jssm.losses import dice_loss, point_loss, point_rmse
from jssm.model import Model, Prediction, predict

# Rendering
from jssm.rasterizer import rasterize, signed_distance, strip_triangles
from jssm.shape_model import ShapeModel

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
