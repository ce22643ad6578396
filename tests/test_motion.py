"""Motion and strain against analytic motions, a float64 reference and the phantom's truth."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssm.cines import motion
from jssm.shape import affine
from prep.phantom.motion import material_points
from prep.phantom.patient import Options, clockwise, make_geometry, truth_fields
from tests.moving import CENTER, SHAPE, F, T, cine, reference_length, turn


def test_rigid_motion_gives_no_strain():
    points = np.stack(
        [SHAPE @ turn(0.4 * k).T + CENTER + np.array([3.0 * k, -2.0 * k]) for k in range(F)]
    )
    found = motion.measure_motion(points.astype(np.float32), spacing_mm=(1.3, 1.3), ed_frame=0)
    for line in (found.endo, found.mid, found.epi):
        assert np.abs(line.strain_percent).max() / 100 < 1e-6
        assert np.abs(line.gls_percent) / 100 < 1e-6
    assert np.abs(found.radial_strain_percent).max() / 100 < 1e-6
    assert np.abs(found.endo.segment_strain_percent).max() / 100 < 1e-5
    assert np.abs(found.ejection_fraction_percent) / 100 < 1e-5


def test_rigid_motion_is_exact_to_the_last_digits_in_double_precision():
    points = np.stack([SHAPE @ turn(0.7 * k).T + CENTER + 2 * k for k in range(F)])
    with jax.enable_x64(True):
        found = motion.measure_motion(jnp.asarray(points), ed_frame=0)
        strains = [found.endo.segment_strain_percent, found.mid.strain_percent,
                   found.local_radial_strain_percent]  # fmt: skip
        assert max(float(jnp.abs(s).max()) for s in strains) < 1e-10


def test_a_uniform_stretch_gives_its_value():
    found = motion.measure_motion(
        cine(1.0, 0.9, 0.8, 0.9), spacing_mm=(1.5, 1.5), frame_time_s=0.04
    )
    expected = [0, -10, -20, -10]
    for line in (found.endo, found.mid, found.epi):
        np.testing.assert_allclose(line.strain_percent, expected, atol=1e-4)
        for segment in np.asarray(line.segment_strain_percent).T:
            np.testing.assert_allclose(segment, expected, atol=2e-4)
        np.testing.assert_allclose(line.gls_end_systole_percent, -20, atol=1e-4)
        np.testing.assert_allclose(line.time_to_peak_s, 0.08, rtol=1e-5)
    np.testing.assert_allclose(found.radial_strain_percent, expected, atol=1e-4)
    np.testing.assert_allclose(found.ejection_fraction_percent, 100 * (1 - 0.8**3), atol=1e-3)
    assert (int(found.ed_frame), int(found.es_frame)) == (0, 2)
    np.testing.assert_allclose(
        found.endo.length_mm[0], 1.5 * reference_length(SHAPE[: T // 2]), rtol=1e-5
    )


def test_lines_of_a_ring_that_thickens_inwards():
    """The outer line keeps its length; inner and mid shorten with their radii."""
    frames = [np.concatenate([SHAPE[: T // 2] * s, SHAPE[T // 2 :]]) for s in (1.0, 0.9, 0.8, 0.9)]
    found = motion.measure_motion(np.stack(frames) + CENTER)
    np.testing.assert_allclose(found.epi.gls_percent, 0, atol=1e-4)
    np.testing.assert_allclose(found.endo.gls_percent, -20, atol=1e-3)
    assert -20 < found.mid.gls_percent < 0
    assert found.radial_peak_percent > 30


def test_displacement_and_velocity_of_a_turning_shape():
    angle = 2 * np.pi * np.arange(F) / F
    points = SHAPE + CENTER + 5 * np.stack([np.cos(angle), np.sin(angle)], -1)[:, None]
    found = motion.measure_motion(points, spacing_mm=(2, 2), frame_time_s=0.1, ed_frame=0)
    shift = points - points[0]
    np.testing.assert_allclose(found.displacement_px, shift, atol=1e-4)
    np.testing.assert_allclose(found.displacement_mm, 2 * shift, atol=1e-4)
    central = (np.roll(points, -1, 0) - np.roll(points, 1, 0)) / 0.2
    np.testing.assert_allclose(found.velocity_px_per_s, central, atol=1e-3)
    np.testing.assert_allclose(found.velocity_mm_per_s, 2 * central, atol=1e-3)
    open_ended = motion.measure_motion(points, frame_time_s=0.1, periodic=False)
    np.testing.assert_allclose(
        open_ended.velocity_px_per_s, np.gradient(points, 0.1, axis=0), atol=1e-3
    )


def test_anisotropic_pixels_change_nothing_in_mm():
    """A cine squeezed into pixels of 1 × 2 mm, turning by 90° so that the axes swap."""
    frames = np.stack(
        [s * SHAPE @ turn(a).T for s, a in ((1, 0), (0.9, 0.8), (0.8, 1.6), (0.9, 0))]
    )
    square = motion.measure_motion(frames + 80, spacing_mm=(1.0, 1.0))
    squeezed = motion.measure_motion(frames / [2, 1] + 80, spacing_mm=(1.0, 2.0))
    for name in ("displacement_mm", "wall_thickness_mm", "cavity_area_mm2", "volume_ml",
                 "disc_diameters_mm", "ejection_fraction_percent"):  # fmt: skip
        np.testing.assert_allclose(
            getattr(squeezed, name), getattr(square, name), rtol=1e-4, atol=1e-3
        )
    np.testing.assert_allclose(squeezed.endo.gls_percent, -20, atol=1e-3)


@pytest.mark.parametrize(
    ("refused", "ed", "strain"), [(1, 0, [0, np.nan, -20, -10]), (0, 1, [np.nan, 0, -100 / 9, 0])]
)
def test_frames_that_are_not_used_take_no_part(refused, ed, strain):
    """Not even where they would be the largest or the smallest; their own numbers are unknown."""
    points = cine(1.0, 0.9, 0.8, 0.9)
    points[refused] = CENTER + 3 * (points[refused] - CENTER)
    used = np.arange(F) != refused
    found = motion.measure_motion(points, used=used, spacing_mm=(1.5, 1.5), frame_time_s=0.04)
    assert (found.ed_frame, found.es_frame) == (ed, 2)
    np.testing.assert_allclose(found.mid.strain_percent, strain, atol=1e-3)
    assert found.endo.gls_percent == pytest.approx(np.nanmin(strain), abs=1e-3)
    assert found.radial_peak_percent == pytest.approx(0, abs=1e-3)
    share = (0.8 / [1.0, 0.9][ed]) ** 3
    assert found.ejection_fraction_percent == pytest.approx(100 * (1 - share), 1e-3)
    assert np.isnan(found.wall_thickness_mm[refused]).all()
    nothing = motion.measure_motion(
        points, used=np.zeros(F, bool), spacing_mm=(1.5, 1.5), frame_time_s=0.04
    )
    assert np.isnan([nothing.ejection_fraction_percent, nothing.endo.gls_percent]).all()


def test_without_spacing_lengths_in_mm_are_nan_and_the_rest_is_not():
    known = motion.measure_motion(cine(1, 0.9, 0.8, 0.9), spacing_mm=(1.4, 1.4), frame_time_s=0.03)
    for spacing in (motion.UNKNOWN, (1.4, np.nan), (0.0, 1.4)):
        found = motion.measure_motion(cine(1, 0.9, 0.8, 0.9), spacing_mm=spacing)
        for part in (found, found.endo, found.mid, found.epi):
            for name, value in vars(part).items():
                if "_mm" in name or "_ml" in name or name.endswith("_s"):
                    assert np.isnan(value).all(), name
                elif not isinstance(value, motion.LineStrain):
                    assert np.isfinite(value).all(), name
        np.testing.assert_allclose(found.mid.strain_percent, known.mid.strain_percent)
        np.testing.assert_allclose(found.ejection_fraction_percent, known.ejection_fraction_percent)


def test_times_go_round_the_cycle():
    points = cine(0.8, 0.9, 1.0, 0.95)
    found = motion.measure_motion(points, frame_time_s=0.1)
    assert (int(found.ed_frame), int(found.es_frame)) == (2, 0)
    np.testing.assert_allclose(found.endo.time_to_peak_s, 0.2, rtol=1e-6)
    given = motion.measure_motion(points, frame_time_s=0.1, ed_frame=1)
    np.testing.assert_allclose(given.endo.strain_percent, [-100 / 9, 0, 100 / 9, 50 / 9], rtol=1e-3)


def test_the_peak_need_not_be_at_end_systole():
    """The second cavity is the smallest, but narrow and long; the third has the shortest wall."""
    found = motion.measure_motion(cine(1.0, np.diag([0.6, 1.2]), 0.85, 0.95), frame_time_s=0.1)
    assert (int(found.ed_frame), int(found.es_frame)) == (0, 1)
    for line in (found.endo, found.mid, found.epi):
        np.testing.assert_allclose(line.gls_percent, -15, rtol=1e-3)
        np.testing.assert_allclose(line.time_to_peak_s, 0.2, rtol=1e-6)
        assert line.gls_end_systole_percent == line.strain_percent[1] > -10


UNTOLD = [np.nan] * 4


@pytest.mark.parametrize(
    ("area", "from_trigger", "frame"),
    [
        ([99.5, 60, 80, 100], UNTOLD, 3),  # nothing but the areas
        ([99.5, 60, 80, 100], [0, 1, 2, 1], 0),  # as large but for 1.25 % of the stroke
        ([99.1, 60, 80, 100], [0, 1, 2, 1], 3),  # smaller by 2.25 %
        ([60, 99.5, 100, 99.5], [2, 1, 0, 1], 2),
        ([np.nan, 60, 99.5, 100], [0, 1, 2, 1], 3),  # the first is not to count
        ([99.5, 60, 80, 100], [np.nan, 1, 2, 1], 3),
        ([99.5, 60, 80, 100], [np.nan, 1, 2, np.nan], 3),  # of none of those that are as large
        ([70, 70, 70, 70], [3, 1, 2, 1], 1),
    ],
)
def test_the_trigger_decides_between_cavities_that_are_as_large(area, from_trigger, frame):
    assert motion.end_diastole(np.array(area), np.array(from_trigger)) == frame


def test_a_cine_whose_trigger_is_told_begins_there():
    points = cine(0.999, 0.8, 0.9, 1.0)
    assert motion.measure_motion(points).ed_frame == 3
    found = motion.measure_motion(points, from_trigger=np.array([0.0, 0.04, 0.08, 0.04]))
    assert found.ed_frame == 0
    np.testing.assert_allclose(found.mid.gls_percent, 100 * (0.8 / 0.999 - 1), rtol=1e-4)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("moved", [0, 1])
def test_end_diastole_and_end_systole_lie_between_frames(periodic, moved):
    """At the tops of parabolas in the area: at 1.2 and 4.7 frames, or as far into a cine that
    begins later."""
    frame = np.arange(8.0)
    area = np.select(
        [frame <= 2, (frame >= 4) & (frame <= 6)],
        [1 - 0.05 * (frame - 1.2) ** 2, 0.4 + 0.05 * (frame - 4.7) ** 2], 0.7,
    )  # fmt: skip
    found = motion.measure_motion(
        cine(*np.roll(np.sqrt(area), moved)), frame_time_s=0.1, periodic=periodic
    )
    np.testing.assert_allclose(found.end_diastole_s, 0.12 + 0.1 * moved, rtol=1e-3)
    np.testing.assert_allclose(found.end_systole_s, 0.35, rtol=1e-3)


def test_an_end_diastole_that_is_no_summit_is_where_it_is_told():
    points = cine(0.8, 0.9, 1.0, 0.9)
    found = motion.measure_motion(points, ed_frame=0, frame_time_s=0.1)
    assert found.end_diastole_s == 0
    np.testing.assert_allclose(found.end_systole_s, 0, atol=1e-7)


def test_measures_agree_with_a_float64_reference_on_noisy_shapes():
    noise = np.random.default_rng(0).normal(size=(F, T, 2))
    points = SHAPE * (1 + 0.1 * np.sin(np.arange(F)))[:, None, None] + 0.3 * noise + CENTER
    found = motion.measure_motion(points, spacing_mm=(1.2, 1.5))
    mm = points * [1.5, 1.2]
    inner, outer = mm[:, : T // 2], mm[:, T // 2 :]
    for line, curve in ((found.endo, inner), (found.epi, outer)):
        lengths = np.array([reference_length(c) for c in curve])
        np.testing.assert_allclose(line.length_mm, lengths, rtol=1e-5)
        ed = int(found.ed_frame)
        np.testing.assert_allclose(
            line.strain_percent, 100 * (lengths / lengths[ed] - 1), atol=1e-3
        )
    thickness = [[reference_distance(p, o) for p in i] for i, o in zip(inner, outer, strict=True)]
    np.testing.assert_allclose(found.wall_thickness_mm, thickness, rtol=1e-4)
    closed = np.concatenate([inner, inner[:, :1]], axis=1)
    area = 0.5 * np.abs(
        (closed[:, :-1, 0] * closed[:, 1:, 1] - closed[:, 1:, 0] * closed[:, :-1, 1]).sum(1)
    )
    np.testing.assert_allclose(found.cavity_area_mm2, area, rtol=1e-4)


def reference_distance(point, chain):
    best = np.inf
    for a, b in pairwise(chain):
        share = np.clip((point - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = min(best, np.linalg.norm(point - a - share * (b - a)))
    return best


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_the_phantoms_truth_is_met_from_its_true_points(view):
    for number in range(1, 9):
        options = Options(view, 8, seed=5, frames=20, size=128)
        anatomy, wall, pose = make_geometry(options, number)
        points = clockwise(pose.to_pixels(pose.to_scanner(material_points(wall, 88))))
        truth = truth_fields(anatomy, wall, pose, points)
        found = motion.measure_motion(points, spacing_mm=truth["spacing_mm"], frame_time_s=0.05)
        for name in ("endo", "mid", "epi"):
            line, true = getattr(found, name), truth[f"gls_{name}"]
            assert abs(float(line.gls_percent) - true.min()) < 0.5
            assert np.abs(line.strain_percent - true).max() < 0.5
        error_mm = np.abs(found.wall_thickness_mm - truth["wall_thickness_mm"])
        assert error_mm.mean() < 0.2
        assert (int(found.ed_frame), int(found.es_frame)) == (0, truth["end_systole"])


def everything(points, spacing_mm=(1.1, 1.3)):
    """A scalar that depends on every differentiable measure."""
    found = motion.measure_motion(points, spacing_mm=spacing_mm, frame_time_s=0.05)
    return sum(jnp.sum(jnp.sin(v)) for v in jax.tree.leaves(found) if v.dtype == jnp.float32)


def test_gradients_are_finite_even_where_points_coincide():
    gradient = jax.jit(jax.grad(everything))
    sound = cine(1, 0.9, 0.8, 0.9)
    folded = sound.copy()
    folded[:, 3:6] = folded[:, 3:4]
    folded[2, T // 2 :] = folded[1, : T // 2]
    for points in (sound, folded, np.zeros_like(sound), cine(1, 1, 1, 1)):
        assert np.isfinite(gradient(points)).all()
    assert np.abs(gradient(sound)).max() > 0


def test_the_gradient_is_that_of_finite_differences():
    points, direction = cine(1, 0.9, 0.85, 0.9), np.random.default_rng(1).normal(size=(F, T, 2))

    def gls(points):
        return motion.measure_motion(points, spacing_mm=(1.1, 1.3)).mid.gls_percent

    with jax.enable_x64(True):
        points, direction = jnp.asarray(points, float), jnp.asarray(direction, float)
        slope = float(jnp.sum(jax.grad(gls)(points) * direction))
        step = 1e-5
        by_difference = float(gls(points + step * direction) - gls(points - step * direction))
        np.testing.assert_allclose(slope, by_difference / (2 * step), rtol=1e-4)


def test_under_vmap_each_cine_is_measured_alone():
    cines = np.stack([cine(1, 0.9, 0.8, 0.9), cine(0.7, 1, 0.9, 0.8)])
    spacing = np.array([[1.0, 1.0], [1.5, 1.2]], np.float32)
    many = jax.vmap(lambda p, s: motion.measure_motion(p, spacing_mm=s))(cines, spacing)
    for k in range(2):
        one = motion.measure_motion(cines[k], spacing_mm=spacing[k])
        jax.tree.map(
            lambda a, b, k=k: np.testing.assert_allclose(a[k], b, rtol=1e-4, atol=1e-3), many, one
        )


def test_smoothing_keeps_slow_motion_and_takes_out_noise():
    phase = 2 * np.pi * np.arange(30) / 30
    slow = np.stack([np.cos(phase), 3 + np.sin(3 * phase)], axis=1).astype(np.float32)
    np.testing.assert_allclose(motion.smooth_cycle(slow, harmonics=3), slow, atol=1e-6)
    for frames in (7, 8):
        odd = np.random.default_rng(0).normal(size=(frames, 2, 3)).astype(np.float32)
        np.testing.assert_allclose(motion.smooth_cycle(odd, harmonics=4), odd, atol=1e-6)
    noise = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    assert np.std(motion.smooth_cycle(noise, harmonics=3)) < 0.6
    np.testing.assert_allclose(motion.smooth_cycle(noise, harmonics=0)[5], noise.mean(0), atol=1e-6)


def test_smoothed_points_stay_within_the_shape_model(small_shape):
    rng = np.random.default_rng(0)
    theta = np.eye(2, 3, dtype=np.float32) * 8 + rng.normal(size=(10, 2, 3)).astype(np.float32)
    beta = (
        np.tile(np.asarray(small_shape.limits), (10, 1))
        * np.where(np.arange(10) < 5, 1, -1)[:, None]
    )
    points = motion.smooth_points(small_shape, theta, beta, harmonics=2)
    smooth_theta = motion.smooth_cycle(theta, harmonics=2)
    canonical = affine.apply(affine.invert(smooth_theta), points)
    found = jax.vmap(small_shape.project)(canonical)
    assert (np.abs(found) <= np.asarray(small_shape.limits) * (1 + 1e-4)).all()
    same = motion.smooth_points(small_shape, theta, beta, harmonics=5)
    np.testing.assert_allclose(
        same, affine.apply(theta, jax.vmap(small_shape.deform)(beta)), atol=1e-4
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [((T, 2), "F, T, 2"), ((1, T, 2), "F >= 2"), ((3, T, 3), "F, T, 2"), ((3, 7, 2), "T even"),
     ((3, 4, 2), "T >= 6")],
)  # fmt: skip
def test_other_shapes_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        motion.measure_motion(np.zeros(shape))


def test_a_point_that_is_not_a_number_gives_no_strain():
    points = np.array(cine(np.eye(2), 0.9 * np.eye(2), 0.8 * np.eye(2)))
    points[1, 3] = np.nan
    found = motion.measure_motion(points)
    assert all(np.isnan(getattr(found, name).gls_percent) for name in ("endo", "mid", "epi"))
    assert np.isnan(found.radial_peak_percent)


@pytest.mark.parametrize("ed_frame", [4, 99, -1, 0.5])
def test_an_end_diastole_beyond_the_cine_is_refused(ed_frame):
    points = jnp.asarray(np.stack([SHAPE] * 4) + CENTER)
    with pytest.raises(ValueError, match="expected 0 to 3"):
        motion.measure_motion(points, ed_frame=ed_frame)
    traced = jax.jit(lambda frame: motion.measure_motion(points, ed_frame=frame))(jnp.array(4))
    assert np.isnan(traced.ejection_fraction_percent)


def test_pixels_of_a_known_aspect_and_unknown_size_give_the_same_strain():
    rng = np.random.default_rng(0)
    points = np.stack([SHAPE * scale for scale in (1, 0.9, 0.8)]) + CENTER
    points = points + rng.normal(scale=0.1, size=points.shape)
    for step in (0.0, -1.0):
        assert np.isnan(motion.measure_motion(points, frame_time_s=step).endo.time_to_peak_s)
    square = motion.measure_motion(points)
    flat = motion.measure_motion(points / [1, 1.25], aspect=1.25)
    np.testing.assert_allclose(
        flat.endo.segment_strain_percent, square.endo.segment_strain_percent, atol=1e-3
    )
    np.testing.assert_allclose(
        flat.ejection_fraction_percent, square.ejection_fraction_percent, rtol=1e-4
    )
    assert np.isnan(flat.volume_ml).all()
