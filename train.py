"""Train a model.

python train.py --config configs/4ch.py [--config.data=DIR] [--config.train.batch_size=64]
                [--config.method=unet] [--workdir runs/4ch]

Over several processes or hosts (docs/SCALE.md) the same command in each, with --distributed where a
scheduler starts them, else with --coordinator HOST:PORT --processes N --process I.
"""

import sys
import traceback
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from jssm import config as config_lib
from jssm import runtime
from jssm.training import hosts, loop

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.")
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where the run is written; by default runs/ and the config's name, with that of a baseline.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Train together with the other processes that Slurm, Open MPI or Kubernetes has started.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of the first process, which all others find there."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def main(_: list[str]) -> int:
    """Train, or say in one sentence why not."""
    runtime.prepare()
    # Orbax reports every file at INFO, and errors with their traces, which are raised here too.
    logging.set_verbosity(logging.FATAL)
    source = config_flags.get_config_filename(flags.FLAGS["config"])
    method = _CONFIG.value.method
    name = Path(source).stem + (f"_{method}" if method != config_lib.OURS else "")
    workdir = _WORKDIR.value or str(Path("runs") / name)
    try:
        hosts.join(
            _COORDINATOR.value,
            _PROCESSES.value,
            _PROCESS.value,
            scheduler=_DISTRIBUTED.value,
        )
        loop.train(_CONFIG.value, workdir)
    except hosts.Alone as alone:
        if not isinstance(alone.__cause__, (ValueError, OSError, RuntimeError)):
            traceback.print_exception(alone.__cause__)
        print(f"train.py: {alone}", file=sys.stderr)
        hosts.end_now(1)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except loop.Stopped as stopped:
        if hosts.is_first():
            print(f"train.py: {stopped}", file=sys.stderr)
        return 130
    if hosts.is_first():
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
