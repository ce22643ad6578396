"""The pictures beside Table 1: cases, cycles and movies like the paper's Fig. 4, 5, 7 and 8."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import motion
from benchmarks.tables import pictures, trained
from benchmarks.tables.pictures import Case
from benchmarks.tables.plan import OURS
from benchmarks.tables.runs import Source
from benchmarks.tables.writing import Row
from jssm import dataset
from jssm.evaluation.scores import evaluate
from jssm.image_path import from_uint8

CINES = 2  # phantom patients of each view whose cycle is drawn


def write(rows: list[Row], sources: list[Source], out: Path) -> list[Path]:
    """Draw what the finished ``rows`` allow; the paths. Without ours there is nothing to draw.

    Cycles and movies need whole cines, so they are of phantoms, whom no run has seen.
    """
    paths: list[Path] = []
    cases: list[Case] = []
    cines: dict[str, tuple[NDArray, NDArray]] = {}
    for source in sources:
        methods = {row.label: row for row in rows if row.data == source.path.name}
        if OURS not in methods:
            continue
        cases += chosen(methods, source)
        if dataset.load(source.path).truth_points is None:
            continue
        follow = trained.follower(methods[OURS].run)
        others = {k: trained.predictor(v.run) for k, v in methods.items() if k != OURS}
        options = trained.unseen(source, patients=CINES)
        for patient, cine in motion.cohort(options, f"{source.view} movies"):
            points = follow(cine)
            title = f"{source.path.name} {len(cines) % CINES + 1}"
            cines[title] = cine, points
            tracks = {"true": patient.points, OURS: points}
            images = from_uint8(cine)
            tracks |= {name: np.asarray(predict(images).mask) for name, predict in others.items()}
            path = out / f"cycle_{title.replace(' ', '_')}.gif"
            pictures.movie(path, cine, tracks, frame_time_s=float(patient.truth["time_s"][1]))
            paths.append(path)
    if cases:
        paths.append(out / "cases.png")
        pictures.qualitative(paths[-1], cases)
    if cines:
        paths.append(out / "cycles.png")
        pictures.cycle_sheet(paths[-1], cines)
    return paths


def chosen(methods: dict[str, Row], source: Source) -> list[Case]:
    """The best, median and worst case of one data set by our Dice, as every method sees them."""
    data = dataset.load(source.path)
    table = methods[OURS].cases
    names = [table["case"].iloc[k] for k in pictures.choose(table["dice"].to_numpy()).values()]
    rows = np.flatnonzero(data.cases["case"].isin(names))
    found = {
        label: evaluate(trained.predictor(row.run), data, rows, progress=False)
        for label, row in methods.items()
    }
    return pictures.chosen_cases(data, found, view=source.path.name)
