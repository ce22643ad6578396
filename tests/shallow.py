"""What most tests make smaller, so that it is sooner traced and compiled; as a program, scripts of
the checkout run with it as a user does.

These share one interpreter, since to start one takes longer than much of what they do.
"""

import contextlib
import io
import json
import runpy
import sys

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


def run(words):
    """Run a script, its name followed by its arguments: exit status, output and errors."""
    from absl import app, flags

    app.define_help_flags()  # they stay, beside others of absl's own
    known, out, err = set(flags.FLAGS), io.StringIO(), io.StringIO()
    sys.argv = words
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(words[0], run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = ended.code
    for name in set(flags.FLAGS) - known:  # its own, which the next one may define too
        delattr(flags.FLAGS, name)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    install()
    print(json.dumps([run(words) for words in json.load(sys.stdin)]))
