"""When the frames of a DICOM cine were taken, and how far from the scanner's trigger."""

import math
from collections.abc import Sequence

import numpy as np

from jssm.files.cine import believed_times
from jssm.files.dicom import Frame, Series

OF_A_BEAT = (0.6, 1.25)  # the share of a heart beat that the frames of a gated cine cover
# Fields that tell a frame's time after the R wave.
TRIGGERED = ("TriggerTime", "NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime")


def times_of(frames: Sequence[Frame]) -> tuple[np.ndarray, list[str]]:
    """Seconds after the first frame, and notes: by the frames' own times, else by the mean beat's
    share of a frame. Times that no heart has are not believed; a beat that does not fit is told."""
    facts, clock = frames[0].series, frames[0].clock
    beats, notes = _beats(facts), []
    if len(beats) == 2 and abs(beats["NominalInterval"] / beats["HeartRate"] - 1) > 0.2:
        notes.append(
            f"NominalInterval is {facts.interval_ms:g} ms, but HeartRate {facts.heart_rate:g}: "
            "the interval is believed"
        )
    times = np.array([frame.time_ms for frame in frames]) / 1e3
    if len(set(times.tolist())) == len(frames) and np.isfinite(times).all():
        time_s, wrong = believed_times(times - times[0], clock)
        if not wrong and beats and clock in TRIGGERED:
            notes += _beat_notes(time_s, clock, *next(iter(beats.items())))
        return time_s, [*notes, *wrong]
    step = facts.interval_ms / 1e3 / facts.phases if facts.phases > 0 else math.nan
    source = "NominalInterval over CardiacNumberOfImages"
    time_s, wrong = believed_times(np.arange(len(frames)) * step, source)
    if np.isfinite(time_s).all() and facts.phases != len(frames) > 1:
        notes.append(
            f"CardiacNumberOfImages is {facts.phases:g}, but there are {len(frames)} frames; the "
            "time from frame to frame is the mean beat over the former"
        )
    return time_s, [*notes, *wrong]


def _beats(facts: Series) -> dict[str, float]:
    """How long a heart beat lasts, s, by each field that tells it; the first is believed."""
    rate = facts.heart_rate if facts.heart_rate > 0 else math.nan
    beats = {"NominalInterval": facts.interval_ms / 1e3, "HeartRate": 60 / rate}
    return {name: beat for name, beat in beats.items() if beat > 0}


def from_trigger(frames: Sequence[Frame], time_s: np.ndarray) -> np.ndarray:
    """How far each frame (F,) is from the scanner's nearest trigger, s: from that which its time
    counts from, or from the next, where a heart beat is known that the frames fit. NaN where
    ``time_s`` are not times after a trigger."""
    first = frames[0]
    after = np.array([frame.time_ms for frame in frames]) / 1e3
    if first.clock not in TRIGGERED or not np.allclose(after - after[0], time_s):
        return np.full(len(frames), math.nan)
    beat = next(iter(_beats(first.series).items()), None)
    if beat is None or _beat_notes(time_s, first.clock, *beat):
        return np.abs(after)
    return np.minimum(np.abs(after), np.abs(after - beat[1]))


def _beat_notes(time_s: np.ndarray, clock: str, name: str, beat_s: float) -> list[str]:
    """What to tell where the times of a gated cine do not fit one heart beat."""
    if len(time_s) < 2:
        return []
    covered = float(time_s[-1] + np.median(np.diff(time_s)))
    if OF_A_BEAT[0] <= covered / beat_s <= OF_A_BEAT[1]:
        return []
    return [
        f"the frames cover {covered:.2f} s by {clock}, which is believed, but a heart beat lasts "
        f"{beat_s:.2f} s by {name}"
    ]
