"""The cases of a build, and the work done on one of them; each step leaves one file behind.

A step's file carries a stamp of all that went into it, so that a second run repeats a step only
where its input has changed. Files appear whole or not at all.
"""

import functools
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jssm import files
from jssm.files.archive import read_npz
from jssm.files.whole import write_whole
from jssm.shape import affine
from prep.dataset import images
from prep.dataset.settings import Settings
from prep.errors import BadInput, Refused, Unsuitable
from prep.shapes import kinds, landmarks, point_cloud, procrustes, registration

MAX_STRETCH = 3.0  # a refined affine may stretch one direction this much more than another
APART_PX = 1.0  # landmarks of a table that are nearer to one another, in px of the file, coincide


@dataclass(frozen=True)
class Case:
    """One frame of one file.

    name: ``<stem>`` or ``<stem>_frame07``. given: landmarks (3, 2) from a file, in px of the
    file, or None. truth: a phantom's file of true points, or None. time_s: of the frame, where the
    image's file does not tell. part: of a public set's own split, "" without one.
    """

    name: str
    patient: str
    frame: int
    image: Path
    mask: Path
    truth: Path | None = None
    given: np.ndarray | None = None
    needs_given: bool = False
    time_s: float = math.nan
    part: str = ""


@dataclass(frozen=True)
class Mean:
    """The mean shape on the canonical grid.

    field: (G, G) its signed distance. points: (T, 2) on it. landmarks: (3, 2) on the same grid.
    """

    field: np.ndarray
    points: np.ndarray
    landmarks: np.ndarray

    def stamp(self) -> str:
        """A short digest of the arrays."""
        arrays = (self.field, self.points, self.landmarks)
        return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


def check_names(cases: Sequence[Case]) -> None:
    """Check that cases have names of their own, by which their steps and rows are told apart.

    Raises:
      Refused: naming the first one that is taken, and the files of both.
    """
    files: dict[str, Path] = {}
    for case in cases:
        if case.name in files:
            both = f"{files[case.name]} and {case.image}"
            raise Refused(f"two cases are named {case.name}: {both}; names must differ")
        files[case.name] = case.image


def case_stamp(case: Case) -> str:
    """Size and time of change of the case's files, and its landmarks if they came from a file."""
    files = [case.image, case.mask] + ([case.truth] if case.truth else [])
    parts = [f"{s.st_size}.{s.st_mtime_ns}" for s in (f.stat() for f in files)]
    if case.needs_given:
        parts.append("none" if case.given is None else case.given.tobytes().hex())
    if not math.isnan(case.time_s):
        parts.append(f"{case.time_s:g}")
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def write(path: Path, **arrays) -> None:
    """Write an .npz that appears whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def read(path: Path, stamp: str) -> dict[str, np.ndarray] | None:
    """The arrays of a step's file, or None when it is missing, broken or of another stamp."""
    try:
        arrays = read_npz(path)
        return arrays if str(arrays["stamp"]) == stamp else None
    except (OSError, ValueError, KeyError):
        return None


def prepare(case: Case, settings: Settings, store: Path) -> dict[str, np.ndarray]:
    """Read, check and letterbox one case and find its landmarks: step 1 of its file pair.

    Gives image and mask (S, S) uint8, landmarks (3, 2) in px of that square, spacing_mm (2,),
    time_s, truth (T, 2) for a phantom and own (T, 2), the points that a ring's boundaries give; or
    problem and kind ("bad" or "unsuitable").
    """
    path = store / f"{case.name}.input.npz"
    return _kept(path, case_stamp(case), lambda: attempt(_prepare, case, settings))


def place(case: Case, settings: Settings, store: Path, mean: Mean) -> dict[str, np.ndarray]:
    """Fit the mean points to one case (Algorithm 1, lines 5 and 6): step 2.

    Gives grid_points (T, 2) on the canonical grid, theta (2, 3) from that grid to the image, and
    dice of the points' polygon against the mask; or problem and kind.
    """

    def work() -> dict:
        data = prepare(case, settings, store)
        if "problem" in data:
            return {name: data[name] for name in ("problem", "kind")}
        return attempt(_place, case, data, settings, mean)

    return _kept(store / f"{case.name}.fit.npz", f"{case_stamp(case)}-{mean.stamp()}", work)


def own_points(data: dict[str, np.ndarray], settings: Settings) -> np.ndarray | None:
    """The points (T, 2) of a prepared case that need no registration: a phantom's true ones where
    they are asked for, or those that a ring's boundaries give; None of other cases."""
    return data["truth"] if settings.true_points else data.get("own")


