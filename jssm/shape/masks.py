"""The one rule that makes a boolean mask of a soft one, and many of them in little memory."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")

THRESHOLD = 0.5


def binarize(mask: Array) -> Array:
    """The boolean mask of a soft one: True strictly above 0.5 (NaN is False); any shape."""
    return mask > THRESHOLD


class PackedMasks:
    """Boolean masks (n, H, W) with eight pixels in a byte; ``masks[places]`` unpacks them."""

    def __init__(self, batches: Sequence[np.ndarray], width: int):
        """batches: of :meth:`pack`. width: W."""
        self._packed, self._width = np.concatenate(batches), width

    @staticmethod
    def pack(masks: np.ndarray) -> np.ndarray:
        """Masks (n, H, W), to be put together later."""
        return np.packbits(masks, axis=-1)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, places: Any) -> np.ndarray:
        return np.unpackbits(self._packed[places], axis=-1, count=self._width).view(bool)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[place] for place in range(len(self)))
