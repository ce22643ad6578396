"""Pictures of the tables: cases beside one another, cycles, movies, and scores as curves.

Everything takes arrays and tables, and is drawn on figures of its own. ``ours`` names the method of
this project among the others: it is orange and drawn last.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks import report
from benchmarks.tables.plan import OURS
from jssm.dataset import Dataset
from jssm.evaluation import metrics
from jssm.evaluation.scores import Evaluation
from jssm.pictures import movies, plots, style
from jssm.shape.masks import binarize

STRAY_COLOUR = "#D55E00"  # vermilion: what does not belong to a mask's largest piece
WORST = 6  # cases in the picture of the worst
SCORE_LABELS = {
    "dice": "Dice ↑",
    "hd_mm": "Hausdorff distance (mm) ↓",
    "hd_px": "Hausdorff distance (px) ↓",
    "cc": "Connected components",
    "correspondence_mm": "Correspondence error (mm) ↓",
    "point_mm": "Error of the points (mm) ↓",
    "across_mm": "… across the wall (mm) ↓",
    "along_mm": "… along the wall (mm) ↓",
    "motion_mm": "… of the motion (mm) ↓",
}


@dataclass(frozen=True)
class Case:
    """One row of :func:`qualitative`.

    title: what is written beside it. image, true_mask: (H, W). true_points: (T, 2) px. masks: by
    method, (H, W). points: (T, 2) px, of this project's method.
    """

    title: str
    image: NDArray
    true_mask: NDArray
    true_points: NDArray
    masks: Mapping[str, NDArray]
    points: NDArray


def choose(dice: NDArray) -> dict[str, int]:
    """The places of the best, the median and the worst of the numbers ``dice`` (n,).

    NaN does not count. Equal numbers keep their order; of an even count the median is the better
    of the two in the middle. A place is named once, so fewer than three numbers give fewer names.

    Raises:
      ValueError: when no number is known.
    """
    dice = np.asarray(dice, np.float64)
    order = np.argsort(-dice, kind="stable")[: np.count_nonzero(~np.isnan(dice))]
    if not len(order):
        raise ValueError("no case has a Dice, expected at least one to show")
    found: dict[str, int] = {}
    for name, place in (("best", 0), ("worst", -1), ("median", (len(order) - 1) // 2)):
        if int(order[place]) not in found.values():
            found[name] = int(order[place])
    return {name: found[name] for name in ("best", "median", "worst") if name in found}


def worst(dice: NDArray) -> dict[str, int]:
    """The places of the :data:`WORST` least of the numbers ``dice`` (n,), the least first."""
    places = np.argsort(dice, kind="stable")[: min(WORST, np.count_nonzero(~np.isnan(dice)))]
    return {f"worst {k + 1}": int(place) for k, place in enumerate(places)}


Choice = Callable[[NDArray], dict[str, int]]


def chosen_cases(
    data: Dataset,
    found: Mapping[str, Evaluation],
    *,
    choice: Choice = choose,
    ours: str = OURS,
    view: str = "",
) -> list[Case]:
    """The rows of :func:`qualitative` that one data set gives: by a ``choice`` from our Dice.

    found: what each method, by name, gave for the same rows of ``data``. The true points are the
    phantom's material points where there are any, else those of the data set.

    Raises:
      ValueError: where the methods were judged on other rows, or ours has no points.
    """
    own = found[ours]
    if any(not np.array_equal(other.rows, own.rows) for other in found.values()):
        raise ValueError("the methods were judged on different rows, expected the same for all")
    if own.points is None:
        raise ValueError(f"{ours} has no points, expected them of this project's method")
    true_points = data.points if data.truth_points is None else data.truth_points
    return [
        Case(
            f"{view} {name}\n{own.table['case'].iloc[place]}".strip(),
            data.images[own.rows[place]],
            data.masks[own.rows[place]],
            true_points[own.rows[place]],
            {method: evaluation.masks[place] for method, evaluation in found.items()},
            own.points[place],
        )
        for name, place in choice(own.table["dice"].to_numpy()).items()
    ]


def qualitative(path: Path, cases: Sequence[Case], *, ours: str = OURS) -> None:
    """A PNG like the paper's Fig. 4 and 7: per case a row of image, true mask, true points, the
    masks of the other methods, our points over the image, and our mask.

    Under each mask stand its Dice and its number of components; pieces beside the largest are
    vermilion. Each row is cropped to all that is drawn in it.
    """
    others = [method for method in cases[0].masks if method != ours]
    heads = ["image", "true mask", "true points", *others, f"{ours}: points", ours]
    figure = Figure(
        figsize=(1.7 * len(heads) + 0.6, 1.95 * len(cases) + 0.3),
        layout="constrained",
        facecolor="black",
    )
    grid = figure.subplots(len(cases), len(heads), squeeze=False)
    for case, row in zip(cases, grid, strict=True):
        truth = binarize(case.true_mask)
        masks = {method: binarize(mask) for method, mask in case.masks.items()}
        places = np.concatenate([case.true_points, case.points])
        everything = np.any([truth, *masks.values()], axis=0)
        window = plots.crop_window(case.image.shape, everything, places)
        for axes in (row[0], row[2], row[-2]):
            plots.show_image(axes, case.image, window, plots.grey_range(case.image))
        plots.draw_points(row[2], case.true_points, size=4)
        plots.draw_points(row[-2], case.points, size=4)
        _show_mask(row[1], truth, window)
        for axes, method in zip([*row[3:-2], row[-1]], [*others, ours], strict=True):
            _show_mask(axes, masks[method], window)
            score, pieces = metrics.dice(truth, masks[method]), metrics.components(masks[method])
            _below(axes, f"Dice {score:.3f}  CC {pieces}")
        _beside(row[0], case.title)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, color="white", fontsize=9)
    report.save(figure, path)


def cycle_sheet(
    path: Path, cines: Mapping[str, tuple[NDArray, NDArray]], *, frames: int = 8
) -> None:
    """A PNG like the paper's Fig. 5 and 8: a row per cine, some ``frames`` of it with the points.

    cines: by title, images (F, H, W) of a whole cycle and points (F, T, 2) px. The frames are
    evenly spread from the first on. Points have one colour per index, from the first basal end
    (dark, marked by squares) to the last (bright), so the same tissue has the same colour. One view
    holds for all frames of a row.
    """
    figure = Figure(
        figsize=(1.7 * frames + 0.4, 1.75 * len(cines) + 0.3),
        layout="constrained",
        facecolor="black",
    )
    grid = figure.subplots(len(cines), frames, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (title, (images, points)) in zip(grid, cines.items(), strict=True):
        window = plots.crop_window(images.shape[1:], None, points.reshape(-1, 2))
        for axes, place in zip(row, np.arange(frames) * len(images) // frames, strict=True):
            plots.show_image(axes, images[place], window, plots.grey_range(images))
            plots.draw_points(axes, points[place], size=5)
            axes.set_title(f"{place + 1}/{len(images)}", color="0.7", fontsize=7, pad=2)
        _beside(row[0], title)
    report.save(figure, path)


def movie(
    path: Path, images: NDArray, tracks: Mapping[str, NDArray], *, frame_time_s: float = math.nan
) -> None:
    """A movie of a cine (F, H, W), the ``tracks`` side by side: GIF or MP4, by the path's suffix.

    tracks: by name, points (F, T, 2) px, each with its colour through all frames, or masks
    (F, H, W), of which the outline is drawn. One view, of all that is drawn, holds for all. Without
    a frame time the pace is 20 frames a second.

    Raises:
      ValueError: where a track has another number of frames, or the suffix is another.
    """
    writers = {".gif": movies.write_gif, ".mp4": movies.write_mp4}
    if path.suffix not in writers:
        raise ValueError(f"{path}: the suffix is {path.suffix!r}, expected .gif or .mp4")
    for name, track in tracks.items():
        if len(track) != len(images):
            raise ValueError(f"{name} has {len(track)} frames, expected {len(images)}")
    masks = {n: binarize(t) for n, t in tracks.items() if t.shape == images.shape}
    clouds = {name: track for name, track in tracks.items() if name not in masks}
    window = plots.crop_window(
        images.shape[1:],
        np.any([mask.any(axis=0) for mask in masks.values()], axis=0) if masks else None,
        np.concatenate([c.reshape(-1, 2) for c in clouds.values()]) if clouds else None,
    )
    panels = []
    for name, track in tracks.items():
        labels = [f"{name}  {k + 1}/{len(images)}" for k in range(len(images))]
        if name in masks:
            drawn = movies.grey(images, window, labels=labels)
            panels.append(
                [_outlined(p, m, window) for p, m in zip(drawn, masks[name], strict=True)]
            )
        else:
            panels.append(list(movies.draw(images, track, labels=labels, window=window)))
    path.parent.mkdir(parents=True, exist_ok=True)
    side_by_side = [_joined(pictures) for pictures in zip(*panels, strict=True)]
    writers[path.suffix](path, side_by_side, movies.frames_per_second(frame_time_s))


def robustness_lines(path: Path, table: pd.DataFrame, *, ours: str = OURS) -> None:
    """A PNG of scores against the strength: a column per degradation, a row per score.

    table: those of :func:`benchmarks.tables.robustness.curves` below one another, with the column
    method. The mean over the cases is drawn.
    """
    _lines(path, table, "strength", "Strength", ours=ours, columns="degradation")


def size_lines(path: Path, table: pd.DataFrame, *, ours: str = OURS) -> None:
    """A PNG of scores against the size of the training set, a panel per score.

    table: columns method, train_percent and the means of scores (dice_mean, hd_mm_mean, ...).
    """
    _lines(path, table, "train_percent", "Share of the training set (%)", ours=ours, log=True)


def drift_lines(path: Path, frames: pd.DataFrame, *, ours: str = OURS) -> None:
    """A PNG of the errors over the heart cycle, a panel per part of the error; the median over the
    patients, since one lost cycle rules a mean. ``frames``: those of
    :class:`benchmarks.tables.cycles.Cycles`.
    """
    scores = [name for name in SCORE_LABELS if name in frames]
    medians = frames.groupby(["method", "phase"], sort=False)[scores].median().add_suffix("_median")
    title = "Phase of the heart cycle (medians)"
    _lines(path, medians.reset_index(), "phase", title, ours=ours, statistic="median")


def arc_lines(path: Path, arcs: Mapping[str, NDArray], *, ours: str = OURS) -> None:
    """A PNG of the error along the wall: inner boundary left, outer boundary right.

    arcs: by method, the distance (n, T) of each point in mm, as `Cycles.arc` or
    :func:`benchmarks.tables.cycles.distances_mm` gives them. A line is the median over the n
    frames, the band about it their middle half. Places run from the first basal end round the apex
    to the last.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colours = method_colours(list(arcs), ours=ours)
    for method in sorted(arcs, key=lambda name: name == ours):
        halves = np.split(np.asarray(arcs[method], np.float64), 2, axis=1)
        for axes, errors in zip(panels, halves, strict=True):
            place = np.linspace(0, 1, errors.shape[1])
            low, middle, high = np.percentile(errors, [25, 50, 75], axis=0)
            axes.fill_between(place, low, high, color=colours[method], alpha=0.18, linewidth=0)
            axes.plot(place, middle, color=colours[method], label=method)
    for axes, title in zip(panels, ("Inner boundary", "Outer boundary"), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xticks([0, 0.5, 1], ["first base", "apex", "last base"])
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("Error of the points (mm)")
    panels[1].legend(fontsize=8)
    report.save(figure, path)


def method_colours(methods: Sequence[str], *, ours: str = OURS) -> dict[str, str]:
    """A colour per method: ours is orange, the others have the house's, in their order."""
    free = [c for c in style.CURVE_COLOURS if c != plots.PREDICTION_COLOUR] + ["#000000", "#999999"]
    others = [method for method in dict.fromkeys(methods) if method != ours]
    chosen = {method: free[k % len(free)] for k, method in enumerate(others)}
    return {**chosen, ours: plots.PREDICTION_COLOUR}


def _lines(
    path: Path,
    table: pd.DataFrame,
    x: str,
    x_label: str,
    *,
    ours: str,
    columns: str = "",
    log: bool = False,
    statistic: str = "mean",
) -> None:
    """A PNG of the means (or another statistic) of all scores in ``table`` against the column
    ``x``, a line per method.

    One panel per score, in a row; with ``columns``, a row per score and a column of panels for each
    value of that column. Distances in px are left out where there are such in mm.
    """
    scores = [name for name in SCORE_LABELS if f"{name}_{statistic}" in table]
    if "hd_mm" in scores and "hd_px" in scores:
        scores.remove("hd_px")
    if columns:
        parts = list(table.groupby(columns, sort=False))
        panels = [[(score, title, part) for title, part in parts] for score in scores]
    else:
        panels = [[(score, "", table) for score in scores]]
    tall, wide = len(panels), len(panels[0])
    figure = Figure(figsize=(0.8 + 2.7 * wide, 0.7 + 2.3 * tall), layout="constrained")
    grid = figure.subplots(
        tall, wide, squeeze=False, sharex=True, sharey="row" if columns else False
    )
    colours = method_colours(table["method"].tolist(), ours=ours)
    for across, row in zip(grid, panels, strict=True):
        for axes, (score, title, part) in zip(across, row, strict=True):
            _panel(axes, part, x, f"{score}_{statistic}", colours)
            if axes in grid[0]:
                axes.set_title(title, fontsize=10)
            if axes in grid[-1]:
                axes.set_xlabel(x_label, fontsize=9)
            if not columns or axes in grid[:, 0]:
                axes.set_ylabel(SCORE_LABELS[score], fontsize=9)
    if log:
        ticks = sorted(table[x].unique())
        grid[0, 0].set_xscale("log")
        grid[0, 0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        grid[0, 0].minorticks_off()
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=9, frameon=False)
    report.save(figure, path)


def _panel(axes: Axes, table: pd.DataFrame, x: str, score: str, colours: Mapping[str, str]) -> None:
    """A line per method that ``table`` has: its column ``score`` against its column ``x``."""
    for method, colour, marker in zip(colours, colours.values(), cycle("osD^vPX"), strict=False):
        line = table[table["method"] == method].sort_values(x)
        axes.plot(
            line[x], line[score], color=colour, marker=marker, markersize=4, linewidth=1.5,
            label=method,
        )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)