def refine(
    field: np.ndarray, mean: np.ndarray, start: np.ndarray, settings: Settings
) -> np.ndarray:
    """The map (2, 3), grid to image, refined from ``start`` by an ANTs affine to ``mean`` (G, G).

    ``field`` is the case's :func:`padded_field`. A fit that fails, mirrors or collapses leaves the
    start as it was: the mean of many cases must not hang on one.
    """
    try:
        return _refined(field, mean, start, settings)
    except (Unsuitable, RuntimeError):
        return start


def problem(step: Callable, case: Case, *arguments) -> str | None:
    """What kept ``step`` (:func:`prepare` or :func:`place`) from its result for a case, if any.

    The result itself stays on disk: between processes, only this sentence travels.
    """
    found = step(case, *arguments)
    return str(found["problem"]) if "problem" in found else None


def attempt(function: Callable[..., dict], case: Case, *arguments) -> dict:
    """What ``function(case, *arguments)`` gives; or problem and kind ("bad" or "unsuitable")."""
    try:
        return function(case, *arguments)
    except BadInput as error:
        return {"problem": str(error), "kind": "bad"}
    except Unsuitable as error:
        return {"problem": f"{case.name}: {error}", "kind": "unsuitable"}
    except Exception as error:  # one case must not end the batch, whatever its cause
        cause = " ".join(str(error).split())[:200]
        return {"problem": f"{case.name}: {type(error).__name__}: {cause}", "kind": "bad"}


def padded_field(mask: np.ndarray, settings: Settings) -> np.ndarray:
    """A mask's signed distance field with the margin of :func:`to_padded`."""
    return registration.signed_distance(mask, _margin(settings))


def to_padded(theta: np.ndarray, settings: Settings) -> np.ndarray:
    """A map into the (S, S) image as the same map into its padded distance field."""
    return theta + np.array([[0, 0, 1], [0, 0, 1]]) * _margin(settings)


def _kept(path: Path, stamp: str, work: Callable[[], dict]) -> dict[str, np.ndarray]:
    """A step's file as read back; ``work`` makes what it holds where there is no good one."""
    known = read(path, stamp)
    if known is None:
        write(path, stamp=stamp, **work())
        known = read(path, stamp)
    if known is None:
        raise OSError(f"{path.name}: cannot be read back after writing it")
    return known


@functools.lru_cache(maxsize=4)
def _load(path: Path, changed: int, grey: bool) -> files.Cine:
    cine = files.read(path)
    return replace(cine, frames=images.to_uint8(cine.frames)) if grey else cine


def _open(path: Path, *, grey: bool) -> files.Cine:
    return _load(path, path.stat().st_mtime_ns, grey)


def read_frame(case: Case, settings: Settings) -> dict:
    """One frame and its mask, checked and letterboxed.

    Gives image and mask (S, S) uint8, spacing_mm (2,), time_s, notes on the numbers of the image's
    file, and to_square (2, 3), the map from px of the file to those of the square; with
    ``settings.start_label`` the direction (2,) in which a ring begins. Without ``settings.label``
    the mask is empty.

    Raises:
      BadInput: when the two do not belong together, the image is blank, or the mask is empty or in
        pieces.
    """
    cine, labels = _open(case.image, grey=True), _open(case.mask, grey=False)
    frames = files.on_grid_of(labels, cine, case.mask.name)
    drawn = frames[case.frame]
    image = cine.frames[case.frame]
    if image.min() == image.max():
        raise BadInput(f"{case.image.name}: nothing is to be seen in frame {case.frame}")
    given = settings.spacing_mm if np.isnan(cine.spacing_mm).any() else None
    spacing = given or cine.spacing_mm
    aspect = affine.aspect_of(given) if given else cine.aspect
    square = (settings.size, settings.size)
    mask = np.zeros(square, np.uint8)
    if settings.label is not None:
        name = case.mask.name + (f" frame {case.frame}" if len(cine.frames) > 1 else "")
        labelled = images.of_label(drawn, settings.label, name)
        mask = images.fit_mask(labelled, settings.size, aspect=aspect)
        images.check_mask(mask, f"{name}, at {settings.size} px")
    to_square = np.asarray(affine.letterbox(drawn.shape, square, aspect=aspect), np.float64)
    begins = {}
    if settings.start_label is not None:
        begins["direction"] = _direction(frames[case.frame :: -1], settings, aspect)
    return begins | {
        "image": images.fit_image(image, settings.size, aspect=aspect),
        "mask": mask,
        "spacing_mm": np.array(spacing) / to_square[[1, 0], [1, 0]],
        "time_s": case.time_s if np.isnan(cine.time_s[case.frame]) else cine.time_s[case.frame],
        "notes": np.array(cine.notes, str),
        "to_square": to_square,
    }


