"""The contact sheet: a few patients of a cohort at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_CELL_INCHES = 2.1
EF = "ejection_fraction_percent"


def contact_sheet(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Draw contact_sheet.png of a cohort folder: a line per patient, from its files.

    Columns: end diastole, the same with points and outline, mid systole, end systole, the same with
    points, mid diastole, and the strain curves.  rows: lines of cohort.csv.
    """
    columns = 7
    figure = Figure(figsize=(columns * _CELL_INCHES, len(rows) * (_CELL_INCHES + 0.22)))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        name = row["file"]
        images = np.asarray(
            nibabel.Nifti1Image.from_filename(folder / "images" / f"{name}.nii").dataobj
        )
        masks = np.asarray(
            nibabel.Nifti1Image.from_filename(folder / "masks" / f"{name}.nii").dataobj
        )
        truth = np.load(folder / "truth" / f"{name}.npz")
        systole, frames = int(truth["end_systole"]), images.shape[-1]
        bright = np.percentile(images, 99.7)
        shown = [(0, False), (0, True), (systole // 2, False), (systole, False), (systole, True)]
        shown.append(((systole + frames) // 2, False))
        for axis, (frame, marked) in zip(line[:-1], shown, strict=True):
            axis.imshow(images[:, :, 0, frame].T, cmap="gray", vmin=0, vmax=bright)
            axis.set_axis_off()
            if axis is not line[0]:
                axis.set_title(f"frame {frame}", fontsize=6, pad=2)
            if marked:
                axis.contour(masks[:, :, 0, frame].T, [0.5], colors="yellow", linewidths=0.4)
                points, half = truth["points"][frame], truth["points"].shape[1] // 2
                for part, colour in ((points[:half], "red"), (points[half:], "cyan")):
                    axis.plot(*part.T, ".", color=colour, markersize=1.2)
                axis.plot(*points[0], "o", color="lime", markersize=2.5)
        line[0].set_title(
            f"{name}  {row['kind']}" + (f"  EF {row[EF]:.0f} %" if EF in row else ""),
            fontsize=6,
            pad=2,
        )
        _curves(line[-1], truth)
    figure.subplots_adjust(0.005, 0.02, 0.985, 0.985, wspace=0.04, hspace=0.1)
    figure.savefig(folder / "contact_sheet.png", dpi=110)


def _curves(axis: Any, truth: Any) -> None:
    kind, name = ("gls", "longitudinal") if "gls_mid" in truth else ("gcs", "circumferential")
    for layer, colour in (("endo", "red"), ("mid", "orange"), ("epi", "teal")):
        axis.plot(truth["time_s"], truth[f"{kind}_{layer}"], color=colour, lw=0.8, label=layer)
    axis.set_ylim(-26 if kind == "gls" else -45, 3)
    axis.tick_params(labelsize=5, length=1, pad=1)
    axis.legend(fontsize=5, frameon=False, loc="upper center", ncols=3)
    axis.set_title(f"{name} strain, % (time in s)", fontsize=6, pad=2)
