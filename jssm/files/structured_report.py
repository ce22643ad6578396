"""Measures as a DICOM Structured Report: an Imaging Measurement Report (PS3.16, TID 1500)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jssm.files import codes, source_headers
from jssm.files.codes import Code
from jssm.files.errors import BadInput
from jssm.files.header import quiet

DIGITS = 6
Image = tuple[Path, int]  # a DICOM file and the number of the frame in it, from 0


@dataclass(frozen=True)
class Measure:
    """One number of a report.

    concept: what it is. unit, method: of it. site: where. images: those that it was measured in,
    where these are not all of the report's.
    """

    concept: Code
    value: float
    unit: Code
    method: Code
    site: Code = codes.LEFT_VENTRICLE
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class Observer:
    """The model that measured, and how.

    name, version (of jssm), weights: a hash that tells models apart. settings: "name=value".
    """

    name: str
    version: str
    weights: str
    settings: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """All that tells it from another."""
        return [self.name, self.version, self.weights, *self.settings]


def write_report(
    path: Path,
    measures: Sequence[Measure],
    images: Sequence[Image],
    *,
    observer: Observer,
    name: str,
    patient: str,
    keep_names: bool = False,
) -> None:
    """Write ``measures`` that were taken in ``images``, of one study, as a report of this ``name``.

    The report is not verified by a person, and says so. It holds the pseudonym ``patient`` as name
    and id, and no other word about the patient unless ``keep_names``. The same measures of the
    same images by the same model give the same UIDs.

    Raises:
      BadInput: when there is no measure or image, or the files lack what a report needs.
    """
    import highdicom as hd

    if not measures or not images:
        raise BadInput(f"{name}: no DICOM SR, as there is nothing to report")
    headers = source_headers.read(
        [file for file, _ in images], patient=patient, keep_names=keep_names
    )
    by_path = dict(zip(dict.fromkeys(file for file, _ in images), headers, strict=True))
    uids = [
        _uid(part, measures, images, headers, observer) for part in ("series", "instance", "group")
    ]
    try:
        with quiet():  # of values in the source's header that are not used
            group = hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(uids[2], name),
                algorithm_id=hd.sr.AlgorithmIdentification(
                    f"jssm {observer.name}", observer.version, list(observer.settings) or None
                ),
                measurements=[_measurement(measure, by_path) for measure in measures],
                source_images=_references(hd.sr.SourceImageForMeasurementGroup, images, by_path),
            )
            modality = str(headers[0].get("Modality", ""))
            content = hd.sr.MeasurementReport(
                observation_context=_context(observer),
                procedure_reported=_coded(codes.by_modality(codes.PROCEDURE, modality)),
                imaging_measurements=[group],
                language_of_content_item_and_descendants=(
                    hd.sr.LanguageOfContentItemAndDescendants(_coded(codes.ENGLISH))
                ),
            )
            # Put in afterwards, as highdicom copies what it is given, and searches it three times.
            measured = content[0].ContentSequence.pop()
            report = hd.sr.ComprehensiveSR(
                evidence=headers,
                content=content,
                series_instance_uid=uids[0],
                series_number=1,
                sop_instance_uid=uids[1],
                instance_number=1,
                is_complete=True,
                manufacturer="jssm",
                manufacturer_model_name="jssm",
                software_versions=observer.version,
                device_serial_number="0",
                series_description="jssm",
                specific_character_set="ISO_IR 192",
            )
            report.ContentSequence.append(measured)
            report.save_as(path)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        cause = " ".join(str(error).split())[:160]
        raise BadInput(f"{name}: no DICOM SR can be made of its files ({cause})") from error


def _measurement(measure: Measure, by_path: dict[Path, Any]) -> Any:
    """One number with its unit, method, site and images (TID 300)."""
    import highdicom as hd

    return hd.sr.Measurement(
        name=_coded(measure.concept),
        value=float(f"{measure.value:.{DIGITS}g}"),
        unit=_coded(measure.unit),
        method=_coded(measure.method),
        finding_sites=[hd.sr.FindingSite(_coded(measure.site))],
        referenced_images=_references(hd.sr.SourceImageForMeasurement, measure.images, by_path),
    )


def _references(kind: Any, images: Sequence[Image], by_path: dict[Path, Any]) -> list[Any]:
    """A content item of this kind for each file, with the frames' numbers where it has several."""
    numbers: dict[Path, list[int]] = {}
    for path, number in images:
        numbers.setdefault(path, []).append(number + 1)
    return [
        kind(
            by_path[path].SOPClassUID,
            by_path[path].SOPInstanceUID,
            found if "NumberOfFrames" in by_path[path] else None,
        )
        for path, found in numbers.items()
    ]


def _context(observer: Observer) -> Any:
    """The model as the device that observed (TID 1004)."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["model", *observer.words]),
        name=f"jssm {observer.name} {observer.version}",
        manufacturer_name="jssm",
        model_name=observer.name,
        serial_number=observer.weights,
    )
    context = hd.sr.ObserverContext(_coded(codes.DEVICE), device)
    return hd.sr.ObservationContext(observer_device_context=context)


def _uid(
    part: str,
    measures: Sequence[Measure],
    images: Sequence[Image],
    headers: Sequence[Any],
    observer: Observer,
) -> str:
    from pydicom.uid import generate_uid

    objects = [str(header.SOPInstanceUID) for header in headers]
    objects += [str(number) for _, number in images]
    numbers = [f"{m.concept.value} {m.site.value} {m.method.value} {m.value!r}" for m in measures]
    return generate_uid(entropy_srcs=["report", part, *objects, *numbers, *observer.words])


def _coded(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
