"""Pictures: sheets of outlines and points over the images, cines with tracked points, curves.

Everything is drawn on figures of its own (never through pyplot's global state), so the functions
work without a display and beside somebody else's plots. The colours are Okabe and Ito's and
viridis, which colour-blind eyes can tell apart.
"""

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from jssm.pictures.style import (
    PREDICTION_COLOUR,
    TRAIN_COLOUR,
    TRUTH_COLOUR,
    VAL_COLOUR,
    crop_window,
    grey_range,
    wall_colours,
)
from jssm.shape import order
from jssm.shape.masks import binarize

WALL_COLOURS = ListedColormap(wall_colours(256) / 255)
_BACKGROUND = "black"
# The first place of the points, that halfway along them and the last; of a ring too.
PLACES = {
    False: ("first basal end", "apex", "last basal end"),
    True: ("first points", "halfway round", "last points"),
}


def overlay_sheet(
    path: str | PathLike[str],
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    *,
    columns: int = 4,
    closed: bool = False,
) -> None:
    """Writes a PNG sheet: per case one picture with both outlines and one with the points.

    images, true_masks (or None), predicted_masks: (N, H, W), masks in [0, 1]; points (N, T, 2) px
    or None; titles: N short texts. The pictures are cropped to the heart. Points have one colour
    per place along the wall, from the first basal end (dark) to the last (bright), inner and outer
    alike; the first basal end is marked by squares. closed: the shapes are rings. Raises ValueError
    where N is 0 or the lengths differ.
    """
    figure = _sheet(images, true_masks, predicted_masks, points, titles, columns, closed)
    FigureCanvasAgg(figure).print_png(str(path))


def overlay_image(
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    *,
    columns: int = 4,
    closed: bool = False,
) -> NDArray[np.uint8]:
    """The sheet of `overlay_sheet` as an RGB array (height, width, 3), for an image summary."""
    return _pixels(_sheet(images, true_masks, predicted_masks, points, titles, columns, closed))


def cine_gif(
    path: str | PathLike[str],
    images: NDArray,
    points: NDArray,
    fps: float,
    *,
    title: str = "",
    progress: bool = False,
    closed: bool = False,
) -> None:
    """Writes an animated GIF of a cine (F, H, W) with its points (F, T, 2) px, endlessly looped.

    Each point keeps its colour through all frames and a tail of its last five places, so that the
    eye can follow it. One view, cropped to all places of the heart, holds for all frames. GIF
    counts time in hundredths of a second, so `fps` is met to that precision. closed: the shapes are
    rings. Raises ValueError where images and points have different numbers of frames.
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
        label = f"{title}  frame {k + 1}/{len(images)}  (squares: {PLACES[closed][0]})"
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


Pairs = tuple[NDArray, NDArray]


def reliability(path: str | PathLike[str], *, held: Pairs, confidence: Pairs, kept: Pairs) -> None:
    """Writes a PNG that tells how true it is what a model says of itself, in three panels.

    held: the shares of points that its ellipses should hold and those that they hold. confidence:
    the Dice that it expects of each case, and the Dice. kept: the shares of cases that are kept,
    the most confident first, and their mean Dice. NaN, or no case, leaves a panel empty.
    """
    figure = Figure(figsize=(12, 3.9), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(*held, color=TRAIN_COLOUR)
    left.set(title="true points in the ellipses", xlabel="share promised", ylabel="share held")
    middle.scatter(*confidence, s=12, color=TRAIN_COLOUR, alpha=0.5, linewidths=0)
    middle.set(title="confidence", xlabel="Dice expected", ylabel="Dice")
    for axes in (left, middle):
        axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    right.plot(*kept, color=TRAIN_COLOUR)
    right.set(title="cases kept, the most confident first", xlabel="share kept", xlim=(0, 1))
    right.set_ylabel("their mean Dice")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(str(path))


def _sheet(
    images: NDArray,
    true_masks: NDArray | None,
    predicted_masks: NDArray,
    points: NDArray | None,
    titles: Sequence[str],
    columns: int,
    closed: bool,
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
        handles=_legend(true_masks is not None, PLACES[closed] if points is not None else ()),
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        labelcolor="white",
        frameon=False,
    )
    return figure


def _legend(with_truth: bool, places: Sequence[str]) -> list[Line2D]:
    handles = [Line2D([], [], color=TRUTH_COLOUR, label="truth")] if with_truth else []
    handles.append(Line2D([], [], color=PREDICTION_COLOUR, label="prediction"))
    handles += [
        Line2D([], [], color=WALL_COLOURS(k / 2), label=text, linestyle="", marker=marker)
        for k, (text, marker) in enumerate(zip(places, "soo", strict=False))
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


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