def _direction(frames: np.ndarray, settings: Settings, aspect: float) -> np.ndarray:
    """The direction (2,) in which a ring begins: where the right ventricle is inserted in the first
    of these frames (n, H, W) that shows it, else to the left."""
    for drawn in frames:
        wall, right = (
            images.fit_mask(np.rint(drawn) == label, settings.size, aspect=aspect)
            for label in (settings.label, settings.start_label)
        )
        found = kinds.insertion(wall, right)
        if found is not None:
            return found
    return kinds.LEFT


def _prepare(case: Case, settings: Settings) -> dict:
    found, kind = read_frame(case, settings), kinds.find(settings.shape)
    to_square, direction = found.pop("to_square"), found.pop("direction", None)
    marks = None
    if case.needs_given:
        if case.given is None:
            raise BadInput(f"{case.name}: the table of landmarks has no row for this case")
        if not kind.closed and _coincide(case.given):  # of a ring, one of them is all that counts
            raise BadInput(f"{case.name}: its landmarks coincide, three places were expected")
        marks = registration.apply(to_square, case.given)
    if kind.closed:
        inner, outer = kind.boundaries(found["mask"])
        if marks is not None:
            direction = marks[1] - kinds.ring_centre(outer)
        if direction is not None:
            inner, outer = kinds.begun(inner, outer, direction)
        found["own"] = point_cloud.spread_points(inner, outer, settings.num_points, closed=True)
        marks = kind.landmarks(inner, outer)
    elif marks is None:
        marks = landmarks.from_mask(found["mask"], kind)
    found["landmarks"] = marks
    if case.truth is not None:
        points = read_npz(case.truth)["points"][case.frame]
        if points.shape != (settings.num_points, 2):
            raise BadInput(
                f"{case.truth.name}: points has the shape {points.shape} per frame; "
                f"({settings.num_points}, 2) was expected"
            )
        found["truth"] = registration.apply(to_square, points.astype(np.float64))
    return found


def _coincide(marks: np.ndarray) -> bool:
    """Whether two of the landmarks (3, 2) are one place."""
    return bool(np.linalg.norm(marks - np.roll(marks, 1, axis=0), axis=1).min() < APART_PX)


def _margin(settings: Settings) -> int:
    return settings.size // 4


def _refined(
    field: np.ndarray, mean: np.ndarray, start: np.ndarray, settings: Settings
) -> np.ndarray:
    moving = registration.resample(field, to_padded(start, settings), settings.grid)
    change = registration.register_affine(mean, moving, settings.seed)
    stretch = np.linalg.svd(change[:, :2], compute_uv=False)
    if np.linalg.det(change[:, :2]) <= 0 or stretch[0] > MAX_STRETCH * stretch[1]:
        raise Unsuitable("the affine registration to the mean shape collapsed")
    return registration.compose(start, change)


def _place(case: Case, data: dict, settings: Settings, mean: Mean) -> dict:
    closed, own = kinds.find(settings.shape).closed, own_points(data, settings)
    if own is not None:
        theta = procrustes.fit_affine(mean.points, own)
        points = registration.apply(registration.invert(theta), own)
    else:
        theta, points = _registered(data, settings, mean)
    placed = registration.apply(theta, points)
    inside = point_cloud.polygon_mask(placed, data["mask"].shape, closed=closed)
    return {
        "grid_points": points,
        "theta": theta,
        "dice": point_cloud.dice(inside, data["mask"]),
    }


def _registered(data: dict, settings: Settings, mean: Mean) -> tuple[np.ndarray, np.ndarray]:
    """The map (2, 3) from the grid to the image, and the points (T, 2) on the grid."""
    field = padded_field(data["mask"], settings)
    start = procrustes.fit_similarity(mean.landmarks, data["landmarks"])
    theta = _refined(field, mean.field, start, settings)
    canonical = registration.resample(field, to_padded(theta, settings), settings.grid)
    points = registration.deform_points(mean.field, canonical, mean.points, settings.seed)
    return theta, points
