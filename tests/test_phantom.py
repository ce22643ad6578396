"""Phantoms: their ground truth agrees with itself, and they are like scans."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from prep.phantom.anatomy import KINDS, VIEWS
from prep.phantom.motion import SAMPLES, lengths, material_points, strain_percent
from prep.phantom.patient import Options, draw_masks, make_geometry, make_patient
from prep.phantom.polygons import coverage, fill, signed_area
from prep.phantom.tissue import draw_tissue

CASES = [(view, seed, number) for view in VIEWS for seed, number in ((0, 1), (3, 2), (11, 5))]


def truth_points(options, number):
    _, wall, pose = make_geometry(options, number)
    return wall, pose, pose.to_pixels(pose.to_scanner(material_points(wall, options.num_points)))


# Coverage


def test_coverage_of_a_rectangle_is_exact():
    square = np.array([[0.25, 0.5], [2.5, 0.5], [2.5, 2.75], [0.25, 2.75]])
    across = np.array([0.25, 1.0, 1.0, 0.0])  # pixel k spans k - 0.5 .. k + 0.5
    down = np.array([0.0, 1.0, 1.0, 0.25])
    for outline in (square, square[::-1]):
        np.testing.assert_allclose(fill(outline, (4, 4)), np.outer(down, across), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_coverage_matches_supersampling_and_the_shoelace(seed):
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 17, endpoint=False)
    radius = rng.uniform(4, 9, angle.size)
    outline = np.stack([12 + radius * np.cos(angle), 10 + radius * np.sin(angle)], axis=1)
    image = fill(outline, (22, 26))
    assert image.sum() == pytest.approx(abs(float(signed_area(outline))), rel=1e-6)
    fine = 16
    x = (np.arange(26 * fine) + 0.5) / fine - 0.5
    y = (np.arange(22 * fine) + 0.5) / fine - 0.5
    inside = np.zeros((y.size, x.size), bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        rows = (y0 > y[:, None]) != (y1 > y[:, None])
        at = x0 + (y[:, None] - y0) * (x1 - x0) / (y1 - y0)
        inside ^= rows & (x[None] < at)
    slow = inside.reshape(22, fine, 26, fine).mean(axis=(1, 3))
    np.testing.assert_allclose(image, slow, atol=0.05)


def test_coverage_is_cut_at_the_border():
    outline = np.array([[-30.0, -20.0], [40.0, -20.0], [40.0, 3.5], [-30.0, 3.5]])
    image = fill(outline, (8, 8))
    np.testing.assert_allclose(image[:4], 1.0)
    np.testing.assert_allclose(image[4:], 0.0)
    assert coverage(outline + 100.0, (8, 8)) is None


# Masks and points


@pytest.mark.parametrize("view", VIEWS)
def test_masks_are_one_piece_inside_the_image(view):
    for number in range(1, 61):
        options = Options(view, 60, seed=5, frames=5, size=96)
        _, wall, pose = make_geometry(options, number)
        for mask in draw_masks(wall, pose):
            assert mask.sum() > 60
            assert ndimage.label(mask)[1] == 1, (number, "4-connected")
            assert ndimage.label(1 - mask)[1] == 1, (number, "open at the base: no hole")
            assert mask[1:-1, 1:-1].sum() == mask.sum()


@pytest.mark.parametrize(("view", "seed", "number"), CASES)
def test_points_bound_the_mask(view, seed, number):
    options = Options(view, 9, seed=seed, frames=4, size=224)
    wall, pose, points = truth_points(options, number)
    for mask, one in zip(draw_masks(wall, pose), points, strict=True):
        outline = np.concatenate([one[:44], one[:43:-1]])
        drawn = fill(outline, mask.shape) >= 0.5
        assert 2 * (drawn & (mask > 0)).sum() / (drawn.sum() + mask.sum()) >= 0.97


@pytest.mark.parametrize("view", VIEWS)
def test_points_run_clockwise_for_mirrored_hearts_too(view):
    seen = set()
    for number in range(1, 9):
        patient = make_patient(Options(view, 8, seed=2, frames=2, size=64), number)
        seen.add(bool(patient.truth["mirrored"]))
        for half in (patient.points[:, :44], patient.points[:, 44:]):
            assert (signed_area(half.astype(float)) > 0).all()
        inner, outer = patient.points[:, :44], patient.points[:, 44:]
        gap = np.hypot(*(inner - outer)[:, [0, -1]].reshape(-1, 2).T)
        side = np.hypot(*(inner[:, 0] - outer[:, -1]).T)
        assert gap.max() < side.min()  # both halves start at the same basal end
    assert seen == {True, False}


@pytest.mark.parametrize(("view", "seed", "number"), CASES)
def test_points_are_evenly_spaced_at_end_diastole(view, seed, number):
    _, _, points = truth_points(Options(view, 9, seed=seed, frames=2), number)
    for half in (points[0, :44], points[0, 44:]):
        step = np.hypot(*np.diff(half, axis=0).T)
        np.testing.assert_allclose(step, step.mean(), rtol=0.05)


# Motion and strain


@pytest.mark.parametrize(("view", "seed", "number"), CASES)
def test_strain_follows_from_the_material_points(view, seed, number):
    patient = make_patient(Options(view, 9, seed=seed, frames=8, size=64), number)
    points = patient.points * patient.truth["spacing_mm"][::-1]
    for half, name in ((points[:, :44], "gls_endo"), (points[:, 44:], "gls_epi")):
        np.testing.assert_allclose(strain_percent(lengths(half)), patient.truth[name], atol=0.5)


def test_end_diastole_is_the_largest_and_the_cycle_closes():
    for number in range(1, 31):
        view = VIEWS[number % 3]
        anatomy, wall, _ = make_geometry(Options(view, 30, seed=1), number)
        area = np.abs(signed_area(wall.inner))
        assert area.argmax() == 0
        assert lengths(wall.inner).argmax() == 0
        assert area.argmin() == pytest.approx(anatomy.systole * 30, abs=1.5)
        last = lengths(wall.mid)
        assert abs(last[-1] / last[0] - 1) < 0.01
        # The inner line keeps its direction along the wall: no folds.
        assert (np.diff(wall.inner, axis=1) * np.diff(wall.mid, axis=1)).sum(-1).min() > 0


def test_muscle_keeps_its_volume():
    for number in range(1, 31):
        anatomy, wall, _ = make_geometry(Options("4ch", 30, seed=4, frames=12), number)
        step = np.hypot(*np.moveaxis(np.diff(wall.mid, axis=1), -1, 0))
        bow = anatomy.bend * np.sin(np.pi * wall.mid[0, :, 1] / wall.mid[0, :, 1].max())
        around = np.abs(wall.mid[..., 0] - bow)
        ring = step * (around * wall.thickness)[:, 1:]
        volume = ring.sum(axis=1)
        assert np.abs(volume / volume[0] - 1).max() < 0.08
        assert wall.thickness[0].min() > anatomy.least_wall - 0.6


def test_kinds_move_as_they_should():
    found = {kind: [] for kind in KINDS}
    for number in range(1, 121):
        anatomy, wall, _ = make_geometry(Options("2ch", 120, seed=9, frames=20), number)
        found[anatomy.kind].append(
            (strain_percent(lengths(wall.inner)).min(), wall.thickness[0].mean(),
             strain_percent(wall.thickness.mean(1)).max(), np.ptp(wall.inner[0, :, 0]))
        )  # fmt: skip
    mean = {kind: np.mean(values, axis=0) for kind, values in found.items()}
    assert -22 < mean["normal"][0] < -16
    assert -12 < mean["dilated"][0] < -6
    assert mean["normal"][0] < mean["infarcted"][0] < -6
    assert mean["hypertrophic"][1] > mean["normal"][1] + 2
    assert mean["dilated"][3] > mean["normal"][3] + 10
    assert 25 < mean["normal"][2] < 60


def test_an_infarct_moves_less_than_the_rest():
    seen = 0
    for number in range(1, 41):
        anatomy, wall, _ = make_geometry(Options("4ch", 40, seed=6, frames=20), number)
        if anatomy.kind != "infarcted" or abs(anatomy.infarct_at) > 1.2:
            continue
        seen += 1
        systole = int(wall.activation.argmax())
        gain = wall.thickness[systole] / wall.thickness[0] - 1
        scar = np.abs(wall.phi - anatomy.infarct_at) < 0.3 * anatomy.infarct_width
        far = np.abs(wall.phi - anatomy.infarct_at) > 1.5 * anatomy.infarct_width
        assert gain[scar].mean() < 0.5 * gain[far].mean()
    assert seen >= 3


# Population


@pytest.mark.parametrize("view", VIEWS)
def test_walls_and_hearts_are_as_large_as_those_of_scans(view):
    """Wall thickness, cavity length over width of the image, opening over length: of scans."""
    walls, shares, openings = [], [], []
    for number in range(1, 81):
        anatomy, wall, _ = make_geometry(Options(view, 80, frames=4), number)
        walls.append(wall.thickness.mean())
        base = 0.5 * (wall.inner[:, 0] + wall.inner[:, -1])
        length = np.linalg.norm(wall.inner - base[:, None], axis=-1).max(axis=1)
        shares.extend(length / anatomy.field_of_view)
        openings.extend(np.linalg.norm(wall.inner[:, 0] - wall.inner[:, -1], axis=-1) / length)
    assert 6.9 < np.mean(walls) < 8.5
    assert 0.27 < np.mean(shares) < 0.34
    low, high = np.percentile(shares, [5, 95])
    assert 0.18 < low < 0.25
    assert 0.36 < high < 0.44
    assert 0.40 < np.mean(openings) < 0.54


def test_the_wall_thins_towards_the_apex():
    apex, middle = [], []
    for number in range(1, 41):
        anatomy, wall, _ = make_geometry(Options("4ch", 40, frames=2), number)
        if anatomy.kind == "normal":
            apex.append(wall.thickness[0, np.abs(wall.phi) < 0.2].mean())
            middle.append(wall.thickness[0, np.abs(np.abs(wall.phi) - 1.0) < 0.2].mean())
    assert np.mean(apex) < 0.9 * np.mean(middle)


def test_pictures_are_turned_by_quarters():
    seen = set()
    for number in range(1, 41):
        anatomy, wall, pose = make_geometry(Options("4ch", 40, frames=2), number)
        seen.add(anatomy.quarters)
        back = dataclasses.replace(pose, quarters=0)
        middle = 0.5 * (pose.size - 1)
        turned, plain = (p.to_pixels(p.to_scanner(wall.mid))[0] - middle for p in (pose, back))
        flip = -1.0 if pose.mirrored else 1.0
        angle = 0.5 * np.pi * flip * anatomy.quarters
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(turned, plain @ turn, atol=1e-9)
    assert seen == {0, 1, 2, 3}


# Pictures


def test_random_looks_keep_the_heart_and_change_the_signals():
    signals = []
    for number in range(1, 41):
        rng = [np.random.default_rng(number) for _ in range(2)]
        real, random = draw_tissue(rng[0]), draw_tissue(rng[1], "random")
        if random.texture[1] > 0.0:
            signals.append(random.blood - random.myocardium)
        else:
            assert random == real
    assert 12 <= len(signals) <= 28  # half of the patients
    assert min(signals) >= 0.1  # blood is the brighter one in every cine
    assert np.std(signals) > 0.1
    options = Options("4ch", 1, frames=2, size=64)
    pictures = [
        make_patient(dataclasses.replace(options, looks=looks), 1) for looks in ("real", "random")
    ]
    np.testing.assert_array_equal(pictures[0].masks, pictures[1].masks)
    np.testing.assert_array_equal(pictures[0].points, pictures[1].points)


@pytest.mark.parametrize("view", VIEWS)
def test_blood_is_brighter_than_muscle_and_muscle_brighter_than_air(view):
    for number in (1, 2, 3):
        options = Options(view, 3, seed=8, frames=3, size=128)
        patient = make_patient(options, number)
        _, wall, pose = make_geometry(options, number)
        middle = pose.to_pixels(pose.to_scanner(0.3 * wall.inner + [0.0, 15.0]))
        image, mask = patient.images[0].astype(float), patient.masks[0] > 0
        muscle = np.median(image[mask])
        blood = np.median(image[(fill(middle[0], image.shape) > 0.9) & ~mask])
        assert blood > 1.4 * muscle > 2.0 * np.percentile(image, 5)
        assert not np.array_equal(patient.images[0], patient.images[1])


def test_views_and_patients_differ():
    pictures = [make_patient(Options(v, 1, frames=2, size=64), n) for v in VIEWS for n in (1, 2)]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert not np.array_equal(first.masks, second.masks)
            assert not np.array_equal(first.images, second.images)


def test_spacing_scales_with_size_and_the_heart_stays():
    coarse = make_patient(Options("3ch", 1, frames=3, size=96), 1)
    fine = make_patient(Options("3ch", 1, frames=3, size=192), 1)
    np.testing.assert_allclose(coarse.truth["spacing_mm"], 2 * fine.truth["spacing_mm"])
    from_centre = [(p.points - (p.images.shape[1] - 1) / 2) for p in (coarse, fine)]
    np.testing.assert_allclose(2 * from_centre[0], from_centre[1], atol=1e-3)
    np.testing.assert_array_equal(coarse.truth["gls_endo"], fine.truth["gls_endo"])
    area = [p.masks.sum() * p.truth["spacing_mm"][0] ** 2 for p in (coarse, fine)]
    assert area[0] == pytest.approx(area[1], rel=0.05)


def test_the_wall_is_sampled_finely():
    _, wall, _ = make_geometry(Options("4ch", 1), 1)
    assert wall.phi.size == SAMPLES
    assert np.hypot(*np.diff(wall.outer[0], axis=0).T).max() < 1.0
