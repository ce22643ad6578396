"""``jssm measure``: all outputs of a cine anew, from points that a reader corrected in its report.

What a report saves has the poses, the frames and what DICOM objects refer to, so neither the images
nor the model are needed.
"""

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax.numpy as jnp
import numpy as np

from jssm import files
from jssm.cines import one_cine, outputs, segmenting, sending, tables
from jssm.cines.measures import Poses, Segmented
from jssm.cines.options import BATCH_SIZE
from jssm.cines.pairs import OneView, biplane_row, one_view, pairs_of, report_name
from jssm.cines.result import Result, is_read
from jssm.cines.summary import still_doubtful
from jssm.methods.model import Model
from jssm.report import record
from jssm.report.pages import write_pages
from jssm.shape.shape_model import ShapeModel
from jssm.version import __version__


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand ``measure``."""
    parser = commands.add_parser(
        "measure",
        description="Write all outputs of cines anew, from the points that a reader corrected in a "
        "report and saved.",
    )
    add = parser.add_argument
    add("points", type=Path, nargs="+", metavar="POINTS.json", help="what a report saved")
    add("--out", type=Path, required=True, help="gets a folder for each cine, and the reports")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure; gives 0, 1 when some file was bad, or 2 when nothing was done."""
    patients, bad = set(), []
    with TemporaryDirectory() as headers:
        for path in args.points:
            try:
                summary = measure(record.read(path), args.out, Path(headers))
            except (ValueError, OSError) as error:
                bad.append(str(error))
                continue
            patients.add(summary["patient"])
            print(f"{args.out / summary['id']}: EF {summary.get('ef_percent')} %, "
                  f"GLS {summary.get('gls_mid_percent')} %")  # fmt: skip
        if patients:
            renew_tables(args.out, patients, Path(headers))
    for page in write_pages(args.out, patients):
        print(page)
    for sentence in bad:
        print(f"jssm measure: {sentence}", file=sys.stderr)
    return 0 if not bad else 1 if patients else 2


def measure(content: Mapping[str, Any], out: Path, headers: Path) -> dict[str, Any]:
    """Write the outputs of one cine, of a record as a page saves it, into ``out / its id``.

    headers: a folder for what DICOM objects refer to. Gives what summary.json says.

    Raises:
      ValueError: when the record does not hold together.
      OSError: when nothing can be written.
    """
    folder = out / content["id"]
    result = result_of(content, headers)
    written = outputs.write(folder, result, about=about(content), keep_names=content["keep_names"])
    fresh = record.read(folder / record.NAME)
    same = {name: content[name] for name in ("frames", "corrections")}  # no JPEGs of JPEGs
    record.write(folder / record.NAME, {**fresh, **same})
    return written.summary


def renew_tables(out: Path, patients: Collection[str], headers: Path) -> None:
    """Write cines.csv of all summaries anew, and biplane.csv with its reports for these patients.

    headers: as for :func:`measure`.
    """
    summaries = [json.loads(p.read_text("utf-8")) for p in sorted(out.glob("*/summary.json"))]
    tables.write(out / "cines.csv", [tables.row_of(summary) for summary in summaries])
    views: dict[tuple[str, str, str], list[OneView]] = {}
    keep_names = False
    for summary in summaries:
        path = out / summary["id"] / record.NAME
        if summary["patient"] in patients and summary["view"] in ("2ch", "4ch") and path.exists():
            content = record.read(path)
            keep_names |= content["keep_names"]
            if seen := one_view(result_of(content, headers), about(content)):
                key = (content["patient"], content["study"], content["view"])
                views.setdefault(key, []).append(seen)
    path = out / "biplane.csv"
    rows = [row for row in tables.read(path) if row["patient"] not in patients]
    for patient, *pair in pairs_of(views):
        row = biplane_row(patient, *pair)
        rows.append(row)
        sending.write_biplane(
            out / report_name(row), row,
            [(seen.motion, seen.sources) for seen in pair],
            about=pair[0].about, patient=patient, keep_names=keep_names,
        )  # fmt: skip
    tables.write(path, rows)


