"""Panels of curves over time, as one PNG.

Drawn with Pillow, twice as large and shrunk, which smooths the lines. matplotlib takes some eight
times as long, and a second to import.
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from jssm.pictures.style import CURVE_COLOURS

LARGER = 2
WIDTH, HEIGHT = 800, 512
LEFTS, TOPS = (56, 451), (46, 291)  # of the panels, px
ACROSS, DOWN = 337, 180
MARGIN = 0.05  # between the curves and the frame, of their range
TICKS = 5  # at most
LEGEND_LINE = 12  # px
FRAME, GRID, MARK, TEXT = "#444444", "#e4e4e4", "#999999", "#000000"
Curves = Mapping[str, NDArray]


def draw(
    path: Path,
    panels: Mapping[str, Curves],
    *,
    x: NDArray,
    x_label: str,
    marks: Mapping[str, float],
    title: str = "",
) -> None:
    """Write a PNG of up to four panels of curves over time.

    panels: by the panel's label, with its unit, the curves (F,) by name. x: (F,), rising, the same
    for all. marks: names and places on the x axis of vertical lines, such as end-diastole. Values
    that are not finite leave a gap. Of panels with curves of the same names, the first has the
    legend.
    """
    picture = Image.new("RGB", (LARGER * WIDTH, LARGER * HEIGHT), "white")
    pen = _Pen(ImageDraw.Draw(picture))
    pen.write(WIDTH / 2, 4, title, size=13, anchor="ma")
    places = [(left, top) for top in TOPS for left in LEFTS]
    told: set[tuple[str, ...]] = {()}
    for (label, curves), (left, top) in zip(panels.items(), places, strict=False):
        panel = _Panel(left, top, _limits(x), _limits(np.array(list(curves.values()))))
        _draw_axes(pen, panel, label, x_label, marks)
        _draw_curves(pen, panel, x, curves)
        if len(curves) > 1 and tuple(curves) not in told:
            _draw_legend(pen, panel, x, curves)
            told.add(tuple(curves))
    picture.reduce(LARGER).save(path, "PNG", compress_level=3)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``, :data:`TICKS` at most."""
    power = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = next(k * power for k in (1, 2, 2.5, 5, 10, 20) if (high - low) / (k * power) < TICKS)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _limits(values: NDArray) -> tuple[float, float]:
    """The range of the values that are finite, with a margin; 0 to 1 without any."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = MARGIN * (high - low) or MARGIN * (abs(low) or 1.0)
    return low - margin, high + margin


@dataclass(frozen=True)
class _Panel:
    """A frame on the picture, px, and what it shows: the ranges of x and y."""

    left: int
    top: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def at(self, x: NDArray | float, y: NDArray | float) -> tuple[NDArray, NDArray]:
        """The pixels of places on the axes."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        across = self.left + ACROSS * (np.asarray(x) - x0) / (x1 - x0)
        return across, self.top + DOWN * (y1 - np.asarray(y)) / (y1 - y0)


@dataclass(frozen=True)
class _Pen:
    """Draws on the larger picture; places and widths are px of the one that is written."""

    on: ImageDraw.ImageDraw

    def line(self, places: Sequence[tuple[float, float]], colour: str, width: float = 1.0) -> None:
        larger = [(LARGER * x, LARGER * y) for x, y in places]
        self.on.line(larger, fill=colour, width=round(LARGER * width), joint="curve")

    def write(self, x: float, y: float, words: str, *, size: int, anchor: str) -> None:
        """Words at a place, which ``anchor`` of Pillow's tells of them."""
        place = (LARGER * x, LARGER * y)
        self.on.text(place, words, fill=TEXT, font=_font(LARGER * size), anchor=anchor)


def _draw_axes(
    pen: _Pen, panel: _Panel, label: str, x_label: str, marks: Mapping[str, float]
) -> None:
    left, top, right, bottom = panel.left, panel.top, panel.left + ACROSS, panel.top + DOWN
    for tick in ticks(*panel.x_range):
        x = float(panel.at(tick, 0)[0])
        pen.line([(x, top), (x, bottom)], GRID)
        pen.write(x, bottom + 4, f"{tick:.6g}", size=9, anchor="ma")
    for tick in ticks(*panel.y_range):
        y = float(panel.at(0, tick)[1])
        pen.line([(left, y), (right, y)], GRID)
        pen.write(left - 5, y, f"{tick:.6g}", size=9, anchor="rm")
    for name, place in marks.items():
        x = float(panel.at(place, 0)[0])
        for dash in range(top, bottom, 4):
            pen.line([(x, dash), (x, dash + 1.5)], MARK)
        pen.write(x, top - 2, name, size=9, anchor="ls")
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    pen.line(corners, FRAME)
    pen.write((left + right) / 2, top - 14, label, size=11, anchor="ms")
    pen.write((left + right) / 2, bottom + 18, x_label, size=10, anchor="ma")


def _draw_curves(pen: _Pen, panel: _Panel, x: NDArray, curves: Curves) -> None:
    for colour, values in zip(CURVE_COLOURS, curves.values(), strict=False):
        known = np.flatnonzero(np.isfinite(values))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            places = np.stack(panel.at(x[run], values[run]), axis=1).tolist()
            pen.line([(across, down) for across, down in places], colour, 1.5)


def _draw_legend(pen: _Pen, panel: _Panel, x: NDArray, curves: Curves) -> None:
    """In the corner of the panel that holds the fewest places of the curves."""
    width = 34 + max(_font(LARGER * 8).getlength(name) for name in curves) / LARGER
    height = 6 + LEGEND_LINE * len(curves)
    across, down = panel.at(x, np.array(list(curves.values())))

    def covers(corner: tuple[float, float]) -> int:
        inside = (abs(across - corner[0] - width / 2) < width / 2) & (
            abs(down - corner[1] - height / 2) < height / 2
        )
        return int(inside.sum())

    lefts = (panel.left + ACROSS - width - 4, panel.left + 4)
    tops = (panel.top + DOWN - height - 4, panel.top + 4)
    left, top = min(((x, y) for y in tops for x in lefts), key=covers)
    for k, (name, colour) in enumerate(zip(curves, CURVE_COLOURS, strict=False)):
        y = top + 3 + LEGEND_LINE * (k + 0.5)
        pen.line([(left + 5, y), (left + 25, y)], colour, 1.5)
        pen.write(left + 30, y, name, size=8, anchor="lm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along; matplotlib itself is not imported."""
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
