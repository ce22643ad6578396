"""What the certificate of a shape says, as plain data; :mod:`jssm.shape.integrity` gives it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class Integrity:
    """What is wrong with one shape (or, under vmap, with each of a batch).

    flipped_triangles: int, strip triangles turned against the shape's majority, or without area.
    crossings: int, proper crossings between edges of the closed outline.
    min_thickness_px: float, the smallest distance between the inner and the outer chain, in px;
        0 where they cross.
    ok: bool, finite points, nothing flipped, nothing crossed, and a thickness above 0.
    """

    flipped_triangles: "jax.Array"
    crossings: "jax.Array"
    min_thickness_px: "jax.Array"
    ok: "jax.Array"