def about(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the summary says of the run and of who drew."""
    return {
        **content["about"],
        "jssm_version": __version__,
        "corrected": bool(content["corrections"]),
    }


def result_of(content: Mapping[str, Any], headers: Path) -> Result:
    """A record as what ``jssm predict`` writes of; its headers as files in a folder."""
    found, cine = _found(content), _cine(content, headers / content["id"])
    segmented, mirrored = segmented_of(content, cine), content["supposed_mirrored"]
    return one_cine.with_warnings(Result(found, cine, segmented, supposed_mirrored=mirrored))


def segmented_of(content: Mapping[str, Any], cine: files.Cine) -> Segmented:
    """All that follows from the poses of a record."""
    shape = {name: np.array(value, np.float32) for name, value in content["shape"].items()}
    theta, beta = (np.array(content[name], np.float32) for name in ("theta", "beta"))
    frames, count = len(cine.frames), len(shape["mean"])
    if theta.shape != (frames, 2, 3) or beta.shape != (frames, len(shape["modes"])):
        raise ValueError(f"{cine.name}: its poses do not belong to its frames and shape model")
    deviation = content["deviation_px"]
    deviation_px = np.full((frames, count), np.nan) if deviation is None else _array(deviation)
    deviation_px = deviation_px.astype(np.float32)
    poses = Poses(
        theta, beta, deviation_px, shape["mean"], shape["modes"], shape["variances"], content["tau"]
    )
    segmenter = segmenting.Segmenter(
        _without_network(poses), BATCH_SIZE, whole_cycle=content["about"]["whole_cycle"]
    )
    found = segmenter.finish(cine, poses, *_trust(content))
    doubtful = content.get("doubtful")  # older records have none
    if doubtful is None:
        return found
    still = still_doubtful(np.array(doubtful, bool), found.motion, _corrected(content))
    return replace(found, doubted=still)


def _corrected(content: Mapping[str, Any]) -> set[int]:
    """The frames in which a reader moved a point."""
    return {correction["frame"] for correction in content["corrections"]}


def _trust(content: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The confidence of each frame, and which are used: those that a reader corrected are."""
    used = np.array(content["used"], bool)
    used[list(_corrected(content))] = True
    return _array(content["confidence"]).astype(np.float32), used


def _without_network(poses: Poses) -> Model:
    """A model that places and draws shapes, and sees nothing."""
    mean, modes, variances = map(jnp.asarray, (poses.mean, poses.modes, poses.variances))
    shape = ShapeModel(mean, modes, variances, poses.closed)
    network: Any = None
    return Model({}, shape, jnp.eye(2, 3), network, size=0, tau=poses.tau)


def _found(content: Mapping[str, Any]) -> files.Found:
    return files.Found(
        name=content["id"],
        patient=content["patient"],
        paths=(),
        source=content["id"],
        load=is_read,
        view=content["view"],
        described=content["view_by_description"],
        seen=content["view_by_geometry"],
        notes=tuple(content["notes"]),
        study=content["study"],
        modality=content["modality"],
    )


def _cine(content: Mapping[str, Any], folder: Path) -> files.Cine:
    """The cine, with its headers as files in a folder."""
    place, across = (content[key] for key in ("to_patient_mm", "slice_direction_mm"))
    row, column = _array(content["spacing_mm"]).tolist()
    paths = _write_headers(content["headers"], folder)
    return files.Cine(
        name=content["id"],
        frames=record.from_jpegs(content["frames"]),
        spacing_mm=(row, column),
        time_s=_array(content["time_s"]),
        to_patient_mm=None if place is None else np.array(place),
        nifti_shape=tuple(content["nifti_shape"]),
        slice_direction_mm=None if across is None else np.array(across),
        sources=tuple((paths[header], number) for header, number in content["sources"]),
        stated_aspect=content["stated_aspect"],
        from_trigger_s=_array(content.get("from_trigger_s", ())),  # older records have none
    )


def _write_headers(headers: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """DICOM files without pixels, which the writers of DICOM objects refer to."""
    if not headers:
        return []
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, header in enumerate(headers):
        data = Dataset.from_json(dict(header))
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{number:04d}.dcm")
        data.save_as(paths[-1], enforce_file_format=True)
    return paths


def _array(values: Any) -> np.ndarray:
    """Numbers as floats, NaN for None."""
    return np.array(values, float)
