"""One cine: read and segmented, here or on a worker of an engine."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jssm import weights
from jssm.cines import writing
from jssm.cines.measures import MOST_STRAIN_SD
from jssm.cines.options import VIEWS, Options
from jssm.cines.pairs import OneView, one_view
from jssm.cines.result import Result, is_read
from jssm.version import __version__

if TYPE_CHECKING:
    from jssm import files
    from jssm.cines import segmenting
    from jssm.cines.outputs import Written
    from jssm.methods.model import Model


class PassedOver(Exception):
    """The cine is sound, but no model is for it; the message says why."""


class Seen(NamedTuple):
    """What the tables need of a segmented cine, and the seconds that it took; waited_s: for
    programs, in which nothing else was done."""

    frames: int
    problems: tuple[str, ...]
    view: OneView | None
    read_s: float
    segment_s: float
    waited_s: float


class Models:
    """The models of a run, each loaded when it is first needed. One cine is segmented at a time."""

    def __init__(self, options: Options):
        self._options = options
        self._one_at_a_time = threading.Lock()
        self._loaded: dict[str | Path, tuple[segmenting.Segmenter, dict[str, Any]]] = {}

    def of(self, source: str | Path) -> "tuple[segmenting.Segmenter, dict[str, Any]]":
        """What segments with the model of this source, and what summaries say of it."""
        if source not in self._loaded:
            from jssm.cines import segmenting
            from jssm.methods import registry

            options = self._options
            model = registry.load(source, step=options.step)
            segment = segmenting.Segmenter(
                model,
                options.batch_size,
                harmonics=options.harmonics,
                whole_cycle=options.whole_cycle,
                least_confidence=options.least_confidence,
            )
            about = {**_about(model, source, options), "least_confidence": segment.least}
            self._loaded[source] = segment, about
        return self._loaded[source]

    def see(self, item: "files.Found") -> tuple[Result, dict[str, Any], Seen]:
        """Read and segment one cine; what to write, what is to be said of the run, and the rest.

        Raises:
          PassedOver: when no model is for it. BadInput: when it is damaged.
        """
        source = self._options.source or weights.for_modality(item.modality)
        if source is None:
            made_by = f"the modality {item.modality}" if item.modality else "no modality"
            raise PassedOver(
                f"{item.source}: its file tells {made_by}, so --model or --ckpt has to be given"
            )
        with self._one_at_a_time:
            segment, about = self.of(source)
        times = [time.perf_counter()]
        cine = replace(item.load(), name=item.name)
        times.append(time.perf_counter())
        with self._one_at_a_time:
            waited_s = segment.programs.waited_s
            times.append(time.perf_counter())
            segmented = segment(cine)
            times.append(time.perf_counter())
            waited_s = segment.programs.waited_s - waited_s
        mirrored = self._options.mirrored
        result = with_warnings(
            Result(replace(item, load=is_read), cine, segmented, supposed_mirrored=mirrored)
        )
        seen = Seen(
            len(cine.frames), cine.problems, one_view(result, about), times[1] - times[0],
            times[3] - times[2] - waited_s, waited_s,
        )  # fmt: skip
        return result, about, seen


MOST_RUNS = 4  # whose models a worker holds, those that it worked for last
_held: dict[str, Models] = {}
_holding = threading.Lock()


def predict_there(run: str, options: Options, item: "files.Found") -> "tuple[Seen, Written]":
    """On a worker: read, segment and write one cine. run: tells one run from any other, whose
    models may be others of the same names.

    Raises:
      PassedOver, BadInput: as :meth:`Models.see`. OSError: when it cannot be written.
    """
    with _holding:
        is_first = run not in _held
        models = Models(options) if is_first else _held.pop(run)
        _held[run] = models  # at the end
        if len(_held) > MOST_RUNS:
            del _held[next(iter(_held))]
    result, about, seen = models.see(item)
    if is_first:  # now, as it keeps what is there from being searched for garbage
        writing.get_ready()
    return seen, writing.write_cine(
        options.out / item.name, result,
        about=about, keep_names=options.keep_names, outputs=options.outputs,
    )  # fmt: skip


def _about(model: "Model", source: str | Path, options: Options) -> dict[str, Any]:
    """What every summary says of the model and the run."""
    from jssm.methods.model import digest

    return {
        "jssm_version": __version__,
        "model_run": Path(source).resolve().name,
        "model_step": options.step,
        "model_weights_sha256": digest(model)[:16],
        "smoothing_harmonics": options.harmonics,
        "whole_cycle": options.whole_cycle,
    }


def with_warnings(result: Result) -> Result:
    """The same with what a reader of the numbers should know."""
    item, cine, segmented = result.found, result.cine, result.segmented
    warnings = list(dict.fromkeys([*item.notes, *cine.notes]))
    refused = np.flatnonzero(~segmented.used).tolist()
    if refused and segmented.motion is None:
        warnings.append("the picture is refused: the outline is not to be trusted")
    elif refused:
        warnings.append(
            f"{len(refused)} of {len(segmented.used)} frames are refused, as their outlines are "
            f"not to be trusted: {refused}; they take part in no number"
        )
        if not segmented.is_measurable:
            warnings.append("too few frames are left: nothing is measured")
    if cine.problems:
        warnings.append(f"{len(cine.problems)} damaged frames were left out")
    bad = np.flatnonzero(~segmented.integrity.ok).tolist()
    if bad:
        warnings.append(f"the wall crosses or folds over itself in the frames {bad}")
    height, width = cine.frames.shape[1:]
    beyond = (segmented.points < -0.5) | (segmented.points > [width - 0.5, height - 0.5])
    if beyond.any():
        frames = np.flatnonzero(beyond.any(axis=(1, 2))).tolist()
        warnings.append(f"the wall reaches out of the image in the frames {frames}")
    if not np.isfinite(sum(cine.spacing_mm)):
        warnings.append("the spacing is unknown: nothing is known in mm or ml")
    steps = np.diff(cine.time_s)
    if len(steps) and steps.max() > 1.5 * np.median(steps):
        warnings.append("there are gaps between the times of the frames: some may be missing")
    doubtful = segmented.doubtful_segments
    if doubtful is not None and doubtful.any():
        names = ", ".join(result.segments[k] for k in np.flatnonzero(doubtful))
        warnings.append(f"the strain may be off by more than {MOST_STRAIN_SD:g} points: {names}")
    if segmented.motion is not None and not np.isfinite(cine.time_s).all():
        warnings.append("the times of the frames are unknown")
    if segmented.poses.closed:
        warnings.append("the names of a ring's segments suppose the usual display")
    elif segmented.motion is not None and item.view not in VIEWS[:3]:
        warnings.append("the view is unknown, so the segments have no names")
    elif segmented.motion is not None and cine.to_patient_mm is None:
        warnings.append("the names of the segments rest on --mirrored, as no place is known")
    return replace(result, warnings=tuple(warnings))
