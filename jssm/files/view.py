"""The view of a cine, from its description and, apart from that, from its plane.

The views are planes through the long axis of the left ventricle, or across it (Cerqueira et al.,
"Standardized myocardial segmentation and nomenclature", Circulation 105, 2002): 4ch and 2ch are
about perpendicular, 3ch lies between them, sax is perpendicular to all three.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_DIGIT = {"2ch": "2", "3ch": "3", "4ch": "4"}
_NUMBER = {
    "2ch": "two|ii|zwei|deux|dos|due|twee",
    "3ch": "three|iii|drei|trois|tres|tre|drie",
    "4ch": "four|iv|vier|quatre|cuatro|quattro|quatro",
}
_CHAMBER = (
    r"(?:ch(?:v|view|am|ambers?|ambres?|br|b|mbr?)?|cv|kammern?|kammerblick|kb|cavites|cavidades"
    r"|camaras|camere|kamers?)"
)
# "32ch" and "4 channel coil" count the parts of an antenna.
_COIL = r"(?! ?(?:body |cardiac |phased )?(?:coil|array|antenna|ecg))"
_WORDS = {
    "2ch": r"a?2c|api?2c?|a2ch|vla|vertical long axis",
    "3ch": r"a?3c|api?3c?|a3ch|lvot|aplax|alax|ap(?:ical)? ?(?:long axis|lax)|inflow outflow",
    "4ch": r"a?4c|api?4c?|a4ch|hla|horizontal long axis",
    "sax": r"p?sax\d*|sa|short ?axis|kurze achse|kurzachse|petit axe|eje corto|asse corto",
}


def _pattern(view: str) -> re.Pattern[str]:
    words = rf"\b(?:{_WORDS[view]})\b"
    if view not in _NUMBER:
        return re.compile(words)
    digit, number = _DIGIT[view], _NUMBER[view]
    counted = rf"(?:(?<!\d){digit}|\b(?:{number})) ?{_CHAMBER}(?![a-z]){_COIL}"
    apical = rf"\bapical ?(?:{digit}|{number})\b|\bch{digit}\b"
    return re.compile(f"{counted}|{apical}|{words}")


_PATTERNS = {view: _pattern(view) for view in _WORDS}
# Planes of the right ventricle, those that only serve to plan others, views through other windows
# than the apex, pictures of flow, and series in which the frames do not follow the heart's motion.
_OTHER = re.compile(
    r"\b(?:rv\w*|right ventric\w*|locali[sz]er|scout|survey|plan(?:ning|scan)?"
    r"|plax|parasternal (?:long axis|lax)|subcostal|subxiphoid\w*|suprasternal|transgastric"
    r"|sc ?4c|a5c|5 ?(?:ch|c|chamber)|five chamber|lvot (?:cor\w*|flow|vti|pc|diam\w*)"
    r"|(?:pc|vti) lvot|doppler|pw|cw|vti|tdi|m ?mode|venc\d*|(?:t1|t2|t2star|ecv) ?map\w*"
    r"|mapping|(?:sh)?molli|perf|perfusion|lge|psir)\b"
)

# Normals of the planes in patient coordinates (LPS): rounded means over twenty adults lying on
# their backs, as tabulated in open code for turning cines to a standard orientation. They agree
# with the definitions: 2ch to 4ch 77°, 3ch to 4ch 44°, 3ch to 2ch 60°, sax to each 80° to 89°.
TYPICAL_NORMALS = {
    "2ch": np.array([0.84, 0.54, 0.02]),
    "3ch": np.array([0.57, 0.04, 0.82]),
    "4ch": np.array([0.03, -0.48, 0.87]),
    "sax": np.array([0.63, -0.65, -0.43]),  # from the base to the apex
}
MAX_ANGLE_DEG = 40.0  # a plane further from every typical one is none of them
MIN_MARGIN_DEG = 8.0  # the nearest typical plane must be this much nearer than the next


def from_description(texts: Sequence[str]) -> str:
    """The view that the first telling text names ("other" for a plane of something else), or ""."""
    for text in texts:
        plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
        words = re.sub(r"[^a-z0-9]+", " ", plain).strip()
        if _OTHER.search(words):
            return "other"
        named = [view for view, pattern in _PATTERNS.items() if pattern.search(words)]
        if len(named) == 1:
            return named[0]
    return ""


def from_normal(normal: np.ndarray, axis: np.ndarray | None = None) -> str:
    """The view whose typical plane is nearest to the plane with this ``normal`` (3,), LPS.

    axis: the patient's own long axis (3,), where known: the typical planes are turned to it.
    Gives "other" for a plane unlike all, "" where two are about equally near.
    """
    typical = np.stack(list(TYPICAL_NORMALS.values()))
    if axis is not None:
        typical = typical @ _rotation(TYPICAL_NORMALS["sax"], axis).T
    typical /= np.linalg.norm(typical, axis=1, keepdims=True)
    cosines = np.abs(typical @ (normal / np.linalg.norm(normal)))
    angles = np.degrees(np.arccos(np.clip(cosines, 0, 1)))
    nearest, second = np.argsort(angles)[:2]
    if angles[nearest] > MAX_ANGLE_DEG:
        return "other"
    if angles[second] - angles[nearest] < MIN_MARGIN_DEG:
        return ""
    return list(TYPICAL_NORMALS)[nearest]


def long_axis(normals: Sequence[np.ndarray], views: Sequence[str]) -> np.ndarray | None:
    """The long axis (3,) of a patient's left ventricle, from the planes of one study, or None.

    It is the normal of the short-axis planes; without any, the line in which the long-axis planes
    cross. ``views`` are the best guess for each plane; which of the long-axis views it is does
    not matter here. A result over 45° from the typical direction is not trusted.
    """
    across = [n for n, view in zip(normals, views, strict=True) if view == "sax"]
    along = [n for n, view in zip(normals, views, strict=True) if view in _NUMBER]
    if across:
        axis = np.linalg.svd(np.stack(across))[2][0]
    elif len(along) > 1:
        _, sizes, directions = np.linalg.svd(np.stack(along))
        if sizes[1] < 0.3 * sizes[0]:  # planes within about 35° of each other do not tell
            return None
        axis = directions[2]
    else:
        return None
    typical = TYPICAL_NORMALS["sax"] / np.linalg.norm(TYPICAL_NORMALS["sax"])
    cosine = axis @ typical
    return np.sign(cosine) * axis if abs(cosine) > np.cos(np.radians(45)) else None


def _rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns the direction ``start`` into ``end``."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(a, b)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + a @ b)
