"""Rings: from masks to ordered points, where they begin, and short-axis phantoms."""

import numpy as np
import pytest
from scipy import ndimage

from jssm import dataset
from jssm.shape.integrity import integrity
from prep.__main__ import main
from prep.dataset.verify import check
from prep.errors import Unsuitable
from prep.phantom.anatomy import SLICES
from prep.phantom.motion import lengths, strain_percent
from prep.phantom.patient import RIGHT_VENTRICLE, Options, make_geometry, make_patient
from prep.shapes import kinds, landmarks, point_cloud

SIZE = 64


def annulus(centre=(30.0, 33.0), inner=10.0, outer=17.0):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - centre[0], y - centre[1])
    return (radius >= inner) & (radius <= outer)


def disc(centre, radius):
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.hypot(x - centre[0], y - centre[1]) <= radius


def test_boundaries_are_two_circles_clockwise_from_the_left():
    for boundary, radius in zip(kinds.RING.boundaries(annulus()), (10, 17), strict=True):
        away = boundary - (30, 33)
        np.testing.assert_allclose(np.hypot(*away.T), radius, atol=0.6)
        assert point_cloud.signed_area(boundary) > 0
        np.testing.assert_allclose(away[0], (-radius, 0), atol=0.7)


@pytest.mark.parametrize("degrees", [0, 90, 200, 315])
def test_a_ring_begins_in_any_direction(degrees):
    way = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    inner, outer = kinds.begun(*kinds.RING.boundaries(annulus()), 3 * way)
    for boundary, radius in ((inner, 10), (outer, 17)):
        np.testing.assert_allclose(boundary[0], (30, 33) + radius * way, atol=0.6)
    points = point_cloud.spread_points(inner, outer, 24, closed=True)
    steps = np.linalg.norm(points[:12] - np.roll(points[:12], -1, axis=0), axis=1)
    np.testing.assert_allclose(steps, 2 * 10 * np.sin(np.pi / 12), atol=0.25)
    assert integrity(points, closed=True).ok
    found = point_cloud.polygon_mask(points, (SIZE, SIZE), closed=True)
    assert point_cloud.dice(found, annulus()) > 0.93  # chords of twelve points
    top, first, last = kinds.RING.landmarks(inner, outer)
    np.testing.assert_allclose(first, (30, 33) + 13.5 * way, atol=0.5)
    assert np.allclose(landmarks.in_order(np.stack([top, first, last]))[0], top)
    np.testing.assert_allclose((top + first + last) / 3, (30, 33), atol=0.5)


@pytest.mark.parametrize("side", [(-1, 0), (0, 1), (0.8, -0.6)])
def test_the_insertion_is_where_the_contact_ends_clockwise(side):
    wall, side = annulus(), np.array(side)
    right = disc((30, 33) + 20 * side, 10) & ~disc((30, 33), 17.3)
    found = kinds.insertion(wall, right)
    # The circles of radius 17 and 10, 20 apart, cross where cos of the angle is this.
    half = np.arccos((17**2 + 20**2 - 10**2) / (2 * 17 * 20))
    turned = np.arctan2(found[1], found[0]) - np.arctan2(side[1], side[0])
    assert abs(np.angle(np.exp(1j * (turned - half)))) < np.deg2rad(15)
    assert kinds.insertion(wall, np.zeros_like(right)) is None
    assert kinds.insertion(wall, disc((3, 3), 2)) is None


def test_what_is_no_ring_is_refused():
    with pytest.raises(Unsuitable, match="no hole"):
        kinds.RING.boundaries(disc((30, 30), 12))
    arc = annulus()
    arc[:34, 29:33] = False
    with pytest.raises(Unsuitable, match="no hole"):
        kinds.RING.boundaries(arc)
    thin = annulus(inner=15.6, outer=17.0)  # hardly more than a pixel
    inner, outer = kinds.RING.boundaries(thin)
    assert abs(np.hypot(*(outer - (30, 33)).T).mean() - 17) < 0.4
    assert abs(np.hypot(*(inner - (30, 33)).T).mean() - 15.6) < 0.4


