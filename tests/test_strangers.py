"""The model of the package refuses what is no heart: drawn, and photographs."""

import jax
import numpy as np
import pytest
from skimage import data

import jssm
from jssm import image_path
from jssm.evaluation import strangers
from jssm.methods.model import confidence_of, pose_of

PHOTOGRAPHS = ("camera", "coins", "moon", "page", "text", "brick", "grass", "gravel", "horse",
               "clock", "cell", "checkerboard")  # fmt: skip


@pytest.mark.usefixtures("whole_resnets")
def test_what_is_no_heart_is_refused():
    model = jssm.load("mri")
    images = [
        image_path.fit(image_path.in_window(image, image_path.grey_window(image)), model.size)
        for name in PHOTOGRAPHS
        for image in [np.asarray(getattr(data, name)(), np.float32)]
    ]
    rng, mask = np.random.default_rng(0), np.zeros((model.size, model.size), bool)
    mask[60:120, 60:120] = True
    images += [draw(rng, images[0], mask) for draw in strangers.KINDS.values()]
    look = jax.jit(lambda images: confidence_of(model, pose_of(model, images)))
    sure = look(np.stack(images))
    assert (sure < model.confidence.least).all(), dict(zip(PHOTOGRAPHS, sure, strict=False))
