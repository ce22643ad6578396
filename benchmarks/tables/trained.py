"""What a finished run is asked for beyond its scores; kept in its folder, so it is asked once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import agreement
from benchmarks.tables import cycles, robustness, tracked
from benchmarks.tables.cycles import Cycles, Follow
from benchmarks.tables.runs import Run, Source
from jssm import dataset
from jssm.evaluation.scores import Predict
from jssm.image_path import from_uint8
from jssm.methods import registry
from prep.phantom.patient import Options

SEED = 1011  # of patients and noise that no run has seen
PATIENTS, FRAMES = 24, 30


def predictor(run: Run) -> Predict:
    """Images (N, S, S) in 0..1 to the run's masks, and points where it has them."""
    how, variables = registry.load_method(str(run.folder))
    predict = jax.jit(how.predict)
    return lambda images: predict(variables, images)


def follower(run: Run) -> Follow:
    """A cine (F, S, S) uint8 to the run's points (F, T, 2) px: predicted, or carried by its flow.

    Raises:
      ValueError: when the method has neither points nor flow.
    """
    how, variables = registry.load_method(str(run.folder))
    if how.flow is not None:
        return lambda cine: tracked.follow(how, variables, cine)
    predict = jax.jit(how.predict)

    def points(cine: NDArray[np.uint8]) -> NDArray:
        found = predict(variables, from_uint8(cine)).points
        if found is None:
            raise ValueError(f"{run.folder}: the method gives no points, so it cannot follow any")
        return np.asarray(found)

    return points


def unseen(source: Source, *, patients: int) -> Options:
    """Phantom patients like those of a data set, whole cycles, whom no run has seen."""
    data = dataset.load(source.path)
    return Options(source.view, patients, SEED, FRAMES, data.size, data.shape_model.num_points)


def degraded(run: Run) -> pd.DataFrame:
    """:func:`robustness.curves` over the validation cases."""

    def measure() -> pd.DataFrame:
        data = dataset.load(run.data)
        return robustness.curves(predictor(run), data, data.rows("val"), seed=SEED)

    return _kept(run.folder / "degraded.csv", measure)


def paired(run: Run, pairs: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """:func:`agreement.compare` over ``pairs`` of end-diastole and end-systole."""

    def measure() -> pd.DataFrame:
        return agreement.compare(predictor(run), dataset.load(run.data), pairs)

    return _kept(run.folder / "pairs.csv", measure)


def followed(run: Run, source: Source, name: str) -> Cycles:
    """:func:`cycles.compare` of this run, called ``name``, over :func:`unseen` patients."""
    folder = run.folder / "cycles"
    paths = [folder / "patients.csv", folder / "frames.csv"]
    arc = folder / "arc.npy"
    if not arc.is_file():
        found = cycles.compare({name: follower(run)}, unseen(source, patients=PATIENTS))
        folder.mkdir(exist_ok=True)
        for path, table in zip(paths, (found.patients, found.frames), strict=True):
            table.to_csv(path, index=False)
        np.save(arc, found.arc[name])  # last, so that its being there says that all is
    patients, frames = (dataset.read_table(path) for path in paths)
    return Cycles(patients, frames, {name: np.load(arc)})


def _kept(path: Path, measure: Callable[[], Any]) -> pd.DataFrame:
    """The table in a file, which is measured and written where it is not there."""
    if not path.is_file():
        measure().to_csv(path, index=False)
    return dataset.read_table(path)
