"""Evaluate a trained model.

python eval.py --ckpt runs/4ch [--data DIR] [--split val] [--out DIR] [--step best]
"""

import sys

from absl import app, flags, logging

from jssm import runtime
from jssm.evaluation.report import evaluate_run

_CKPT = flags.DEFINE_string(
    "ckpt",
    "",
    "The run directory that train.py wrote; or a model of the package, or a file of jssm pack.",
)
_DATA = flags.DEFINE_string("data", "", "The data set directory; that of the training by default.")
_SPLIT = flags.DEFINE_string("split", "val", "Which cases: train or val.")
_OUT = flags.DEFINE_string("out", "", "Where the results are written; CKPT/eval by default.")
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best or latest.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images at a time.", lower_bound=1)


def main(_: list[str]) -> int:
    """Evaluate, print the table and where the files are, or say in one sentence why not."""
    runtime.prepare()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at INFO
    if not _CKPT.value:
        print("eval.py: --ckpt is missing, expected the run directory", file=sys.stderr)
        return 1
    try:
        report = evaluate_run(
            _CKPT.value,
            _OUT.value,
            data_dir=_DATA.value,
            split=_SPLIT.value,
            step=_STEP.value,
            batch_size=_BATCH.value,
        )
    except (ValueError, OSError) as error:
        print(f"eval.py: {error}", file=sys.stderr)
        return 1
    print(report, end="")
    return 0


if __name__ == "__main__":
    app.run(main)
