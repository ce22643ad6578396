"""The six segments of a wall: their shares, their names, and what moves in them."""

import jax
import numpy as np
import pytest

from jssm.cines import measures, motion
from prep.phantom.motion import material_points
from prep.phantom.patient import Options, clockwise, make_geometry
from tests.moving import CENTER, SHAPE, T, reference_length

SHARES = jax.jit(motion.segment_shares)


def test_each_wall_is_cut_in_thirds_of_its_own_length():
    """An arm of 40 px to the apex, and one of 60 px back."""
    arms = np.array([[-5.0, 0], [0, -40], [5, 20]])
    left, right = (np.linspace(*arms[k : k + 2], 80) for k in (0, 1))
    shares = np.asarray(SHARES(np.float32(np.concatenate([left, right[1:]]))))
    lengths = np.linalg.norm(np.diff(arms, axis=0), axis=1)
    np.testing.assert_allclose(shares.sum(1), np.repeat(lengths / 3, 3), rtol=0.02)


def test_segments_divide_the_line_in_six():
    shares = np.asarray(SHARES(np.float32(SHAPE[: T // 2])))
    length = reference_length(SHAPE[: T // 2])
    np.testing.assert_allclose(shares.sum(1), length / 6, rtol=2e-3)
    np.testing.assert_allclose(
        shares.sum(0), np.linalg.norm(np.diff(SHAPE[: T // 2], axis=0), axis=1), rtol=1e-3
    )


def test_only_the_segment_that_shortens_has_strain():
    """A stiff ring, but the edges that lie wholly in its first sixth are pulled together."""
    shares = np.asarray(SHARES(np.float32(SHAPE[: T // 2])))
    edges = np.diff(SHAPE[: T // 2], axis=0)
    pulled = shares[0] > 0.999 * np.linalg.norm(edges, axis=1)
    moved = np.concatenate([[[0, 0]], np.cumsum(edges * (1 - 0.3 * pulled)[:, None], axis=0)])
    moved = np.concatenate([moved + SHAPE[0], SHAPE[T // 2 :]])
    found = motion.measure_motion(np.stack([SHAPE, SHAPE, SHAPE, moved]) + CENTER, ed_frame=0)
    expected = -30 * shares[0][pulled].sum() / shares[0].sum()
    assert expected < -20
    np.testing.assert_allclose(
        found.endo.segment_peak_percent, [expected, 0, 0, 0, 0, 0], atol=1e-3
    )


def test_segment_names():
    assert motion.segment_names("4ch")[:3] == (
        *("basal inferoseptal", "mid inferoseptal", "apical inferoseptal"),
    )
    assert motion.segment_names("2ch")[-1] == "basal anterior"
    for view in measures.WALLS:
        assert motion.segment_names(view, mirrored=True) == motion.segment_names(view)[::-1]
    with pytest.raises(ValueError, match="view is 'sax'"):
        motion.segment_names("sax")


def test_a_scar_shows_in_its_segment():
    options = Options("4ch", 40, seed=5, frames=20, size=128)
    for number in range(1, 40):
        anatomy, wall, pose = make_geometry(options, number)
        middle = abs(anatomy.infarct_at) > 0.5
        if anatomy.kind == "infarcted" and anatomy.infarct > 0.8 and middle:
            break
    points = pose.to_pixels(pose.to_scanner(material_points(wall, 88)))
    order = slice(None, None, -1 if pose.mirrored else 1)
    found = motion.measure_motion(clockwise(points), ed_frame=0)
    peaks = np.asarray(found.mid.segment_peak_percent)[order]
    at_left = anatomy.infarct_at < 0
    assert (int(np.argmax(peaks)) < 3) == at_left
