"""Masks of a DICOM cine as a DICOM Segmentation object that viewers lay over the source images.

highdicom builds the object; it tells frames apart by their place alone, but all frames of a cine
have one place. So it is given places that differ, and the true place and the frame's number in
time are put in afterwards (PS3.3 A.51, C.7.6.16.2.2 and C.7.6.17).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jssm.files import source_headers
from jssm.files.cine import Cine
from jssm.files.errors import BadInput
from jssm.files.header import quiet

# Between the places that tell frames apart while the object is built; towards the side on which
# highdicom begins, so that the frames come in order.
POSITION_STEP_MM = -1.0


def get_ready() -> None:
    """Have highdicom read its tables, which the first object that it makes would wait for."""
    import highdicom as hd
    from pydicom.uid import SegmentationStorage

    hd.SOPClass("1.2", "1.2.3", 1, "1.2.3.4", SegmentationStorage, 1, "SEG", "jssm")


def write_segmentation(
    path: Path,
    masks: np.ndarray,
    cine: Cine,
    *,
    patient: str,
    model: str,
    version: str,
    used: np.ndarray | None = None,
    is_corrected: bool = False,
    keep_names: bool = False,
) -> None:
    """Write the wall's ``masks`` (F, H, W), bool, on the pixels of a DICOM ``cine``.

    used: (F,) bool, the frames to write; all without it. The object refers to the source images by
    their UIDs, so viewers find them. It holds the pseudonym ``patient`` as name and id, and no
    other word about the patient unless ``keep_names``. ``model`` and ``version`` (of jssm) tell who
    drew it. The same masks of the same source give the same UIDs.

    Raises:
      BadInput: when the cine is not DICOM, its files lack what a segmentation needs, or no frame is
        used.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    if not cine.sources:
        raise BadInput(f"{cine.name}: not from DICOM, so there is nothing a DICOM SEG can refer to")
    used = np.ones(len(masks), bool) if used is None else used
    if not used.any():
        raise BadInput(f"{cine.name}: no DICOM SEG, as none of its frames is used")
    paths = [path for path, _ in cine.sources]
    sources = source_headers.read(paths, patient=patient, keep_names=keep_names)
    if "FrameOfReferenceUID" not in sources[0] or cine.to_patient_mm is None:
        raise BadInput(f"{cine.name}: no DICOM SEG, as its files name no place in the patient")
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Left ventricular myocardium",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.LeftVentricleMyocardium,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues[
            "SEMIAUTOMATIC" if is_corrected else "AUTOMATIC"
        ],
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=f"jssm {model}",
            version=version,
            family=codes.cid7162.ArtificialIntelligence,
        ),
    )
    masks = masks & used[:, None, None]
    uids = [_uid(name, masks, cine, sources) for name in ("series", "instance")]
    has_a_file_each = len(sources) > 1
    try:
        images, pixels = _apart(sources, cine), _per_source_frame(masks, cine, sources[0])
        if has_a_file_each:  # in one file, the frames that are left out are empty
            images = [image for image, is_used in zip(images, used, strict=True) if is_used]
            pixels = pixels[used]
        with quiet():  # of values in the source's header that are not used
            object_ = hd.seg.Segmentation(
                source_images=images,
                pixel_array=pixels,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[segment],
                series_instance_uid=uids[0],
                series_number=1,
                sop_instance_uid=uids[1],
                instance_number=1,
                manufacturer="jssm",
                manufacturer_model_name="jssm",
                software_versions=version,
                device_serial_number="0",
                content_description="Left ventricular myocardium",
                omit_empty_frames=not has_a_file_each,
                series_description="jssm",
            )
            _put_in_time(object_, cine)
            _organize(object_, _uid("organization", masks, cine, sources))
            object_.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, whatever the source has
            object_.save_as(path)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        cause = " ".join(str(error).split())[:160]
        raise BadInput(f"{cine.name}: no DICOM SEG can be made of its files ({cause})") from error


