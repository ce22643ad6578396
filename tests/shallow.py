"""What most tests make smaller, so that it is sooner traced and compiled."""

import contextlib

from matplotlib.figure import Figure

from jssm.networks import resnet
from jssm.rasterizer import draw, loops
from tests import dense

SHORT_18 = (1, 1)  # two of eight blocks: traced and compiled in a quarter of the time
DRAW = Figure.draw


def install():
    """A ResNet18 of two blocks, and a plain rasterizer; where it is the real one, its loops visit
    one side of the strip in a turn, not three, for two thirds of the time. Figures are made and
    written, but stay blank: to draw its curves takes as long as to train the toy."""
    resnet.STAGES[18] = SHORT_18
    draw._image = dense.image
    loops.TURNS = 1
    Figure.draw = lambda figure, renderer: None


@contextlib.contextmanager
def drawn():
    """Figures are drawn meanwhile."""
    blank, Figure.draw = Figure.draw, DRAW
    try:
        yield
    finally:
        Figure.draw = blank
