"""What the tests have workers of their engine do."""

import os
import signal
from functools import partial
from pathlib import Path

from prep.phantom.patient import Options, attempt_patient

DEADLY = 3  # the patient


def install():
    """JAX is set up as the command does it, and made smaller as conftest does it in the tests' own
    process; and a run's programs are compiled once for all runs."""
    from jssm import runtime

    runtime.prepare()
    from jssm.cines import programs, segmenting
    from tests import shallow

    shallow.install()
    programs.COMPILER_OPTIONS = {}
    shared = programs.Programs()
    segmenting.Segmenter = partial(segmenting.Segmenter, programs=shared)


def attempt_with_a_death(options: Options, number: int, folder: Path):
    """``attempt_patient``, listed in ``calls``; the first at DEADLY ends its process with half of a
    file written."""
    with (folder.parent / "calls").open("a") as file:
        file.write(f"{number} ")
    found = attempt_patient(options, number, folder)
    marker = folder.parent / "died"
    if number == DEADLY and not marker.exists():
        marker.touch()
        image = folder / "images" / f"phantom{number:04d}.nii"
        os.truncate(image, image.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    return found