def _uid(name: str, masks: np.ndarray, cine: Cine, sources: Sequence[Any]) -> str:
    from pydicom.uid import generate_uid

    objects = [str(source.SOPInstanceUID) for source in sources]
    shown = np.packbits(masks).tobytes().hex()
    return generate_uid(entropy_srcs=[name, *objects, str(cine.frames.shape), shown])


def _apart(sources: list[Any], cine: Cine) -> list[Any]:
    """The headers with a place of its own for each frame, in the order of the frames."""
    assert cine.to_patient_mm is not None
    normal = np.cross(cine.to_patient_mm[:, 0], cine.to_patient_mm[:, 1])
    step = POSITION_STEP_MM * normal / np.linalg.norm(normal)
    origin = cine.to_patient_mm[:, 2]

    def place(k: int) -> list[str]:
        return [f"{v:.6f}" for v in origin + k * step]

    if len(sources) > 1 or "PerFrameFunctionalGroupsSequence" not in sources[0]:
        for k, source in enumerate(sources):
            source.ImagePositionPatient = place(k)
        return sources
    order = _order_in_source(cine, sources[0])
    for k, groups in zip(order, sources[0].PerFrameFunctionalGroupsSequence, strict=True):
        groups.PlanePositionSequence[0].ImagePositionPatient = place(k)
    return sources


def _order_in_source(cine: Cine, source: Any) -> list[int]:
    """For each frame of a multi-frame object its number in the cine; others come after them."""
    order = list(range(len(cine.sources), len(cine.sources) + int(source.NumberOfFrames)))
    for k, (_, number) in enumerate(cine.sources):
        order[number] = k
    return order


def _per_source_frame(masks: np.ndarray, cine: Cine, source: Any) -> np.ndarray:
    """The masks in the order of the source's frames, as highdicom takes them: uint8."""
    if "NumberOfFrames" not in source or "PerFrameFunctionalGroupsSequence" not in source:
        return masks.astype(np.uint8)
    every = np.zeros((int(source.NumberOfFrames), *masks.shape[1:]), np.uint8)
    every[[number for _, number in cine.sources]] = masks
    return every


def _organize(object_: Any, uid: str) -> None:
    """Name the order of the frames by this UID in place of a random one."""
    for item in (*object_.DimensionOrganizationSequence, *object_.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _put_in_time(object_: Any, cine: Cine) -> None:
    """Give every frame its true place, and its number in time in place of the made-up one."""
    from pydicom import Dataset, Sequence
    from pydicom.tag import Tag

    assert cine.to_patient_mm is not None
    true_place = [f"{v:.6f}" for v in cine.to_patient_mm[:, 2]]
    position = Tag("ImagePositionPatient")
    pointers = [item.DimensionIndexPointer for item in object_.DimensionIndexSequence]
    axis = pointers.index(position)
    index = object_.DimensionIndexSequence[axis]
    index.DimensionIndexPointer = Tag("TemporalPositionIndex")
    index.FunctionalGroupPointer = Tag("FrameContentSequence")
    index.DimensionDescriptionLabel = "Temporal Position Index"
    origin = cine.to_patient_mm[:, 2]
    normal = np.cross(cine.to_patient_mm[:, 0], cine.to_patient_mm[:, 1])
    normal = normal / np.linalg.norm(normal)
    for groups in object_.PerFrameFunctionalGroupsSequence:
        made_up = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        number = round(float((made_up - origin) @ normal) / POSITION_STEP_MM) + 1
        content = groups.FrameContentSequence[0]
        content.TemporalPositionIndex = number
        values = content.DimensionIndexValues
        values = [values] if isinstance(values, int) else list(values)
        values[axis] = number
        content.DimensionIndexValues = values
        item = Dataset()
        item.ImagePositionPatient = true_place
        groups.PlanePositionSequence = Sequence([item])
    if "DimensionOrganizationType" in object_:
        del object_.DimensionOrganizationType  # it claims a stack of planes
    for measures in object_.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence:
        if "SpacingBetweenSlices" in measures:
            del measures.SpacingBetweenSlices
