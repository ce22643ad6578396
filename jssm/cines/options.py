"""What ``jssm predict`` is asked to do, and what comes of it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jssm.cines.result import NAMES

VIEWS = ("2ch", "3ch", "4ch", "sax", "other")
# Cines of a scanner have 20, 25 or 30 frames as a rule, so these batches are full.
BATCH_SIZE = 5
HARMONICS = 4  # more follow jitter, fewer shrink peaks (docs/MOTION.md)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``jssm predict`` is asked to do; docs/PREDICT.md says what each option does.

    inputs: files and folders. source, step: the model, as ``jssm.load`` takes it; without a source
    the package's model for what made the images, where their file tells. out: the folder
    of the results. views: segment these alone; () for all but short-axis cines and other planes.
    harmonics: of the heart cycle in the one fit of a cine's frames, 0 to take each frame alone.
    whole_cycle: a cine's last frame is followed by its first. mirrored: what to suppose of the
    display where a file does not tell. least_confidence: frames below it are refused; None for what
    the model has learned. outputs: what to write of each cine. jobs: processes that write; 0 for
    this one.
    patient_regex: its first group, in a cine's name, is the patient; "" for what the file
    tells. salt, keep_names: see ``jssm.files.open_cines``. dask: the address of a scheduler, whose
    workers do it; "" without.

    Raises:
      ValueError: naming the option, for a value that cannot be.
    """

    inputs: Sequence[Path]
    source: str | Path | None = None
    out: Path
    step: str = "best"
    views: Sequence[str] = ()
    harmonics: int = HARMONICS
    whole_cycle: bool = True
    mirrored: bool = False
    least_confidence: float | None = None
    batch_size: int = BATCH_SIZE
    outputs: Sequence[str] = NAMES
    jobs: int = 0
    patient_regex: str = ""
    salt: str = ""
    keep_names: bool = False
    dask: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size {self.batch_size}: a positive number was expected")
        if self.least_confidence is not None and not 0 <= self.least_confidence <= 1:
            least = f"--least-confidence {self.least_confidence}"
            raise ValueError(f"{least}: a number from 0 to 1 was expected")
        if self.jobs < 0:
            raise ValueError(f"--jobs {self.jobs}: 0 or more was expected")
        unknown = [name for name in self.outputs if name not in NAMES]
        if unknown or not self.outputs:
            raise ValueError(f"--outputs {','.join(unknown)}: expected some of {','.join(NAMES)}")
        if self.harmonics < 0:
            raise ValueError(f"--smooth {self.harmonics}: 0 or more was expected")
        regex = f"--patient-regex {self.patient_regex}"
        try:
            if self.patient_regex and re.compile(self.patient_regex).groups < 1:
                raise ValueError(f"{regex}: a group (...) was expected")
        except re.error as error:
            raise ValueError(f"{regex}: {error}") from error


@dataclass
class Outcome:
    """What came of it: the table's rows, sentences for whatever gave nothing and about what is
    missing in the tables, and the times."""

    rows: list[dict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    biplane: list[dict] = field(default_factory=list)
    frames: int = 0
    start_s: float = 0.0
    work_s: float = 0.0
    read_s: float = 0.0
    segment_s: float = 0.0
    waited_s: float = 0.0
    written_s: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    workers: int = 0

    def speed(self) -> str:
        """The time per frame, and where it went."""
        shares = (
            ("reading", self.read_s),
            ("segmenting", self.segment_s),
            ("writing", self.written_s.total()),
        )
        parts = ", ".join(f"{1000 * s / self.frames:.0f} ms {name}" for name, s in shares)
        beside = f" (beside, by {self.jobs} processes)" if self.jobs else ""
        besides = "starting and compiling"
        if self.workers:
            beside, besides = f" (of one of {self.workers} workers)", "starting"
        return (
            f"{self.work_s / self.frames:.3f} s per frame in all, {self.frames} frames: {parts}"
            f"{beside}; besides, {self.start_s:.1f} s of {besides}"
        )
