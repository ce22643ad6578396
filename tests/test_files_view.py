import numpy as np
import pytest

from jssm.files import view


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cine_trufi_retro 4CH", "4ch"),
        ("tfl2d1_10_2ch", "2ch"),
        ("LAX 3-chamber", "3ch"),
        ("FIESTA 4 Chamber", "4ch"),
        ("four chamber view", "4ch"),
        ("cine_4ch_iPAT", "4ch"),
        ("trufi4ch", "4ch"),
        ("2C LAX", "2ch"),
        ("2 Kammerblick", "2ch"),
        ("HLA", "4ch"),
        ("VLA cine", "2ch"),
        ("cine LVOT", "3ch"),
        ("SAX_12", "sax"),
        ("sax3", "sax"),
        ("Short Axis stack", "sax"),
        ("CINE_SA", "sax"),
        ("RV 2ch", "other"),
        ("RVOT", "other"),
        ("localizer 4ch", "other"),
        ("2ch and 4ch", ""),
        ("14ch", ""),
        ("p0123456b2c_4ch_0123ab3c", "4ch"),
        ("cine", ""),
        ("", ""),
        ("A4C", "4ch"),
        ("A2C", "2ch"),
        ("a3c_rest", "3ch"),
        ("AP4", "4ch"),
        ("AP2CH", "2ch"),
        ("API3", "3ch"),
        ("Apical 4", "4ch"),
        ("apical two chamber", "2ch"),
        ("LAX 3C", "3ch"),
        ("APLAX", "3ch"),
        ("apical long axis", "3ch"),
        ("4CV", "4ch"),
        ("cine 2chv", "2ch"),
        ("CH3", "3ch"),
        ("Vierkammerblick", "4ch"),
        ("quatre cavités", "4ch"),
        ("2 cámaras", "2ch"),
        ("tre camere", "3ch"),
        ("PSAX", "sax"),
        ("4ch plane", "4ch"),
        ("LAX", ""),
        ("A4C A2C", ""),
        ("32ch body", ""),
        ("4 channel", ""),
        ("4ch coil", ""),
        ("chest AP", ""),
        ("A5C", "other"),
        ("PLAX", "other"),
        ("subcostal 4 chamber", "other"),
        ("LVOT VTI", "other"),
        ("LVOT coronal", "other"),
        ("A4C PW Doppler", "other"),
        ("T1 map 4ch", "other"),
        ("MOLLI_4CH", "other"),
        ("perfusion 4ch", "other"),
    ],
)
def test_views_in_words(text, expected):
    assert view.from_description([text]) == expected


def test_the_first_telling_text_decides():
    assert view.from_description(["cine", "sax stack", "4ch"]) == "sax"


@pytest.mark.parametrize("name", view.TYPICAL_NORMALS)
@pytest.mark.parametrize("sign", [1, -1])
def test_planes_near_a_typical_one_are_recognized_from_both_sides(name, sign):
    rng = np.random.default_rng(0)
    normal = view.TYPICAL_NORMALS[name] / np.linalg.norm(view.TYPICAL_NORMALS[name])
    for _ in range(20):
        aside = np.cross(normal, rng.normal(size=3))
        aside *= np.tan(np.radians(15)) / np.linalg.norm(aside)
        assert view.from_normal(sign * (normal + aside)) in (name, "")
    assert view.from_normal(sign * normal) == name


def test_planes_unlike_all_or_between_two_are_not_named():
    assert view.from_normal(np.array([0.0, 1.0, 0.0])) == "other"
    between = view.TYPICAL_NORMALS["3ch"] / 1.0 + view.TYPICAL_NORMALS["4ch"]
    assert view.from_normal(between) == ""


def turn(axis, degrees):
    """A rotation (3, 3), by Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize("known", ["sax", "crossing"])
def test_the_other_planes_of_a_study_correct_for_a_heart_that_lies_otherwise(known):
    # A heart turned by 30° about a direction across its long axis, as in a lean or a stout person.
    rotation = turn(np.cross(view.TYPICAL_NORMALS["sax"], [0, 0, 1]), 30)
    normals = {name: rotation @ n for name, n in view.TYPICAL_NORMALS.items()}
    names = ["sax", "4ch"] if known == "sax" else ["2ch", "4ch"]
    axis = view.long_axis([normals[n] for n in names], names)
    expected = normals["sax"] / np.linalg.norm(normals["sax"])
    assert np.degrees(np.arcsin(np.linalg.norm(np.cross(axis, expected)))) < (
        1e-3 if known == "sax" else 10
    )
    for name, normal in normals.items():
        assert view.from_normal(normal, axis) == name


def test_the_axis_needs_planes_that_tell_and_is_not_believed_when_it_is_absurd():
    normals = view.TYPICAL_NORMALS
    assert view.long_axis([], []) is None
    assert view.long_axis([normals["4ch"]], ["4ch"]) is None
    assert view.long_axis([normals["4ch"], normals["4ch"]], ["4ch", "4ch"]) is None
    assert view.long_axis([normals["4ch"]], ["sax"]) is None
