import sys
from types import ModuleType

import numpy as np
import pytest

from prep.errors import Refused, Unsuitable
from prep.shapes import kinds, landmarks
from tests.prep_shapes import Horseshoe

HEAD = "case," + ",".join(landmarks.COLUMNS) + "\n"


@pytest.mark.parametrize("turn", [0, 30, 90, 180, -135])
def test_landmarks_of_a_known_horseshoe(turn):
    shape = Horseshoe(turn=turn, centre=(31.5, 31.5), arm=12)
    found = landmarks.from_mask(shape.mask())
    assert np.abs(found - shape.landmarks()).max() < 1.5


@pytest.mark.parametrize("turn", [0, 90, -135])
def test_the_landmarks_of_an_arch_are_its_middle_and_its_ends(turn):
    shape = Horseshoe(turn=turn, centre=(31.5, 31.5), arm=12)
    found = landmarks.from_mask(shape.mask(), kinds.find("arch"))
    wanted = shape.landmarks()
    wanted[0] = shape.to_image([[0, -(shape.inner + shape.outer) / 2]])[0]
    assert np.abs(found - wanted).max() < 1.5


def test_a_kind_of_ones_own_is_found_by_module_and_name(monkeypatch):
    own = kinds.Kind(kinds.ARCH.boundaries, lambda inner, outer: outer[:3])
    module = ModuleType("kinds_of_a_user")
    module.OWN, module.OTHER = own, 5
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert kinds.find("kinds_of_a_user:OWN") is own
    for name, message in {
        "star": "one of horseshoe, arch, region, ring, or module:name",
        "no_such_module:OWN": "no_such_module",
        "kinds_of_a_user:NONE": "NONE",
        "kinds_of_a_user:OTHER": "Kind was expected",
        ":OWN": "Empty module name",
    }.items():
        with pytest.raises(Refused, match=message):
            kinds.find(name)


def test_landmarks_of_a_mirrored_heart_run_clockwise_too():
    shape = Horseshoe(turn=30, centre=(31.5, 31.5), arm=12)
    found = landmarks.from_mask(shape.mask()[:, ::-1])
    expected = shape.landmarks()[[0, 2, 1]]
    expected[:, 0] = 63 - expected[:, 0]
    assert np.abs(found - expected).max() < 1.5


def test_a_disc_has_no_landmarks():
    y, x = np.mgrid[:64, :64]
    with pytest.raises(Unsuitable, match="no cavity"):
        landmarks.from_mask(np.hypot(x - 31, y - 31) < 20)


def test_landmarks_from_a_file_are_put_in_order(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text(HEAD + "a,5,0,10,10,0,10\n")  # basal 1 is the right one: wrong way round
    found = landmarks.from_file(path)
    np.testing.assert_array_equal(found["a"], [[5, 0], [0, 10], [10, 10]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,apex_x\na,1\n", "apex_y"),
        (HEAD + "a,1,2,3,4,5,x\n", "line 2 needs six finite numbers"),
        (HEAD + "a,1,2,3,4,5,nan\n", "line 2 needs six finite numbers"),
        ("", "are missing"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    (tmp_path / "marks.csv").write_text(text)
    with pytest.raises(Refused, match=message):
        landmarks.from_file(tmp_path / "marks.csv")
