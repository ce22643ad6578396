"""What of a cine can go into a DICOM archive: the mask as a Segmentation, the measures as a report.

Both refer to the images, so there is neither for a cine that is not from DICOM.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jssm import files
from jssm.cines.measures import Motion, RingMotion
from jssm.cines.result import Result
from jssm.files import codes
from jssm.files.segmentation import write_segmentation
from jssm.files.structured_report import Image, Measure, Observer, write_report


def write_mask(
    path: Path,
    result: Result,
    *,
    about: Mapping[str, Any],
    keep_names: bool = False,
) -> list[str]:
    """Write the mask of one cine as a DICOM Segmentation; gives a sentence where it cannot be.

    about: facts of the run, as summaries have them. Frames that are refused are not shown.
    """
    path.unlink(missing_ok=True)
    if not result.cine.sources:
        return []
    return _told(
        write_segmentation, path, result.segmented.mask, result.cine,
        patient=result.found.patient, model=about["model_run"], version=about["jssm_version"],
        used=result.segmented.used, is_corrected=about.get("corrected", False),
        keep_names=keep_names,
    )  # fmt: skip


def write_measures(
    path: Path,
    result: Result,
    *,
    about: Mapping[str, Any],
    keep_names: bool = False,
) -> list[str]:
    """Write the measures of one cine as a DICOM SR; gives a sentence where it cannot be.

    Without a measure there is no report. about: as for :func:`write_mask`.
    """
    path.unlink(missing_ok=True)
    sources = result.cine.sources
    used = result.segmented.used
    images = [image for image, is_used in zip(sources, used, strict=False) if is_used]
    measures = measures_of(result) if sources else []
    if not measures:
        return []
    return _told(
        write_report, path, measures, images, observer=observer_of(about), name=result.cine.name,
        patient=result.found.patient, keep_names=keep_names,
    )  # fmt: skip


def write_biplane(
    path: Path,
    volumes: Mapping[str, float],
    views: Sequence[tuple[Motion, Sequence[Image]]],
    *,
    about: Mapping[str, Any],
    patient: str,
    keep_names: bool = False,
) -> list[str]:
    """Write the volumes of two views as a DICOM SR; gives a sentence where it cannot be.

    volumes: by the names of :class:`jssm.cines.volumes.Biplane`. views: of each the motion and the
    images. about: as for :func:`write_mask`.
    """
    if not all(sources for _, sources in views):
        return []
    ed, es = ([s[int(getattr(m, k))] for m, s in views] for k in ("ed_frame", "es_frame"))
    measures = biplane_measures(volumes, ed, es)
    if not measures:
        return []
    return _told(
        write_report, path, measures, [*ed, *es], observer=observer_of(about),
        name=path.name.removesuffix(".sr.dcm"), patient=patient, keep_names=keep_names,
    )  # fmt: skip


def _told(write: Callable[..., None], *args: Any, **options: Any) -> list[str]:
    """Call a writer; gives the sentence where it says that it cannot write."""
    try:
        write(*args, **options)
    except files.BadInput as error:
        return [str(error)]
    return []


def measures_of(result: Result) -> list[Measure]:
    """All that a report of one cine says; without what is not known or lies in an unused frame.
    There is none of a ring."""
    motion, sources = result.motion, result.cine.sources
    if motion is None or isinstance(motion, RingMotion):
        return []
    ed, es = int(motion.ed_frame), int(motion.es_frame)
    measures = list(_strains(motion, result.found.view, result.segments))
    if result.segmented.used[[ed, es]].all():
        measures = [*_volumes(motion, result.found.modality, sources[ed], sources[es]), *measures]
    return [measure for measure in measures if math.isfinite(measure.value)]


def biplane_measures(
    volumes: Mapping[str, float], ed: Sequence[Image], es: Sequence[Image]
) -> list[Measure]:
    """The volumes of two views, from their images at end-diastole and end-systole."""
    ml, percent, discs = codes.MILLILITER, codes.PERCENT, codes.BIPLANE_DISCS
    found = [
        (codes.BIPLANE_EF, "ejection_fraction_percent", percent, (*ed, *es)),
        (codes.BIPLANE_ED_VOLUME, "ed_volume_ml", ml, tuple(ed)),
        (codes.BIPLANE_ES_VOLUME, "es_volume_ml", ml, tuple(es)),
    ]
    return [
        Measure(concept, volumes[name], unit, discs, images=images)
        for concept, name, unit, images in found
        if math.isfinite(volumes[name])
    ]


def observer_of(about: Mapping[str, Any]) -> Observer:
    """The model that a summary tells of."""
    return Observer(
        name=about["model_run"],
        version=about["jssm_version"],
        weights=about["model_weights_sha256"],
        settings=tuple(
            f"{key}={about[key]}"
            for key in ("model_weights_sha256", "model_step", "smoothing_harmonics", "whole_cycle")
        ),
    )


def _volumes(motion: Motion, modality: str, ed: Image, es: Image) -> Iterator[Measure]:
    """Ejection fraction and volumes, by area and length, from the images at both frames."""
    found = [
        (codes.EF, motion.ejection_fraction_percent, codes.PERCENT, (ed, es)),
        (codes.ED_VOLUME, motion.volume_ml[int(motion.ed_frame)], codes.MILLILITER, (ed,)),
        (codes.ES_VOLUME, motion.volume_ml[int(motion.es_frame)], codes.MILLILITER, (es,)),
    ]
    for table, value, unit, images in found:
        concept = codes.by_modality(table, modality)
        yield Measure(concept, float(value), unit, codes.AREA_LENGTH, images=images)


def _strains(motion: Motion, view: str, segments: Sequence[str]) -> Iterator[Measure]:
    """The peak longitudinal strain of the three lines, and of the segments in the middle of the
    wall, from all images."""
    percent = codes.PERCENT
    for line, method in codes.LINE_METHOD.items():
        gls = float(getattr(motion, line).gls_percent)
        own = codes.PEAK_GLS.get(view) if line == "endo" else None
        yield Measure(own or codes.PEAK_STRAIN, gls, percent, method)
    for name, peak in zip(segments, motion.mid.segment_peak_percent, strict=True):
        method, site = codes.LINE_METHOD["mid"], codes.segment(name)
        yield Measure(codes.PEAK_STRAIN, float(peak), percent, method, site)
