"""Small horseshoes with known geometry, and a data set made of them without registration."""

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from prep.dataset import cases, store
from prep.dataset.cases import Case, Mean
from prep.dataset.settings import Settings
from prep.shapes import point_cloud

SIZE = 64


@dataclass(frozen=True)
class Horseshoe:
    """An arch of two radii with straight arms; upright before it is turned (degrees, clockwise)."""

    inner: float = 11.0
    outer: float = 17.0
    arm: float = 18.0
    turn: float = 0.0
    centre: tuple[float, float] = (31.5, 28.0)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) of the upright shape about the arch's centre, in image px."""
        a = np.deg2rad(self.turn)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return np.asarray(points) @ turn.T + self.centre

    def mask(self, size: int = SIZE) -> np.ndarray:
        """The mask (size, size), bool."""
        y, x = np.mgrid[:size, :size].astype(float)
        a = np.deg2rad(self.turn)
        dx, dy = x - self.centre[0], y - self.centre[1]
        u, v = np.cos(a) * dx + np.sin(a) * dy, -np.sin(a) * dx + np.cos(a) * dy
        radius = np.where(v < 0, np.hypot(u, v), np.abs(u))
        return (radius >= self.inner) & (radius <= self.outer) & (v <= self.arm)

    def landmarks(self) -> np.ndarray:
        """Apex, first and second basal landmark (3, 2)."""
        middle = (self.inner + self.outer) / 2
        return self.to_image([[0, -self.outer], [-middle, self.arm], [middle, self.arm]])

    def corners(self) -> np.ndarray:
        """Inner and outer corner of the first, then of the second end (4, 2)."""
        i, o, a = self.inner, self.outer, self.arm
        return self.to_image([[-i, a], [-o, a], [i, a], [o, a]])


def cohort(count: int, seed: int = 0) -> list[Horseshoe]:
    """Horseshoes of various thickness, length, place and turn."""
    rng = np.random.default_rng(seed)
    return [
        Horseshoe(
            inner=10 + 2 * rng.random(),
            outer=15 + 3 * rng.random(),
            arm=13 + 5 * rng.random(),
            turn=float(rng.uniform(-40, 40)),
            centre=(31 + 3 * rng.random(), 27 + 3 * rng.random()),
        )
        for _ in range(count)
    ]


def write_png_cohort(folder: Path, shapes: list[Horseshoe]) -> tuple[Path, Path]:
    """Images and masks ``p00_a.png``, ...: two cases of each patient; the two folders."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    rng = np.random.default_rng(1)
    for i, shape in enumerate(shapes):
        mask = shape.mask()
        image = 60 + 90 * mask + rng.normal(0, 8, mask.shape)
        name = f"p{i // 2:02d}_{'ab'[i % 2]}.png"
        iio.imwrite(images / name, np.clip(image, 0, 255).astype(np.uint8))
        iio.imwrite(masks / name, (2 * mask).astype(np.uint8))
    return images, masks


def write_data_set(folder: Path, count: int = 6) -> Path:
    """A sound data set of ``count`` horseshoes, their points taken from their own boundaries."""
    steps = folder / "steps"
    steps.mkdir(parents=True)
    settings = Settings(size=SIZE, num_points=24)
    mean = Mean(np.zeros((4, 4)), np.zeros((24, 2)), np.zeros((3, 2)))
    listed, parts = [], {}
    images, masks = write_png_cohort(folder, cohort(count))
    for i, shape in enumerate(cohort(count)):
        stem = f"p{i // 2:02d}_{'ab'[i % 2]}"
        case = Case(stem, stem[:3], 0, images / f"{stem}.png", masks / f"{stem}.png")
        stamp = cases.case_stamp(case)
        mask = shape.mask()
        points = point_cloud.sample_points(mask, 24, point_cloud.horseshoe_boundaries)
        score = point_cloud.dice(point_cloud.polygon_mask(points, mask.shape), mask)
        cases.write(
            steps / f"{stem}.input.npz",
            stamp=stamp,
            image=iio.imread(case.image),
            mask=mask.astype(np.uint8),
            spacing_mm=np.array([1.5, 1.25]),
            time_s=0.0,
        )
        cases.write(
            steps / f"{stem}.fit.npz",
            stamp=f"{stamp}-{mean.stamp()}",
            grid_points=points / 2,
            theta=np.array([[2.0, 0, 0], [0, 2, 0]]),
            dice=score,
        )
        listed.append(case)
        parts[case.patient] = "val" if i < 2 else "train"
    found = store.collect(listed, parts, settings, steps, mean)
    out = folder / "set"
    out.mkdir()
    meta = {"format": 1, "view": "test", "size": SIZE, "num_points": 24, "seed": 0}
    store.write_data_set(out, found, meta | {"source": "horseshoes", "min_dice": 0.9}, 30)
    return out
