"""How well strain, thickness and volumes come out of predicted points: against true phantoms.

    python -m benchmarks motion --ckpt runs/demo --seed 11

makes phantom patients that the run has not seen (another seed than its data), measures their motion
from the true points, from the predicted ones, from those smoothed over time and from one fit for
the whole cycle, and prints a table of errors against the truth.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks import report
from jssm.cines import motion
from jssm.cines.cycle import predict_cine
from jssm.methods import model, registry
from prep.dataset import images
from prep.phantom.anatomy import VIEWS
from prep.phantom.patient import Options, Patient, make_patient

COLUMNS = {
    "gls_endo_pp": "GLS endo (pp)",
    "gls_mid_pp": "GLS mid (pp)",
    "gls_epi_pp": "GLS epi (pp)",
    "thickness_mm": "Mean thickness (mm)",
    "radial_pp": "Radial peak (pp)",
    "ef_pp": "EF (pp)",
    "peak_s": "Time to peak (s)",
}
UNSIGNED = {
    "curve_pp": "Mid-wall curve (pp)",
    "local_mm": "Local thickness (mm)",
    "jitter_px": "Jitter (px)",
    "excess_px": "Jitter of the error (px)",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``motion``."""
    parser = commands.add_parser("motion", help="errors of strain, thickness and volumes")
    add = parser.add_argument
    add("--ckpt", required=True, help="a run directory")
    add("--view", default="4ch", choices=VIEWS, help="the run's view (default 4ch)")
    add("--patients", type=int, default=24, help="how many phantoms (default 24)")
    add("--frames", type=int, default=30, help="frames of a cycle (default 30)")
    add("--seed", type=int, default=11, help="not that of the run's own data (default 11)")
    add("--harmonics", type=int, nargs="*", default=[3, 5, 8], help="of the smoothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, and print the table."""
    try:
        trained = registry.load(args.ckpt)
    except (FileNotFoundError, ValueError) as error:
        print(f"motion: {error}", file=sys.stderr)
        return 2
    options = Options(args.view, args.patients, args.seed, args.frames, trained.size)
    records: dict[str, list[dict[str, float]]] = {}
    for patient, cine in cohort(options, "motion"):
        found = model.predict(trained, cine)
        clouds = {"true points": patient.points, "predicted": found.points}
        for harmonics in args.harmonics:
            clouds[f"smoothed, {harmonics} harmonics"] = motion.smooth_points(
                trained.shape, found.theta, found.beta, harmonics=harmonics
            )
        clouds["one fit for the cycle"] = predict_cine(trained, cine).points
        for name, points in clouds.items():
            records.setdefault(name, []).append(errors(np.asarray(points), patient.truth))
    print(f"{args.patients} {args.view} phantoms of {args.frames} frames, seed {args.seed}; mean")
    print("absolute error (bias) against the truth; pp: percentage points\n")
    print(table({name: pd.DataFrame(rows) for name, rows in records.items()}))
    return 0


def cohort(options: Options, label: str) -> Iterator[tuple[Patient, NDArray[np.uint8]]]:
    """The patients of a phantom cohort with their cines (F, S, S), one at a time; with a progress
    bar of this label."""
    for number in tqdm(range(1, options.patients + 1), label, unit="patient", disable=None):
        patient = make_patient(options, number)
        yield patient, images.to_uint8(patient.images)


def errors(points: NDArray, truth: dict[str, Any]) -> dict[str, float]:
    """The errors of one patient's measures from ``points`` (F, T, 2), and their jitter.

    Measured minus true. curve_pp: the mean absolute error of the mid-wall curve; local_mm: of the
    thickness at all points and frames. jitter_px: the RMS second difference of the points over the
    cycle; excess_px: that of their error.
    """
    time_s = truth["time_s"]
    measured = jax.tree.map(
        np.asarray,
        motion.measure_motion(points, spacing_mm=truth["spacing_mm"], frame_time_s=time_s[1]),
    )
    lines = {name: getattr(measured, name).gls_percent for name in ("endo", "mid", "epi")}
    volume = truth["volume_ml"]
    thickness = measured.wall_thickness_mm - truth["wall_thickness_mm"]
    return {
        **{f"gls_{k}_pp": float(v - truth[f"gls_{k}"].min()) for k, v in lines.items()},
        "thickness_mm": float(thickness.mean()),
        "curve_pp": float(np.abs(measured.mid.strain_percent - truth["gls_mid"]).mean()),
        "local_mm": float(np.abs(thickness).mean()),
        "radial_pp": float(measured.radial_peak_percent - truth["radial_strain"].max()),
        "ef_pp": float(measured.ejection_fraction_percent - 100 * (1 - volume.min() / volume[0])),
        "peak_s": float(measured.mid.time_to_peak_s - time_s[np.argmin(truth["gls_mid"])]),
        "jitter_px": jitter_px(points),
        "excess_px": jitter_px(points - truth["points"]),
    }


def jitter_px(points: NDArray) -> float:
    """The RMS length of the second difference over time of points (F, T, 2), round the cycle."""
    second = np.roll(points, -1, axis=0) - 2 * points + np.roll(points, 1, axis=0)
    return float(np.sqrt(np.mean(np.sum(second**2, axis=-1))))


def table(found: dict[str, pd.DataFrame]) -> str:
    """A Markdown table: per kind of points the mean absolute errors, with their bias."""
    return report.table(
        [
            {"Points": name}
            | {title: f"{each[c].abs().mean():.2f} ({each[c].mean():+.2f})"
               for c, title in COLUMNS.items()}
            | {title: f"{each[c].mean():.2f}" for c, title in UNSIGNED.items()}
            for name, each in found.items()
        ]
    )  # fmt: skip
