"""Train a model.

python train.py --config configs/4ch.py [--config.data=DIR] [--config.train.batch_size=64]
                [--config.method=unet] [--workdir runs/4ch]
"""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from jssm import config as config_lib
from jssm import runtime
from jssm.training import loop

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.")
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where the run is written; by default runs/ and the config's name, with that of a baseline.",
)


def main(_: list[str]) -> int:
    """Train, or say in one sentence why not."""
    runtime.prepare()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at INFO
    source = config_flags.get_config_filename(flags.FLAGS["config"])
    method = _CONFIG.value.method
    name = Path(source).stem + (f"_{method}" if method != config_lib.OURS else "")
    workdir = _WORKDIR.value or str(Path("runs") / name)
    try:
        loop.train(_CONFIG.value, workdir)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except loop.Stopped as stopped:
        print(f"train.py: {stopped}", file=sys.stderr)
        return 130
    print(f"trained: {workdir}\nevaluate it with: python eval.py --ckpt {workdir}")
    return 0


def wrong_flags(arguments: list[str]) -> list[str]:
    """All that is wrong with the flags of the configuration, before any of them is parsed."""
    names = [
        argument.partition("=")[2] or following
        for argument, following in zip(arguments, [*arguments, ""][1:], strict=True)
        if argument.lstrip("-").partition("=")[0] == "config"
    ]
    if not names and not {"--help", "-help", "--helpfull"} & set(arguments):
        return ["--config is missing, expected a file of configs/"]
    missing = [f"{name}: no such file" for name in names if not Path(name).is_file()]
    return missing + config_lib.override_errors(arguments)


if __name__ == "__main__":
    if wrong := wrong_flags(sys.argv[1:]):
        sys.exit("train.py: " + "\n          ".join(wrong))
    app.run(main)