def _show_mask(axes: Axes, mask: NDArray[np.bool_], window: movies.Window) -> None:
    """A mask (H, W) in white, its pieces beside the largest in vermilion."""
    pieces, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    shown = np.zeros((*mask.shape, 3))
    shown[mask] = to_rgb(STRAY_COLOUR)
    if len(sizes):
        shown[pieces == 1 + np.argmax(sizes)] = 1.0
    plots.show_image(axes, shown, window, (0.0, 1.0))


def _below(axes: Axes, text: str) -> None:
    axes.text(
        0.5, -0.03, text, color="white", fontsize=7, ha="center", va="top", transform=axes.transAxes
    )


def _beside(axes: Axes, text: str) -> None:
    axes.text(
        -0.06, 0.5, text, color="white", fontsize=7, rotation=90, ha="right", va="center",
        multialignment="center", transform=axes.transAxes,
    )  # fmt: skip


def _outlined(picture: Image.Image, mask: NDArray[np.bool_], window: movies.Window) -> Image.Image:
    """A palette picture of ``window`` with the outline of ``mask`` (H, W) drawn on it."""
    left, top, side = window
    centres = (np.arange(movies.SIDE_PX) + 0.5) * side / movies.SIDE_PX
    nearest = [np.rint(start + centres).astype(int) for start in (top, left)]
    places = [np.clip(n + 1, 0, size + 1) for n, size in zip(nearest, mask.shape, strict=True)]
    inside = np.pad(mask, 1)[np.ix_(*places)]
    pixels = np.array(picture)
    pixels[inside & ~ndimage.binary_erosion(inside, iterations=2)] = movies.OUTLINE
    return _like(picture, pixels)


def _joined(pictures: Sequence[Image.Image]) -> Image.Image:
    """Palette pictures of one height and palette, side by side."""
    return _like(pictures[0], np.concatenate([np.asarray(p) for p in pictures], axis=1))


def _like(picture: Image.Image, pixels: NDArray[np.uint8]) -> Image.Image:
    """A palette picture of these ``pixels`` (height, width), with the palette of ``picture``."""
    made = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
    palette = picture.getpalette()
    if palette is not None:
        made.putpalette(palette)
    return made