def test_rings_become_a_data_set_that_begins_at_the_insertion(tmp_path, capsys):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    wants = []
    for k in range(3):
        centre = np.array([28.0 + 3 * k, 34.0 - k])
        # In the second frame of a cine the right ventricle is not drawn.
        wall = annulus(centre, 9.0 + k, 16.0)
        right = disc(centre - (19, 0), 9) & ~disc(centre, 16.3)
        mask = wall + RIGHT_VENTRICLE * right
        frames = np.stack([mask, wall.astype(int)]).astype(np.uint8)
        for name, values in (("masks", frames), ("images", 50 + 60 * frames)):
            _nifti(tmp_path / name / f"p{k}.nii", values)
        wants.append(kinds.insertion(wall, right))
    words = ["build", "--shape", "ring", "--start-label", RIGHT_VENTRICLE, "--modes", 2]
    words += ["--images", tmp_path / "images", "--masks", tmp_path / "masks", "--size", SIZE]
    words += ["--points", 24, "--jobs", 1, "--out", tmp_path / "out"]
    assert main([*map(str, words)]) == 0
    assert check(tmp_path / "out") == []
    data = dataset.load(tmp_path / "out")
    assert data.shape_model.closed
    assert len(data.cases) == 6
    for row, points in enumerate(data.points):
        away = points[12] - points[12:].mean(axis=0)
        want = wants[row // 2]
        assert away @ want > 0.99 * np.linalg.norm(away) * np.linalg.norm(want)
    assert main([*map(str, [*words[:1], "--start-label", 2, *words[5:]]), "--shape", "arch"]) == 2
    for more, sentence in (
        (["--points", "points.json"], "has rings, and reports correct none"),
        (["--images", tmp_path / "images", "--cavities", tmp_path / "masks"], "does not tell"),
    ):
        extended = ["extend", tmp_path / "out", *more, "--out", tmp_path / "more"]
        assert main([*map(str, extended)]) == 2
        assert sentence in capsys.readouterr().err


def _nifti(path, frames):
    import nibabel

    image = nibabel.Nifti1Image(frames.transpose(2, 1, 0)[:, :, None], np.diag([-1, -1, 1, 1]))
    nibabel.save(image, path)


# Phantoms


def test_phantom_slices_are_rings_with_their_right_ventricle():
    for view in SLICES:
        for number in (1, 2, 5):
            options = Options(view, 9, seed=3, frames=4, size=96)
            patient = make_patient(options, number)
            for points, mask in zip(patient.points, patient.masks, strict=True):
                wall = mask == 1
                assert ndimage.label(wall)[1] == 1
                assert ndimage.label(~wall)[1] == 2, "one hole"
                assert (mask == RIGHT_VENTRICLE).sum() > 15
                drawn = point_cloud.polygon_mask(points, wall.shape, closed=True)
                assert point_cloud.dice(drawn, wall) > 0.93
                assert integrity(points, closed=True).ok
                away = points[44] - points[44:].mean(axis=0)
                found = kinds.insertion(wall, mask == RIGHT_VENTRICLE)
                cosine = away @ found / np.linalg.norm(away) / np.linalg.norm(found)
                assert cosine > np.cos(np.deg2rad(25))


def test_phantom_truth_agrees_with_its_points():
    options = Options("sax_mid", 9, seed=3, frames=6, size=96, num_points=400)
    patient = make_patient(options, 1)
    inner, outer = np.split(patient.points.astype(float), 2, axis=1)
    closed = [np.concatenate([line, line[:, :1]], axis=1) for line in (inner, outer)]
    for name, line in zip(("endo", "epi"), closed, strict=True):
        np.testing.assert_allclose(
            patient.truth[f"gcs_{name}"], strain_percent(lengths(line)), atol=0.02
        )
    spacing = patient.truth["spacing_mm"][0]
    areas = [point_cloud.signed_area(loop) * spacing**2 for loop in inner]
    np.testing.assert_allclose(patient.truth["cavity_area_mm2"], areas, rtol=2e-3)
    assert -45 < patient.truth["gcs_mid"].min() < -3


def test_the_apex_turns_against_the_base():
    turns = []
    for view in SLICES:
        _, wall, _ = make_geometry(Options(view, 9, seed=3, frames=6, size=96), 1)
        x, y = wall.mid[:, 0].T
        angle = np.unwrap(np.arctan2(y, x))
        turns.append(np.rad2deg(angle[np.argmax(wall.activation)] - angle[0]))
    assert -5 < turns[0] < 3 < turns[2] < 15
    assert turns == sorted(turns)
