"""What a training run writes for people: JSON lines, TensorBoard curves, overlay pictures."""

import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from tensorboardX import SummaryWriter

from jssm.files.whole import write_whole
from jssm.pictures import plots


class RunLog:
    """The log of one run directory. Records of steps after ``step`` are dropped at the start, so
    that a run that goes on from a checkpoint has each record once."""

    def __init__(self, run: Path, *, step: int):
        self._run = run
        self._path = run / "metrics.jsonl"
        self.history = [r for r in _read(self._path) if r["step"] <= step]
        write_whole(self._path, "".join(json.dumps(r) + "\n" for r in self.history))
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def record(self, values: dict[str, float]) -> None:
        """Append one record, which has the key ``step``."""
        self.history.append(values)
        with self._path.open("a") as file:
            file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, values["step"])
        self._writer.flush()

    def overlays(
        self, step: int, epoch: int, images: np.ndarray, masks: np.ndarray, prediction, titles,
        *, closed: bool = False,
    ) -> None:  # fmt: skip
        """Draw predictions over fixed cases (n, S, S), of rings if ``closed``, into
        overlays/epoch_NNNN.png."""
        directory = self._run / "overlays"
        directory.mkdir(exist_ok=True)
        sheet = plots.overlay_image(
            images, masks, prediction.mask, prediction.points, titles, closed=closed
        )
        imageio.imwrite(directory / f"epoch_{epoch:04d}.png", sheet)
        self._writer.add_image("overlays", sheet, step, dataformats="HWC")

    def curves(self) -> None:
        """Draw the history into curves.png."""
        if self.history:
            plots.curves(self._run / "curves.png", self.history)


def _read(path: Path) -> list[dict]:
    """The records of a JSON-lines file; a last line that was cut short is left out."""
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
