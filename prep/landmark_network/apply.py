"""Landmarks of images without masks, by a trained network; and such images aligned by them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from jssm import files
from prep.dataset import images
from prep.errors import BadInput, Refused
from prep.landmark_network import report
from prep.landmark_network.locator import Locator
from prep.shapes import landmarks, procrustes

SHEET_FILES = 20  # evenly picked; the sheet beside the table shows the first frame of each


@dataclass(frozen=True)
class Frame:
    """One frame (H, W) uint8 with its landmarks (3, 2) px of the file, NaN where ``why`` they were
    not found is not empty, and the least of their confidences. aspect: a pixel's height over its
    width."""

    name: str
    image: np.ndarray
    aspect: float
    points: np.ndarray
    confidence: float
    why: str


@dataclass
class Applied:
    """What became of a folder: how many frames were found, and a sentence for each abstention and
    each unusable file."""

    found: int = 0
    abstained: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def apply(
    locator: Locator,
    folder: Path,
    table: Path,
    *,
    threshold: float = 0.5,
    every: int = 1,
    align: Path | None = None,
    align_size: int = 128,
) -> Applied:
    """Write the landmarks of a folder's frames to ``table``, for ``prep build --landmarks``.

    Its columns are ``case``, those of :data:`prep.shapes.landmarks.COLUMNS`, in px of the file, and
    the least of the three confidences. Cases are named as by ``prep build``. Frames in which the
    network is not sure have no row. A sheet of frames is written beside the table. ``align``: a new
    folder for the frames aligned by :func:`aligned`, with ``alignment.csv``.

    Raises:
      Refused: when the folder has no image, or ``align`` is not a new folder.
    """
    paths, problems = images.by_stem(folder)
    if not paths:
        raise Refused(f"{folder}: no PNG, JPEG, NIfTI or MetaImage file there")
    if align is not None and align.exists() and any(align.iterdir()):
        raise Refused(f"--align {align}: a new or empty folder was expected")
    picked = set(np.linspace(0, len(paths) - 1, SHEET_FILES).round().astype(int).tolist())
    outcome, shown, rows, maps = Applied(bad=problems), [], [], []
    for number, path in enumerate(tqdm(paths.values(), "landmarks", unit="file", disable=None)):
        try:
            for k, frame in enumerate(read_frames(locator, path, threshold, every)):
                if number in picked and k == 0:
                    shown.append(frame)
                if frame.why:
                    outcome.abstained.append(f"{frame.name}: {frame.why}")
                    continue
                rows.append([frame.name, *frame.points.ravel().round(3), f"{frame.confidence:.4f}"])
                if align is not None:
                    maps.append([frame.name, *_write_aligned(frame, locator, align, align_size)])
        except BadInput as error:
            outcome.bad.append(str(error))
    outcome.found = len(rows)
    _write(table, ["case", *landmarks.COLUMNS, "confidence"], rows)
    if align is not None:
        _write(align / "alignment.csv", ["case", "a", "b", "x", "c", "d", "y"], maps)
    if shown:
        titles = [f"{f.name}\nconfidence {f.confidence:.2f}" for f in shown]
        pictures, points = [f.image for f in shown], np.stack([f.points for f in shown])
        report.sheet(table.with_suffix(".png"), pictures, points, titles)
    return outcome


def read_frames(locator: Locator, path: Path, threshold: float, every: int) -> Iterator[Frame]:
    """The frames of a file, each with its landmarks.

    Raises:
      BadInput: when the file cannot be read.
    """
    cine = files.read(path)
    aspect = cine.aspect
    frames = images.to_uint8(cine.frames)[::every]
    found = locator(frames, threshold=threshold, aspect=aspect)
    least = found.confidence.argmin(axis=1)
    for k, frame in enumerate(frames):
        name = images.frame_name(images.stem(path), k * every, len(cine.frames))
        confidence = float(found.confidence[k, least[k]])
        why = ""
        if confidence < threshold:
            weakest = landmarks.NAMES[int(least[k])]
            why = f"the {weakest} has the confidence {confidence:.2f}, under {threshold:g}"
        elif not found.found[k]:
            why = "the landmarks are not in clockwise order"
        yield Frame(name, frame, aspect, np.asarray(found.points[k]), confidence, why)


def aligned(
    image: np.ndarray,
    points: np.ndarray,
    mean_landmarks: np.ndarray,
    size: int,
    *,
    aspect: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W) uint8 with its landmarks (3, 2) brought upon the mean ones, (size, size).

    ``mean_landmarks`` (3, 2) are in image widths; aspect: the height of the image's pixels over
    their width. The heart stands upright, at one size, on square pixels: the similarity that a
    build starts from (Algorithm 1). Also gives that map (2, 3), from the aligned image's px to the
    image's.
    """
    theta = procrustes.fit_similarity(mean_landmarks * size, points * [1, aspect])
    shrink = np.hypot(*theta[:, 0]) / np.array([aspect, 1])  # along rows, along columns
    theta = theta / np.array([[1], [aspect]])
    smooth = ndimage.gaussian_filter(image.astype(np.float32), np.maximum(0, (shrink - 1) / 2))
    rows, columns = np.mgrid[:size, :size]
    x, y = np.tensordot(theta[:, :2], np.stack([columns, rows]), 1) + theta[:, 2, None, None]
    values = ndimage.map_coordinates(smooth, [y, x], order=1, mode="constant")
    return np.clip(np.rint(values), 0, 255).astype(np.uint8), theta


def _write_aligned(frame: Frame, locator: Locator, folder: Path, size: int) -> list[float]:
    folder.mkdir(parents=True, exist_ok=True)
    picture, theta = aligned(
        frame.image, frame.points, locator.mean_landmarks, size, aspect=frame.aspect
    )
    iio.imwrite(folder / f"{frame.name}.png", picture)
    return theta.ravel().round(6).tolist()


def _write(path: Path, head: list[str], rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
