"""jssm: heart-muscle segmentation with a deep statistical shape model, in JAX.

Everything here is a pure function of arrays, except ``load`` and ``load_dataset``, which read.
A name is imported, and JAX with it, when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jssm.version import __version__ as __version__

if TYPE_CHECKING:
    from jssm.cines.cycle import predict_cine
    from jssm.cines.deviations import measure_deviations
    from jssm.cines.motion import (
        LineStrain,
        Motion,
        measure_motion,
        segment_names,
        smooth_cycle,
        smooth_points,
    )
    from jssm.cines.rings import (
        LoopStrain,
        RingMotion,
        SliceVolumes,
        measure_ring,
        ring_segment_names,
        volumes_by_slices,
    )
    from jssm.cines.volumes import Biplane, biplane_simpson
    from jssm.config import Augmentation
    from jssm.dataset import Dataset, load as load_dataset
    from jssm.methods.losses import dice_loss, point_loss, point_rmse
    from jssm.methods.model import Model, Prediction, predict, uncertainty
    from jssm.methods.registry import load
    from jssm.rasterizer import rasterize, rasterize_whole, sharpness, signed_distance
    from jssm.shape.affine import apply as warp
    from jssm.shape.integrity import Integrity, integrity
    from jssm.shape.order import strip_triangles
    from jssm.shape.shape_model import ShapeModel
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
    "predict_cine",
    "uncertainty",
    # Motion
    "Biplane",
    "LineStrain",
    "LoopStrain",
    "Motion",
    "RingMotion",
    "SliceVolumes",
    "biplane_simpson",
    "measure_deviations",
    "measure_motion",
    "measure_ring",
    "ring_segment_names",
    "segment_names",
    "smooth_cycle",
    "smooth_points",
    "volumes_by_slices",
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
# Where each of these names comes from, and what it is called there if that is something else.
_HOMES = {
    "jssm.cines.cycle": "predict_cine",
    "jssm.cines.deviations": "measure_deviations",
    "jssm.cines.motion": "LineStrain Motion measure_motion segment_names smooth_cycle"
    " smooth_points",
    "jssm.cines.rings": "LoopStrain RingMotion SliceVolumes measure_ring ring_segment_names"
    " volumes_by_slices",
    "jssm.cines.volumes": "Biplane biplane_simpson",
    "jssm.config": "Augmentation",
    "jssm.dataset": "Dataset load_dataset",
    "jssm.methods.losses": "dice_loss point_loss point_rmse",
    "jssm.methods.model": "Model Prediction predict uncertainty",
    "jssm.methods.registry": "load",
    "jssm.rasterizer": "rasterize rasterize_whole sharpness signed_distance",
    "jssm.shape.affine": "warp",
    "jssm.shape.integrity": "Integrity integrity",
    "jssm.shape.order": "strip_triangles",
    "jssm.shape.shape_model": "ShapeModel",
    "jssm.training.augment": "augment",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_CALLED = {"load_dataset": "load", "warp": "apply"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
