"""The headers of the DICOM images that a result refers to, without the patient's identity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jssm.files.header import quiet

# All that is taken over from the source images: nothing in it is about the patient.
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ImageType"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
]
# What is taken over besides, where names are kept.
NAME_TAGS = [
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyID"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
]
# How the identity was removed (PS3.15 E, CID 7050).
METHOD = "jssm: written anew, with a pseudonym; UIDs are kept"
METHOD_CODES = [
    ("113100", "Basic Application Confidentiality Profile"),
    ("113110", "Retain UIDs Option"),
]


def read(paths: Sequence[Path], *, patient: str, keep_names: bool) -> list[Any]:
    """The headers of these files, each once: ``TAGS``, and ``NAME_TAGS`` where names are kept.

    Otherwise the pseudonym ``patient`` is name and id, and the header tells how the identity was
    removed.
    """
    import pydicom

    tags = TAGS + (NAME_TAGS if keep_names else [])
    headers = []
    with quiet():
        common = pydicom.Dataset() if keep_names else _pseudonym(patient)
        for keyword in NAME_TAGS:  # these must be there, if only empty
            if keyword not in common and keyword not in ("PatientAge", "StudyDescription"):
                setattr(common, keyword, "")
        for path in dict.fromkeys(paths):
            header = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=True)
            header.update({tag: item for tag, item in common.items() if tag not in header})
            headers.append(header)
    return headers


def _pseudonym(patient: str) -> Any:
    """A header with the pseudonym as name and id, which tells how the identity was removed."""
    from pydicom import Dataset

    header = Dataset()
    header.PatientName = header.PatientID = patient
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = METHOD
    header.DeidentificationMethodCodeSequence = [Dataset() for _ in METHOD_CODES]
    for item, (value, meaning) in zip(
        header.DeidentificationMethodCodeSequence, METHOD_CODES, strict=True
    ):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return header
