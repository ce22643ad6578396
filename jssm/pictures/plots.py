"""Pictures: sheets of outlines and points over the images, cines with tracked points, curves.

Everything is drawn on figures of its own (never through pyplot's global state), so the functions
work without a display and beside somebody else's plots. The colours are Okabe and Ito's and
viridis, which colour-blind eyes can tell apart.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from jssm.shape import order
from jssm.shape.masks import binarize

TRUTH_COLOUR = "#56B4E9"  # sky blue
PREDICTION_COLOUR = "#E69F00"  # orange
TRAIN_COLOUR, VAL_COLOUR = "#0072B2", "#D55E00"  # blue, vermilion
CURVE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")

# Viridis without its darkest part, which cannot be seen on the black of an image.
WALL_COLOURS = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.3, 1.0, 256)))
_BACKGROUND = "black"


def overlay_sheet(
    path: str | PathLike[str],
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    *,
    columns: int = 4,
) -> None:
    """Writes a PNG sheet: per case one picture with both outlines and one with the points.

    images, true_masks (or None), predicted_masks: (N, H, W), masks in [0, 1]; points (N, T, 2) px
    or None; titles: N short texts. The pictures are cropped to the heart. Points have one colour
    per place along the wall, from the first basal end (dark) to the last (bright), inner and outer
    alike; the first basal end is marked by squares. Raises ValueError where N is 0 or the lengths
    differ.
    """
    figure = _sheet(images, true_masks, predicted_masks, points, titles, columns)
    FigureCanvasAgg(figure).print_png(str(path))


def overlay_image(
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    *,
    columns: int = 4,
) -> NDArray[np.uint8]:
    """The sheet of `overlay_sheet` as an RGB array (height, width, 3), for an image summary."""
    return _pixels(_sheet(images, true_masks, predicted_masks, points, titles, columns))


def cine_gif(
    path: str | PathLike[str],
    images: NDArray,
    points: NDArray,
    fps: float,
    *,
    title: str = "",
    progress: bool = False,
) -> None:
    """Writes an animated GIF of a cine (F, H, W) with its points (F, T, 2) px, endlessly looped.

    Each point keeps its colour through all frames and a tail of its last five places, so that the
    eye can follow it. One view, cropped to all places of the heart, holds for all frames. GIF
    counts time in hundredths of a second, so `fps` is met to that precision. Raises ValueError
    where images and points have different numbers of frames.
    """
    if len(images) == 0 or len(images) != len(points):
        raise ValueError(f"a cine needs as many points as images, got {len(points)}, {len(images)}")
    window = crop_window(images.shape[1:], None, points.reshape(-1, 2))
    low, high = grey_range(images)
    figure = Figure(figsize=(4.2, 4.5), dpi=100, facecolor=_BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.88))
    frames = []
    for k in tqdm(range(len(images)), "cine", disable=not progress, delay=2, leave=False):
        axes.clear()
        show_image(axes, images[k], window, (low, high))
        for tail in range(max(0, k - 5), k):
            draw_points(axes, points[tail], size=2, alpha=0.5, mark=False)
        draw_points(axes, points[k], size=14)
        label = f"{title}  frame {k + 1}/{len(images)}  (squares: first basal end)"
        axes.set_title(label.strip(), color="white", fontsize=9)
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    palette = _gif_palette()
    first, *others = [
        Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames
    ]
    duration_ms = max(2, round(100 / fps)) * 10
    first.save(
        path, format="GIF", save_all=True, append_images=others, duration=duration_ms, loop=0
    )


def curves(path: str | PathLike[str], history: Sequence[Mapping[str, float]]) -> None:
    """Writes a PNG of training curves from a list of records (the lines of a JSON-lines log).

    `train_NAME` and `val_NAME` share the panel NAME; other numbers have a panel each. The
    horizontal axis is `epoch` where every record has one, else `step`, else the record's number.
    Records may lack keys; values that are not numbers are left out. Raises ValueError where
    nothing can be drawn.
    """
    axis = next((k for k in ("epoch", "step") if history and all(k in r for r in history)), None)
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for number, record in enumerate(history):
        for key, value in record.items():
            if key in ("epoch", "step") or not _is_number(value):
                continue
            part, _, name = key.partition("_")
            panel, part = (name, part) if part in ("train", "val") else (key, "")
            x = float(record[axis]) if axis else float(number)
            series.setdefault(panel, {}).setdefault(part, []).append((x, float(value)))
    if not series:
        raise ValueError("the history has no numbers to draw, expected keys such as train_loss")
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * rows), dpi=110, layout="constrained")
    for place, (panel, parts) in enumerate(series.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for part, pairs in parts.items():
            x_values, y_values = np.array(pairs).T
            axes.plot(
                x_values,
                y_values,
                color=VAL_COLOUR if part == "val" else TRAIN_COLOUR,
                linestyle="--" if part == "val" else "-",
                marker="o" if len(pairs) < 3 else None,
                label={"val": "validation", "train": "training"}.get(part),
            )
        axes.set_title(panel.replace("_", " "), fontsize=10)
        axes.set_xlabel(axis or "record", fontsize=9)
        axes.grid(alpha=0.3)
        if set(parts) != {""}:
            axes.legend(fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))


def motion_curves(
    path: str | PathLike[str],
    panels: Mapping[str, Mapping[str, NDArray]],
    *,
    x: NDArray,
    x_label: str,
    marks: Mapping[str, float],
    title: str = "",
) -> None:
    """Writes a PNG of up to four panels of curves over time.

    panels: by the panel's label, with its unit, the curves (F,) by name. x: (F,), the same for all.
    marks: names and places on the x axis of vertical lines, such as end-diastole. Values that are
    not finite leave a gap. Of panels with curves of the same names, the first has the legend.
    """
    figure = _motion_figure()
    for axes in figure.axes:
        _empty(axes)
    told: set[tuple[str, ...]] = set()
    for axes, (label, curves_by_name) in zip(figure.axes, panels.items(), strict=False):
        axes.set_visible(True)
        for (name, values), colour in zip(curves_by_name.items(), CURVE_COLOURS, strict=False):
            axes.plot(x, values, color=colour, label=name, linewidth=1.5)
        for name, place in marks.items():
            axes.axvline(place, color="0.6", linestyle=":", linewidth=1)
            axes.annotate(name, (place, 1.01), xycoords=("data", "axes fraction"), fontsize=7)
        axes.set_title(label, fontsize=9, loc="center", pad=10)
        axes.set_xlabel(x_label, fontsize=8)
        names = tuple(curves_by_name)
        if len(names) > 1 and names not in told:
            axes.legend(fontsize=6, loc="best", framealpha=0.6)
            told.add(names)
    figure.suptitle(title, fontsize=10)
    FigureCanvasAgg(figure).print_png(str(path))


def get_ready() -> None:
    """Make what :func:`motion_curves` keeps, and find the fonts."""
    FigureCanvasAgg(_motion_figure()).draw()


@cache
def _motion_figure() -> Figure:
    """The figure of :func:`motion_curves`: kept, as its axes and ticks take as long to make as all
    that is drawn on them."""
    figure = Figure(figsize=(10, 6.4), dpi=80)
    for axes in figure.subplots(2, 2).flat:
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
    figure.subplots_adjust(0.07, 0.08, 0.985, 0.92, 0.17, 0.3)
    return figure


def _empty(axes: Axes) -> None:
    """Take away what :func:`motion_curves` drew."""
    legend = axes.get_legend()
    for artist in [*axes.lines, *axes.texts, *([legend] if legend else [])]:
        artist.remove()
    axes.set_prop_cycle(None)
    axes.relim()
    axes.autoscale()
    axes.set_visible(False)


def _sheet(
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    columns: int,
) -> Figure:
    parts = [images, predicted_masks, titles, true_masks, points]
    lengths = {len(part) for part in parts if part is not None}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"a sheet needs as many of each part, at least one, got {sorted(lengths)}")
    columns = min(columns, len(images))
    bands = -(-len(images) // columns)
    per_case = 1 if points is None else 2
    figure = Figure(
        figsize=(2.9 * columns, 2.9 * bands * per_case + 0.25 * bands + 0.5),
        dpi=100,
        layout="constrained",
        facecolor=_BACKGROUND,
    )
    grid = figure.subplots(bands * per_case, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for k, (image, title) in enumerate(zip(images, titles, strict=True)):
        band, column = divmod(k, columns)
        predicted = binarize(predicted_masks[k])
        truth = None if true_masks is None else binarize(true_masks[k])
        shape_points = None if points is None else np.asarray(points[k])
        heart = predicted if truth is None else predicted | truth
        window = crop_window(image.shape, heart, shape_points)
        axes = grid[band * per_case, column]
        show_image(axes, image, window, grey_range(image))
        for mask, colour in ((truth, TRUTH_COLOUR), (predicted, PREDICTION_COLOUR)):
            if mask is not None and mask.any():
                edge = np.pad(mask.astype(float), 1)  # closes outlines at the image border
                places = [np.arange(-1, n + 1) for n in mask.shape]
                axes.contour(places[1], places[0], edge, [0.5], colors=[colour], linewidths=1.2)
        axes.set_title(title, color="white", fontsize=8)
        if shape_points is not None:
            below = grid[band * per_case + 1, column]
            show_image(below, image, window, grey_range(image))
            draw_points(below, shape_points, size=11)
    figure.legend(
        handles=_legend(true_masks is not None, points is not None),
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        labelcolor="white",
        frameon=False,
    )
    return figure


def _legend(with_truth: bool, with_points: bool) -> list[Line2D]:
    handles = [Line2D([], [], color=TRUTH_COLOUR, label="truth")] if with_truth else []
    handles.append(Line2D([], [], color=PREDICTION_COLOUR, label="prediction"))
    if with_points:
        handles += [
            Line2D([], [], color=WALL_COLOURS(place), label=text, linestyle="", marker=marker)
            for place, text, marker in (
                (0.0, "first basal end", "s"),
                (0.5, "apex", "o"),
                (1.0, "last basal end", "o"),
            )
        ]
    return handles


def show_image(
    axes: Axes, image: NDArray, window: tuple[float, float, float], grey: tuple[float, float]
) -> None:
    """One grey image (H, W), cropped to the square `window` = (left, top, side) in px."""
    axes.imshow(image, cmap="gray", vmin=grey[0], vmax=grey[1], interpolation="bilinear")
    left, top, side = window
    axes.set_xlim(left, left + side)
    axes.set_ylim(top + side, top)
    axes.set_axis_off()


def draw_points(
    axes: Axes, points: NDArray, *, size: float, alpha: float = 1.0, mark: bool = True
) -> None:
    """Points (T, 2) coloured by their place along the wall; squares mark the first basal end."""
    colours = WALL_COLOURS(np.tile(np.linspace(0, 1, len(points) // 2), 2))
    axes.scatter(points[:, 0], points[:, 1], c=colours, s=size, alpha=alpha, linewidths=0)
    if mark:
        ends = points[order.basal_ends(len(points))[:, 0]]
        start = [WALL_COLOURS(0.0)]
        axes.scatter(
            ends[:, 0], ends[:, 1], c=start * 2, s=3 * size, marker="s", edgecolors="white", lw=0.8
        )


def _gif_palette() -> Image.Image:
    """256 colours for all frames: 96 greys; 32 wall colours, pure and over four greys (tails).

    A palette adapted to the frames would spend itself on greys and merge the points' colours.
    """
    greys = np.repeat(np.linspace(0, 255, 96)[:, None], 3, axis=1)
    walls = 255 * WALL_COLOURS(np.linspace(0, 1, 32))[:, :3]
    blends = [(walls + grey) / 2 for grey in (0, 85, 170, 255)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, walls, *blends]).round().astype(np.uint8).tobytes())
    return palette


def crop_window(
    image_shape: Sequence[int], heart: NDArray[np.bool_] | None, points: NDArray | None
) -> tuple[float, float, float]:
    """The square (left, top, side), in px, round the mask and the points, with a margin.

    Points outside the image do not widen it beyond the image; an empty case shows the whole image.
    """
    height, width = image_shape
    places = np.zeros((0, 2)) if heart is None else np.argwhere(heart)[:, ::-1].astype(float)
    if points is not None:
        places = np.concatenate([places, points[np.isfinite(points).all(axis=1)]])
    if len(places) == 0:
        return -0.5, -0.5, float(max(height, width))
    limit = np.array([width - 1.0, height - 1.0])
    low, high = np.clip(places.min(0), 0, limit), np.clip(places.max(0), 0, limit)
    side = min(1.5 * max(8.0, *(high - low)), float(max(height, width)))
    left, top = np.maximum(np.minimum((low + high - side) / 2, limit + 0.5 - side), -0.5)
    return float(left), float(top), side


def grey_range(images: NDArray) -> tuple[float, float]:
    low, high = np.percentile(images, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
