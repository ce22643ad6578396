"""One raw file, two ways to the network: through a data set and evaluation, and by prediction."""

import jax
import nibabel
import numpy as np
import pandas as pd
import pytest

import jssm
from jssm import __main__ as command
from jssm import checkpoint, dataset, image_path
from jssm.config import Config, ModelConfig, to_json
from jssm.evaluation.scores import evaluate
from jssm.methods import registry
from jssm.methods.model import weights_of
from jssm.shape import affine
from prep import __main__ as prep
from tests.conftest import random_model
from tests.prep_shapes import Horseshoe

SPACING_MM = (1.4, 1.1)  # row, column
SHAPE = (52, 70)


@pytest.fixture(scope="module")
def folder(small_shape, four_stages, tmp_path_factory):
    """Raw cines with burnt-in bright pixels, a data set built of them, and a run to judge it."""
    folder = tmp_path_factory.mktemp("parity")
    rng = np.random.default_rng(0)
    to_mm = np.diag([SPACING_MM[1], SPACING_MM[0], 8, 1])
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(3):
        shapes = [Horseshoe(13 + k, 20, 14, turn=8.0 * number, centre=(36, 28)) for k in range(2)]
        masks = np.stack([shape.mask(70)[: SHAPE[0]] for shape in shapes])
        frames = 300 + 500 * masks + rng.normal(0, 60, masks.shape)
        frames[:, 2, 3:6] = 60_000
        for kind, values in (("images", frames), ("masks", masks)):
            array = values.astype(np.uint16).transpose(2, 1, 0)[:, :, None]
            nibabel.save(nibabel.Nifti1Image(array, to_mm), folder / kind / f"p{number}.nii")
    options = ["--size", "32", "--points", "8", "--modes", "2", "--min-dice", "0", "--jobs", "1"]
    sources = ["--images", str(folder / "images"), "--masks", str(folder / "masks")]
    assert prep.main(["build", *sources, "--out", str(folder / "data"), *options]) == 0
    run = folder / "run"
    run.mkdir()
    model = ModelConfig(size=32, depth=18, width=4, num_modes=2)
    (run / "config.json").write_text(to_json(Config(data=str(folder / "data"), model=model)))
    with checkpoint.Checkpoints(run) as checkpoints:
        checkpoints.save_best(1, weights_of(random_model(small_shape)))
    return folder


def test_a_data_set_and_prediction_give_the_same_points(folder):
    scans, out = str(folder / "images" / "p1.nii"), folder / "out"
    assert command.main(["predict", scans, "--ckpt", str(folder / "run"), "--out", str(out)]) == 0
    table = pd.read_csv(next(out.glob("*/points.csv")))
    predicted = table[["x_px", "y_px"]].to_numpy().reshape(2, 8, 2)

    data = dataset.load(folder / "data")
    rows = np.flatnonzero(data.cases["patient"] == "p1")
    method, variables = registry.load_method(folder / "run")
    look = jax.jit(lambda images: method.predict(variables, images))
    found = evaluate(look, data, rows, progress=False).points
    to_square = affine.letterbox(SHAPE, (32, 32), aspect=affine.aspect_of(SPACING_MM))
    expected = affine.apply(affine.invert(np.asarray(to_square)), found)
    np.testing.assert_allclose(predicted, expected, atol=0.05)


def test_without_the_window_the_points_would_be_others(folder):
    """So that the test above tests something."""
    frames = nibabel.load(folder / "images" / "p1.nii").get_fdata()[:, :, 0].transpose(2, 1, 0)
    model = jssm.load(folder / "run")
    whole = np.array([frames.min(), frames.max()], np.float32)
    points = jax.jit(lambda window: jssm.predict(model, frames, window=window).points)
    assert np.abs(points(image_path.grey_window(frames)) - points(whole)).max() > 0.5
