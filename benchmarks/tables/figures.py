"""The pictures beside Table 1: cases, cycles and movies like the paper's Fig. 4, 5, 7 and 8."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import motion
from benchmarks.tables import pictures, trained
from benchmarks.tables.pictures import Case, Choice
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
    worst: list[Case] = []
    cines: dict[str, tuple[NDArray, NDArray]] = {}
    for source in sources:
        methods = {row.label: row for row in rows if row.data == source.path.name}
        if OURS not in methods:
            continue
        cases += chosen(methods, source, pictures.choose)
        worst += chosen(methods, source, pictures.worst)
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
    for name, chosen_ones in (("worst.png", worst), ("cases.png", cases)):
        if chosen_ones:
            paths.append(out / name)
            pictures.qualitative(paths[-1], chosen_ones)
    if cines:
        paths.append(out / "cycles.png")
        pictures.cycle_sheet(paths[-1], cines)
    return paths


def chosen(methods: dict[str, Row], source: Source, choice: Choice) -> list[Case]:
    """Cases of one data set, by a choice from our Dice, as every method sees them."""
    data = dataset.load(source.path)
    table = methods[OURS].cases
    names = [table["case"].iloc[k] for k in choice(table["dice"].to_numpy()).values()]
    rows = np.flatnonzero(data.cases["case"].isin(names))
    found = {
        label: evaluate(trained.predictor(row.run), data, rows, progress=False)
        for label, row in methods.items()
    }
    return pictures.chosen_cases(data, found, choice=choice, view=source.path.name)
