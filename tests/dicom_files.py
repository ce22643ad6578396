"""Small DICOM files, made up, for the tests."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from jssm.files.view import TYPICAL_NORMALS

SECRETS = ("Doe^Jane", "HOSP-77", "19700102", "Dr^Who")
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"


def picture(number, shape=(24, 32)):
    """A picture (H, W) that differs from frame to frame."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows * 10 + columns + 100 * number).astype(np.uint16)


def axes_of(view):
    """The direction cosines of rows and columns of a typical plane of this view."""
    normal = TYPICAL_NORMALS[view] / np.linalg.norm(TYPICAL_NORMALS[view])
    row = np.cross([0.3, 0.5, 0.8], normal)
    row /= np.linalg.norm(row)
    return [f"{v:.8f}" for v in (*row, *np.cross(normal, row))]


def dataset(number, *, view="4ch", series="1.2.3", patient=SECRETS[1], study="1.2", shape=(24, 32)):
    """One frame; number counts from 1."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = UID(f"{series}.{number}")
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, f"{series}.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.PatientName, data.PatientID, data.PatientBirthDate = SECRETS[0], patient, SECRETS[2]
    data.ReferringPhysicianName = SECRETS[3]
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.Modality, data.SeriesDescription = "MR", f"cine {view}"
    data.InstanceNumber, data.TriggerTime, data.SeriesNumber = number, 40.0 * (number - 1), 5
    data.ImagePositionPatient = [-20.0, 10.0, 5.0]
    if view in TYPICAL_NORMALS:
        data.ImageOrientationPatient = axes_of(view)
    data.PixelSpacing, data.SliceThickness = [1.5, 1.25], 8
    data.Rows, data.Columns = shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = picture(number, shape).tobytes()
    return data


def save(path, data):
    """Write it, folders and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def write_cine(folder, *, frames=3, change=None, name="IM-{:04d}.dcm", **options):
    """A series of ``frames`` files; ``change(data, number)`` may alter each."""
    paths = []
    for number in range(1, frames + 1):
        data = dataset(number, **options)
        if change:
            change(data, number)
        paths.append(save(folder / name.format(number), data))
    return paths


def enhanced(phases=3, slices=2):
    """A multi-frame object of a short-axis stack: phase by phase, slice by slice, backwards."""

    def item(**fields):
        inner = Dataset()
        for key, value in fields.items():
            setattr(inner, key, value)
        return pydicom.Sequence([inner])

    data = dataset(1, view="sax")
    for key in ("TriggerTime", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, key)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ENHANCED
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[1.5, 1.25], SliceThickness=8)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=axes_of("sax"))
    data.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    each, pixels = [], []
    for phase in reversed(range(phases)):
        for z in range(slices):
            frame = Dataset()
            frame.PlanePositionSequence = item(ImagePositionPatient=[0.0, 0.0, 10.0 * z])
            frame.CardiacSynchronizationSequence = item(NominalCardiacTriggerDelayTime=30.0 * phase)
            frame.FrameContentSequence = item(TemporalPositionIndex=phase + 1)
            frame.PixelValueTransformationSequence = item(
                RescaleSlope=2, RescaleIntercept=-1, RescaleType="US"
            )
            each.append(frame)
            pixels.append(picture(phase + 10 * z))
    data.PerFrameFunctionalGroupsSequence = pydicom.Sequence(each)
    data.NumberOfFrames = len(each)
    data.PixelData = np.stack(pixels).tobytes()
    return data
