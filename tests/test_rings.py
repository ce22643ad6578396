"""Motion, strain and volumes of short-axis slices, against circles and the phantom's truth."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jssm
from jssm import __main__ as command
from jssm.cines.rings import sector_shares
from prep.phantom.patient import Options, make_geometry, truth_fields
from prep.phantom.short_axis import material_points
from tests import dicom_files, predicting
from tests.rings import ring

RADII = np.array([20.0, 17.0, 12.0, 18.0])  # of the inner circle over time, px
OUTER = np.array([28.0, 26.5, 25.0, 27.0])
POINTS = np.stack([
    ring(60, centre=(50, 50), inner=r, outer=s, start=np.deg2rad(-120) + 0.05 * k)
    for k, (r, s) in enumerate(zip(RADII, OUTER, strict=True))
])  # fmt: skip
SPACING = 1.5


@pytest.fixture(scope="module")
def motion():
    return jssm.measure_ring(POINTS, spacing_mm=(SPACING, SPACING), frame_time_s=0.1)


def test_strains_of_circles_are_those_of_their_radii(motion):
    percent = 100 * (RADII / 20 - 1)
    np.testing.assert_allclose(motion.endo.strain_percent, percent, atol=1e-3)
    np.testing.assert_allclose(motion.epi.strain_percent, 100 * (OUTER / 28 - 1), atol=1e-3)
    middle = (RADII + OUTER) / 2
    np.testing.assert_allclose(motion.mid.strain_percent, 100 * (middle / 24 - 1), atol=1e-3)
    assert float(motion.endo.gcs_percent) == pytest.approx(-40, abs=1e-3)
    assert float(motion.endo.gcs_end_systole_percent) == pytest.approx(-40, abs=1e-3)
    assert float(motion.endo.time_to_peak_s) == pytest.approx(0.2)
    length = 60 * 2 * 20 * np.sin(np.pi / 60) * SPACING
    assert float(motion.endo.length_mm[0]) == pytest.approx(length, rel=1e-5)
    # Every part of a circle that stays one is strained alike, however it turns.
    of_segments = motion.mid.segment_strain_percent
    np.testing.assert_allclose(of_segments, motion.mid.strain_percent[:, None] + 0 * of_segments,
                               atol=0.01)  # fmt: skip


def test_thickness_areas_and_their_changes(motion):
    apothem = OUTER * np.cos(np.pi / 60)
    np.testing.assert_allclose(motion.mean_thickness_px, apothem - RADII * np.cos(np.pi / 60),
                               atol=0.01)  # fmt: skip
    assert float(motion.radial_peak_percent) == pytest.approx(100 * (13 / 8 - 1), abs=0.2)
    # Of a polygon of 60 corners, almost πr².
    polygon = 30 * np.sin(2 * np.pi / 60)
    np.testing.assert_allclose(motion.cavity_area_px2, polygon * RADII**2, rtol=1e-5)
    assert polygon == pytest.approx(np.pi, rel=2e-3)
    wall = polygon * (OUTER**2 - RADII**2) * SPACING**2
    np.testing.assert_allclose(motion.wall_area_mm2, wall, rtol=1e-5)
    assert float(motion.area_change_percent) == pytest.approx(100 * (1 - (12 / 20) ** 2), abs=1e-3)
    assert (int(motion.ed_frame), int(motion.es_frame)) == (0, 2)


def test_segments_are_sectors_from_the_first_point():
    """The wall is thicker in the third quarter of the circle, clockwise from the first point."""
    points = POINTS.copy()
    away = points[:, 60:] - 50
    points[:, 60:][:, 30:45] = 50 + 1.2 * away[:, 30:45]
    six = jssm.measure_ring(points).segment_thickness_mm
    assert np.isnan(six).all()
    six = np.asarray(jssm.measure_ring(points, spacing_mm=(1, 1)).segment_thickness_mm[0])
    assert set(np.argsort(six)[-2:]) == {3, 4}  # 180° to 300°; the quarter is 180° to 270°
    assert six[3] > six[4] > six[[0, 1]].max() + 1
    four = jssm.measure_ring(points, spacing_mm=(1, 1), num_segments=4).segment_thickness_mm[0]
    assert int(np.argmax(four)) == 2
    assert jssm.ring_segment_names(num_segments=6)[3] == "inferior"
    assert jssm.ring_segment_names(num_segments=4)[3] == "septal"
    with pytest.raises(ValueError, match="expected 6 or 4"):
        jssm.measure_ring(points, num_segments=5)


@pytest.mark.parametrize("before", [0.0, 1 / 24])
@pytest.mark.parametrize("way", [1, -1])
def test_sectors_share_the_whole_line(before, way):
    loop = ring(23, centre=(0, 0))[:23] * (1, way)
    line = jnp.asarray(np.concatenate([loop, loop[:1]]))
    shares = np.asarray(
        sector_shares(line, centre=jnp.zeros(2), first=line[0] * 2, count=4, before=before)
    )
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    np.testing.assert_allclose(shares.sum(axis=0), lengths, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=1), lengths.sum() / 4, rtol=1e-3)
    assert shares[0, 0] == pytest.approx(lengths[0], rel=1e-5)
    assert (shares[0, -1] > 0) == (before > 0)


def test_unused_frames_gradients_and_anisotropic_pixels(motion):
    bad = POINTS.copy()
    bad[1] = 0
    used = np.array([True, False, True, True])
    found = jssm.measure_ring(bad, spacing_mm=(SPACING, SPACING), used=used)
    np.testing.assert_allclose(found.mid.strain_percent[used], motion.mid.strain_percent[used],
                               atol=1e-3)  # fmt: skip
    assert np.isnan(found.mid.strain_percent[1])
    flat = jssm.measure_ring(POINTS * (2.0, 1.0), spacing_mm=(SPACING, SPACING / 2))
    np.testing.assert_allclose(flat.cavity_area_mm2, motion.cavity_area_mm2, rtol=1e-5)
    np.testing.assert_allclose(flat.endo.strain_percent, motion.endo.strain_percent, atol=1e-3)
    slope = jax.grad(lambda p: jssm.measure_ring(p).mid.gcs_percent)(jnp.asarray(POINTS))
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_volumes_by_slices_of_a_cylinder_and_a_half_ellipsoid():
    slices = [jssm.measure_ring(POINTS, spacing_mm=(SPACING, SPACING)) for _ in range(5)]
    found = jssm.volumes_by_slices(slices, spacing_mm=8.0)
    expected = 5 * 8 * 30 * np.sin(2 * np.pi / 60) * (RADII * SPACING) ** 2 / 1000
    np.testing.assert_allclose(found.volume_ml, expected, rtol=1e-5)
    assert float(found.ejection_fraction_percent) == pytest.approx(64, abs=1e-3)
    # Half an ellipsoid, 80 mm long, of radius 25 mm: ⅔πr²·L, cut in the middle of 10 slices.
    heights = (np.arange(10) + 0.5) / 10
    radii = 25 * np.sqrt(1 - heights**2)
    stack = [
        jssm.measure_ring(
            np.stack([ring(60, inner=k * r, outer=r + 8) for k in (1.0, 0.9, 0.8, 0.9)]),
            spacing_mm=(1, 1),
        )
        for r in radii
    ]
    found = jssm.volumes_by_slices(stack, spacing_mm=8.0)
    exact = 2 / 3 * np.pi * 25**2 * 80 / 1000
    assert float(found.volume_ml[0]) == pytest.approx(exact, rel=0.004)
    assert float(found.ejection_fraction_percent) == pytest.approx(36, abs=0.01)
    short = replace(stack[0], cavity_area_mm2=stack[0].cavity_area_mm2[:2])
    with pytest.raises(ValueError, match="as many frames"):
        jssm.volumes_by_slices([slices[0], short], spacing_mm=8.0)


@pytest.mark.parametrize("view", ["sax_basal", "sax_apical"])
def test_a_phantoms_strain_is_found_from_its_points(view):
    options = Options(view, 9, seed=2, frames=4, size=96)
    anatomy, wall, pose = make_geometry(options, 3)
    points = pose.to_pixels(pose.to_scanner(material_points(wall, 120)))
    truth = truth_fields(anatomy, wall, pose, points)
    found = jssm.measure_ring(points, spacing_mm=truth["spacing_mm"])
    for name in ("endo", "mid", "epi"):
        strain = getattr(found, name).strain_percent
        np.testing.assert_allclose(strain, truth[f"gcs_{name}"], atol=0.4)
    np.testing.assert_allclose(found.cavity_area_mm2, truth["cavity_area_mm2"], rtol=0.01)


# What ``jssm predict`` writes of a ring


def test_predict_writes_the_measures_of_a_ring(tmp_path, small_model, capsys):
    canonical = ring(4, centre=(0, 0), inner=0.7, outer=1.2)
    shape = small_model.shape.replace(mean=jnp.asarray(canonical, jnp.float32), closed=True)
    run = predicting.write_run(tmp_path / "tiny", small_model.replace(shape=shape))
    assert jssm.load(run).shape.closed
    dicom_files.write_cine(tmp_path / "scan", view="sax", frames=2, change=predicting.place)
    words = ["predict", tmp_path / "scan", "--ckpt", run, "--view", "sax", "--out", tmp_path / "o"]
    assert command.main([*map(str, words), "--jobs", "0", "--batch-size", "2"]) == 0, capsys
    (folder,) = (path.parent for path in (tmp_path / "o").glob("*/summary.json"))
    summary = json.loads((folder / "summary.json").read_text())
    assert {"gcs_mid_percent", "area_change_percent", "ed_wall_area_mm2"} <= summary.keys()
    assert not [name for name in summary if name.startswith("gls") or "volume" in name]
    assert [s["name"] for s in summary["segments"]] == list(jssm.ring_segment_names())
    assert any("neither a page" in warning for warning in summary["warnings"])
    written = {path.name for path in folder.iterdir()}
    assert {"mask.nii.gz", "mask.seg.dcm", "points.pvd", "curves.csv", "curves.png"} <= written
    assert not {"report.json", "report.sr.dcm"} & written
    assert "wall_area_mm2" in (folder / "curves.csv").read_text().splitlines()[0]
    mesh = (folder / "vtk" / "frame_00.vtp").read_text()
    assert 'NumberOfPolys="8"' in mesh
    assert not list((tmp_path / "o").glob("*_report.html"))
