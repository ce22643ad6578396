"""The volume of a cavity, from the points of its wall: by area and length, and by discs.

Lang et al., "Recommendations for cardiac chamber quantification by echocardiography in adults",
J Am Soc Echocardiogr 28, 2015.
Dodge et al., "The use of biplane angiocardiography for the measurement of left ventricular volume
in man", Am Heart J 60, 1960.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import struct

from jssm.cines.measures import Discs
from jssm.shape.vectors import cross, length_of, nonzero

if TYPE_CHECKING:
    from jssm.cines.measures import Motion

DISCS = 20


class Biplane(struct.PyTreeNode):
    """Volumes from two views: ml at end-diastole and end-systole, and the ejection fraction.

    length_difference_percent: of the long axes at end-diastole, against the longer; beyond 10 one
    view is probably foreshortened (Lang et al.).
    """

    ed_volume_ml: jax.Array
    es_volume_ml: jax.Array
    ejection_fraction_percent: jax.Array
    length_difference_percent: jax.Array


def biplane_simpson(two_chamber: "Motion", four_chamber: "Motion") -> Biplane:
    """Volumes of one patient from a 2ch and a 4ch cine, by the biplane method of discs.

    V = π/4 · Σ aᵢbᵢ · L/20, where a and b are the diameters of 20 discs in the two views and L is
    the longer of the long axes (Lang et al.). Each view has its own end-diastole and end-systole,
    so the two cines may differ in frames and heart rate. NaN without the spacing of both.
    """
    views = (two_chamber, four_chamber)
    return _biplane(*(Discs(*(getattr(m, name) for name in Discs._fields)) for m in views))


@jax.jit
def _biplane(two_chamber: Discs, four_chamber: Discs) -> Biplane:
    def volume(frame_2ch: jax.Array, frame_4ch: jax.Array) -> jax.Array:
        a, b = two_chamber.disc_diameters_mm[frame_2ch], four_chamber.disc_diameters_mm[frame_4ch]
        length = jnp.maximum(
            two_chamber.long_axis_mm[frame_2ch], four_chamber.long_axis_mm[frame_4ch]
        )
        return jnp.pi / 4 * jnp.sum(a * b) * length / DISCS / 1000

    diastole = volume(two_chamber.ed_frame, four_chamber.ed_frame)
    systole = volume(two_chamber.es_frame, four_chamber.es_frame)
    lengths = jnp.stack([m.long_axis_mm[m.ed_frame] for m in (two_chamber, four_chamber)])
    return Biplane(
        ed_volume_ml=diastole,
        es_volume_ml=systole,
        ejection_fraction_percent=100 * (1 - systole / nonzero(diastole)),
        length_difference_percent=100 * (1 - jnp.min(lengths) / nonzero(jnp.max(lengths))),
    )


def area_length_volume(area: jax.Array, length: jax.Array) -> jax.Array:
    """8A² / (3πL), of cavities with this area and long axis (...): their unit³ (Dodge et al.)."""
    return 8 * area**2 / (3 * jnp.pi * nonzero(length))


def cavity_area(inner: jax.Array) -> jax.Array:
    """The area () of the polygon of the inner points (P, 2), closed at the base; their unit²."""
    following = jnp.roll(inner, -1, axis=0)
    return jnp.abs(jnp.sum(cross(inner, following))) / 2


def cavity_discs(inner: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The long axis () of a cavity, inner points (P, 2), and the diameters (20,) of its discs.

    The axis runs from the middle of the base to the farthest inner point. A diameter is the width
    of the cavity, closed at the base, across the axis in the middle of its disc; from base to apex.
    """
    base = (inner[0] + inner[-1]) / 2
    apex = inner[jnp.argmax(jnp.sum((inner - base) ** 2, axis=-1))]
    length = length_of(apex - base)
    axis = (apex - base) / nonzero(length)
    along, side = jnp.sum((inner - base) * axis, axis=-1), cross(axis, inner - base)
    level = (jnp.arange(DISCS)[:, None] + 0.5) / DISCS * length
    next_along, next_side = jnp.roll(along, -1), jnp.roll(side, -1)
    # Where the outline passes a level upwards its side counts as +, downwards as −: the sum is the
    # width, whatever the shape.
    passes = (along <= level) * 1.0 - (next_along <= level) * 1.0
    share = (level - along) / jnp.where(along == next_along, 1.0, next_along - along)
    width = jnp.sum(jnp.where(passes != 0, passes * (side + share * (next_side - side)), 0.0), 1)
    return length, jnp.abs(width)
