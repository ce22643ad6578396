"""The trained models that come with the package, each with its licence beside it.

``docs/models/`` has a card for each: data, settings, scores, known failures.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple


class Released(NamedTuple):
    """A model of the package.

    shows: what it is for. modality: what makes such images, in DICOM's words. licence: of the
    weights; the text lies beside them. sha256: of the file.
    """

    shows: str
    modality: str
    licence: str
    sha256: str


RELEASED = {
    "mri": Released(
        shows="cine MRI, 2-, 3- and 4-chamber views",
        modality="MR",
        licence="Apache License 2.0",
        sha256="547421aa65ad3e2d4b7631016d1d23bcef095427a2a5ff4913461a3e8eeaa30f",
    ),
    "echo": Released(
        shows="echocardiography, apical 2- and 4-chamber views",
        modality="US",
        licence="CC BY-NC-SA 4.0",
        sha256="2a98e350cba06fab374a40c8ed068c6ef91e47dc650edc61f1c71a020bafe3a9",
    ),
}


def for_modality(modality: str) -> str | None:
    """The name of the released model for images of this modality, None where there is none."""
    return next((name for name, model in RELEASED.items() if model.modality == modality), None)


def file_of(name: str) -> Path:
    """The file of the released model of this name.

    Raises:
      ValueError: when there is none of this name, or its file is missing or not the one that was
        released.
    """
    if name not in RELEASED:
        raise ValueError(f"{name}: no such model, expected one of {', '.join(sorted(RELEASED))}")
    path = Path(__file__).parent / f"{name}.npz"
    if not path.is_file():
        raise ValueError(f"{path}: is missing; install jssm anew")
    if hashlib.sha256(path.read_bytes()).hexdigest() != RELEASED[name].sha256:
        raise ValueError(f"{path}: is damaged; install jssm anew")
    return path
