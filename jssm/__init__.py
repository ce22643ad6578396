"""jssm: heart-muscle segmentation with a deep statistical shape model, in JAX.

Everything here is a pure function of arrays, except ``load`` and ``load_dataset``, which read.
"""

from jssm.version import __version__ as __version__

# Shapes
from jssm.shape.shape_model import ShapeModel
from jssm.shape.affine import apply as warp
from jssm.shape.integrity import Integrity, integrity

# Rendering
from jssm.rasterizer import rasterize, rasterize_whole, sharpness, signed_distance
from jssm.shape.order import strip_triangles

# Prediction
from jssm.methods.registry import load
from jssm.methods.model import Model, Prediction, predict, uncertainty

# Motion
from jssm.cines.motion import (
    LineStrain,
    Motion,
    measure_motion,
    segment_names,
    smooth_cycle,
    smooth_points,
)
from jssm.cines.volumes import Biplane, biplane_simpson

# Losses
from jssm.methods.losses import dice_loss, point_loss, point_rmse

# Data
from jssm.dataset import Dataset, load as load_dataset
from jssm.config import Augmentation
from jssm.training.augment import augment

__all__ = [
    # Shapes
    "ShapeModel",
    "warp",
    "Integrity",
    "integrity",
    # Rendering
    "rasterize",
    "rasterize_whole",
    "sharpness",
    "signed_distance",
    "strip_triangles",
    # Prediction
    "load",
    "Model",
    "Prediction",
    "predict",
    "uncertainty",
    # Motion
    "Biplane",
    "LineStrain",
    "Motion",
    "biplane_simpson",
    "measure_motion",
    "segment_names",
    "smooth_cycle",
    "smooth_points",
    # Losses
    "dice_loss",
    "point_loss",
    "point_rmse",
    # Data
    "Dataset",
    "load_dataset",
    "Augmentation",
    "augment",
]
