"""Volumes against half ellipsoids."""

from dataclasses import replace

import jax
import numpy as np

from jssm.cines import motion, volumes
from tests.moving import turn


def half_ellipse(radius, length, half=400):
    """Inner points (half, 2) of a cavity with a straight base, apex up."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, half)
    return np.stack([radius * np.sin(angle), -length * np.cos(angle)], axis=1)


def test_volumes_of_half_ellipsoids():
    """Half of an ellipsoid: 2/3 π a b L; its plane has the area π a L / 2."""

    def measured(radius, scale=1.0, **options):
        inner = half_ellipse(radius, 80)
        points = np.concatenate([inner, 1.2 * inner])
        return motion.measure_motion(np.stack([points, scale * points]) + 100, **options)

    spacing = {"spacing_mm": (1.0, 1.0)}
    two, four = measured(25, 0.8, **spacing), measured(20, 0.8, **spacing)
    np.testing.assert_allclose(two.cavity_area_mm2[0], np.pi * 25 * 80 / 2, rtol=1e-4)
    np.testing.assert_allclose(two.volume_ml[0], 2 / 3 * np.pi * 25**2 * 80 / 1000, rtol=2e-3)
    found = volumes.biplane_simpson(two, four)
    np.testing.assert_allclose(found.ed_volume_ml, 2 / 3 * np.pi * 25 * 20 * 80 / 1000, rtol=5e-3)
    np.testing.assert_allclose(found.ejection_fraction_percent, 48.8, atol=0.01)
    np.testing.assert_allclose(found.length_difference_percent, 0, atol=1e-3)
    backwards = replace(  # another cine: end-systole comes first, and the axis is longer
        four, ed_frame=four.es_frame, es_frame=four.ed_frame,
        long_axis_mm=1.25 * four.long_axis_mm[::-1], disc_diameters_mm=four.disc_diameters_mm[::-1],
    )  # fmt: skip
    other = volumes.biplane_simpson(two, backwards)
    np.testing.assert_allclose(other.ed_volume_ml, 1.25 * found.ed_volume_ml, rtol=1e-5)
    np.testing.assert_allclose(other.es_volume_ml, 1.25 * found.es_volume_ml, rtol=1e-5)
    np.testing.assert_allclose(other.length_difference_percent, 20, atol=1e-3)
    turned = jax.jit(volumes.cavity_discs)(half_ellipse(20, 80) @ turn(1.0).T)[1]
    np.testing.assert_allclose(turned, four.disc_diameters_mm[0], atol=2e-2)
