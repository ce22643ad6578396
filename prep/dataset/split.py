"""The split into training and validation, by patient."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prep import tables
from prep.errors import Refused


def assign(
    patients: Sequence[str],
    val_fraction: float,
    seed: int,
    wanted: dict[str, str] | None = None,
) -> dict[str, str]:
    """The side, "train" or "val", of every patient with all their cases; seeded.

    ``patients`` may repeat. ``wanted``, where given, decides instead of the shuffle.

    Raises:
      Refused: with fewer than two patients, or one that ``wanted`` lacks.
    """
    names = sorted(set(patients))
    if wanted is not None:
        missing = [name for name in names if name not in wanted]
        if missing:
            raise Refused(f"the table of the split has no row for the patient {missing[0]}")
        return {name: wanted[name] for name in names}
    if len(names) < 2:
        raise Refused(f"{len(names)} patient was found; a split by patient needs at least 2")
    count = min(max(round(val_fraction * len(names)), 1), len(names) - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    validation = {names[i] for i in order[:count]}
    parts = {name: "val" if name in validation else "train" for name in names}
    assert_disjoint(patients, [parts[name] for name in patients])
    return parts


def read(path: Path) -> dict[str, str]:
    """A given split by patient, from a CSV table with the columns patient and split.

    Raises:
      Refused: when it cannot be read, a split is neither train nor val, or a patient has both.
    """
    rows = tables.read(path, ("patient", "split"))
    if not rows:
        raise Refused(f"{path.name}: rows under the columns patient and split were expected")
    parts: dict[str, str] = {}
    for number, row in rows:
        patient, part = row["patient"], row["split"].lower()
        if part not in ("train", "val"):
            raise Refused(
                f"{path.name}: line {number} has the split {row['split']!r}, not train or val"
            )
        if parts.setdefault(patient, part) != part:
            raise Refused(f"{path.name}: the patient {patient} is in both train and val")
    return parts


def leaks(patients: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The patients who are in both train and val."""
    by_part = {
        part: {p for p, q in zip(patients, parts, strict=True) if q == part}
        for part in ("train", "val")
    }
    return sorted(by_part["train"] & by_part["val"])


def assert_disjoint(patients: Sequence[str], parts: Sequence[str]) -> None:
    """Check that no patient is on both sides of a split.

    Raises:
      Refused: naming the first patient who is.
    """
    found = leaks(patients, parts)
    if found:
        raise Refused(f"the patient {found[0]} is in both train and val")
