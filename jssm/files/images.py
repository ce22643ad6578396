"""Reading PNG, JPEG, NIfTI and MetaImage files as cines."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jssm.files import nifti
from jssm.files.cine import UNKNOWN, Cine, believed_times, known
from jssm.files.common import check_size, dropped, frame_shape, grey, stem, without_gaps
from jssm.files.errors import BadInput

PICTURES = (".png", ".jpg", ".jpeg")
NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")
PIXELS = "ElementDataFile"  # the field of a MetaImage header that names them, its last
SUFFIXES = PICTURES + NIFTI + METAIMAGE


def read(path: str | Path) -> Cine:
    """The cine of a PNG, JPEG, NIfTI or MetaImage file.

    Raises:
      BadInput: when the file cannot be read or is not an image or a cine of one slice.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(NIFTI):
        return guarded(nifti.read, path)
    return guarded(_read_metaimage if name.endswith(METAIMAGE) else _read_picture, path)


def count_frames(path: Path) -> int:
    """How many frames the file holds; reads the header alone where the format has one.

    Raises:
      BadInput: as :func:`read`.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return guarded(nifti.count_frames, path)
    return guarded(_count_metaimage, path) if name.endswith(METAIMAGE) else 1


def guarded(function: Callable, path: Path):
    """``function(path)``, with whatever a file library raises turned into one sentence."""
    try:
        return function(path)
    except BadInput:
        raise
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{path.name}: {error.name} is needed to read it; pip install 'jssm[files]'"
        ) from error
    except Exception as error:  # each library has its own set of errors for a broken file
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read as an image ({cause})") from error


def _read_picture(path: Path) -> Cine:
    import imageio.v3 as iio
    from PIL import Image

    with Image.open(path) as header:  # an animated one would be read to its end
        count = getattr(header, "n_frames", 1)
        check_size(header.width * header.height * 8, path.name)
    if count != 1:
        raise BadInput(f"{path.name}: {count} pictures; 1 was expected")
    return Cine(stem(path), grey(np.asarray(iio.imread(path)), path.name)[None])


def _read_metaimage(path: Path) -> Cine:
    import SimpleITK as sitk

    header = _metaimage_header(path)
    x, y, frames = frame_shape(header.GetSize(), path)
    check_size(math.prod(header.GetSize()) * 8, path.name)
    if header.GetNumberOfComponents() != 1:
        raise BadInput(f"{path.name}: {header.GetNumberOfComponents()} channels; 1 was expected")
    dimension, spacing = header.GetDimension(), header.GetSpacing()
    kept = [axis for axis in range(min(3, dimension)) if axis not in dropped(header.GetSize())]
    to_patient = None
    direction = np.reshape(header.GetDirection(), (dimension, dimension))
    origin = np.array(header.GetOrigin())
    # A MetaImage file always has an origin and directions; those of a file that does not know
    # its place are 0 and the unit axes. Its axes are LPS.
    if dimension >= 3 and (origin[:3].any() or not np.array_equal(direction, np.eye(dimension))):
        columns = direction[:3, kept[:2]] * np.array(spacing)[kept[:2]]
        to_patient = np.column_stack([columns, origin[:3]])
    data = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).reshape(frames, y, x)
    data, notes = without_gaps(data, path.name)
    pixel = known((spacing[kept[1]], spacing[kept[0]]))
    if to_patient is None and np.allclose(spacing[:3], 1):
        notes.append("a spacing of 1 mm is what libraries write where nobody told: it is unknown")
        pixel = UNKNOWN
    stated = _fields(path).get("ElementSpacing", "1")
    if min(float(size) for size in stated.split()) <= 0:  # ITK drops the sign
        notes.append("its ElementSpacing is not positive: the spacing is taken for unknown")
        pixel, to_patient = UNKNOWN, None
    step = spacing[3] if dimension == 4 else math.nan
    time_s, remarks = believed_times(np.arange(frames) * step, f"the spacing in time, {step:g},")
    return Cine(stem(path), data, pixel, time_s, to_patient, notes=(*notes, *remarks))


def _fields(path: Path) -> dict[str, str]:
    """The fields of a MetaImage header as text, the first of a name, up to that of the pixels."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file.read(10_000).decode("latin-1").splitlines():
            key, *value = re.split("[=:]", line, maxsplit=1)  # ITK takes both
            fields.setdefault(key.strip(), "".join(value).strip())
            if key.strip() == PIXELS:
                break
    return fields


def _count_metaimage(path: Path) -> int:
    return frame_shape(_metaimage_header(path).GetSize(), path)[2]


def _metaimage_header(path: Path):
    import SimpleITK as sitk

    pixels = _fields(path).get(PIXELS, "")
    if not pixels:
        raise ValueError(f"no {PIXELS} in its header")
    if pixels.upper() != "LOCAL":  # lists and patterns of files could name any file
        if Path(pixels).name != pixels or set(pixels) & set("\\%") or pixels[:4].upper() == "LIST":
            raise BadInput(
                f"{path.name}: {PIXELS} is {pixels[:40]!r}; LOCAL or a file beside it was expected"
            )
        if not (path.parent / pixels).is_file():
            raise BadInput(f"{path.name}: its pixels, the file {pixels}, are missing")
    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return header
