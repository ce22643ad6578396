"""Training of the landmark network on the masks of a data set.

    RUN/settings.json        every setting, and the mean landmarks of the training cases
    RUN/landmarks.png, errors.csv, errors.json   how good it is, on held-out patients

and what every training writes (:mod:`jssm.checkpoint`), but for pictures while it trains. The
network looks at images shrunk to ``size``: coarse, for a peak is found to a part of a pixel.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from jssm import dataset
from jssm.config import Augmentation, Config, TrainConfig
from jssm.dataset import Dataset
from jssm.shape import affine
from jssm.shards import Pictures
from jssm.training import loop
from jssm.training.plan import make_plan
from prep.dataset import images
from prep.errors import Refused, Unsuitable
from prep.landmark_network import locator, report
from prep.landmark_network.locator import Settings
from prep.shapes import landmarks, procrustes, registration

AUGMENTATION = Augmentation(
    flip_left_right=True,
    rotation_degrees=30.0,
    translation=0.15,  # far enough that landmarks leave the image: they are then not in it
    log_scale=0.2,
    contrast=0.3,
    noise=0.1,
)


@dataclass(frozen=True)
class Examples:
    """The cases of a data set whose masks have landmarks, with these as their points (N, 3, 2), at
    the network's size; the rows that they have in it; and a sentence for each other case."""

    data: Dataset
    rows: np.ndarray
    without: list[str]


def train(
    directory: Path, run: Path, settings: Settings, *, threshold: float
) -> tuple[str, list[str]]:
    """Train on a data set of ``prep build``, going on where an earlier call was stopped.

    Gives a report of the errors of the network that was best on the held-out patients, and a
    sentence for each case whose mask has no landmarks. Every random number is a function of the
    seed and the step.

    Raises:
      Refused: when the data set is not there, ``run`` holds a run of other settings or of another
        version, or the loss is not finite.
      Stopped: after an interrupt, with everything saved.
    """
    stored = {"data": directory.name, "settings": asdict(settings)}
    try:
        data = dataset.load(directory)
        _check_free(run, stored)
        found = examples(data, settings.size)
        stored["mean_landmarks"] = _mean_landmarks(found.data, directory).tolist()
        _check_free(run, stored)
        plan = make_plan(settings.method(), found.data, _config(directory, settings))
        run.mkdir(parents=True, exist_ok=True)
        (run / "settings.json").write_text(json.dumps(stored, indent=1))
        loop.follow(plan, run)
    except (FileNotFoundError, ValueError, FloatingPointError) as error:
        raise Refused(str(error)) from error
    summary = _report(run, data, found, threshold)
    return report.format_summary(summary), found.without


def examples(data: Dataset, size: int) -> Examples:
    """The examples of a data set, its training cases first, for a network of this ``size``."""
    to_size = np.asarray(affine.letterbox((data.size,) * 2, (size, size)), np.float64)
    kept, points, without = [], [], []
    rows = np.concatenate([data.rows(split) for split in dataset.SPLITS])
    for row in tqdm(rows, "landmarks of masks", unit="case", disable=None, leave=False):
        try:
            marks = landmarks.from_mask(np.asarray(data.masks[row]))
        except Unsuitable as error:
            without.append(f"{data.cases['case'].iloc[row]}: {error}")
            continue
        kept.append(row)
        points.append(registration.apply(to_size, marks))
    rows = np.array(kept, np.int64)
    fitted = replace(
        data,
        images=_fitted(images.fit_image, data.images, rows, size),
        masks=_fitted(images.fit_mask, data.masks, rows, size),
        points=np.array(points, np.float32).reshape(-1, len(landmarks.NAMES), 2),
        canonical_points=data.canonical_points[rows],
        thetas=data.thetas[rows],
        spacing_mm=data.spacing_mm[rows],
        truth_points=None,
        cases=data.cases.iloc[rows].reset_index(drop=True),
    )
    return Examples(fitted, rows, without)


def _fitted(fit, pictures: np.ndarray | Pictures, rows: np.ndarray, size: int) -> np.ndarray:
    """These rows in the network's size; read one by one, for all may not fit in memory."""
    return np.array([fit(pictures[row], size) for row in rows], np.uint8).reshape(-1, size, size)


def _mean_landmarks(data: Dataset, directory: Path) -> np.ndarray:
    """Those of the training cases, upright on a grid of one pixel's width (3, 2)."""
    splits = set(data.cases["split"])
    if splits != set(dataset.SPLITS):
        raise Refused(f"{directory}: no training or no held-out case has landmarks")
    marks = data.points[data.rows("train")].astype(np.float64)
    return procrustes.mean_landmarks(marks, data.size) / data.size


def _config(directory: Path, settings: Settings) -> Config:
    """The settings of the common loop."""
    return Config(
        data=str(directory),
        method="landmarks",
        seed=settings.seed,
        train=TrainConfig(
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            warmup_epochs=min(1, settings.epochs - 1),
            cosine=True,
        ),
        augment=AUGMENTATION,
    )


def _check_free(run: Path, stored: dict) -> None:
    """Check that the run directory is free, or holds a run of these settings."""
    path = run / "settings.json"
    known = json.loads(path.read_text()) if path.is_file() else stored
    if any(known.get(name) != value for name, value in stored.items()):
        raise Refused(f"{run}: holds a run of other settings or data; choose another --out")


def _report(run: Path, data: Dataset, found: Examples, threshold: float) -> dict:
    """Write how good the best network is on the held-out patients; gives the summary."""
    val = found.data.rows("val")
    rows = found.rows[val]
    look = partial(locator.load(run), threshold=threshold)
    few = dataset.blocks(len(rows), locator.BATCH)
    seen = jax.tree.map(
        lambda *parts: np.concatenate(parts), *(look(data.images[rows[block]]) for block in few)
    )
    from_size = affine.invert(affine.letterbox((data.size,) * 2, (found.data.size,) * 2))
    truth = np.asarray(affine.apply(from_size, found.data.points[val]))
    return report.write(run, data, rows, truth, seen)
