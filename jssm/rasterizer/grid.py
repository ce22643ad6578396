"""How the rasterizer cuts an image into square tiles, and those into square blocks.

Tiles are numbered block after block, so that a block's tiles follow one another. The image is
filled up to whole blocks below and to the right.
"""

from typing import Any

import jax
import numpy as np

TILE = 8  # pixels along a tile's side
PIXELS = TILE * TILE
BLOCK = 4  # tiles along a block's side
TILES = BLOCK * BLOCK

Vector = tuple[Any, Any]  # x and y


def size(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of tiles."""
    side = TILE * BLOCK
    return -(-shape[0] // side) * BLOCK, -(-shape[1] // side) * BLOCK


def count(shape: tuple[int, ...]) -> int:
    """How many tiles there are."""
    return int(np.prod(size(shape)))


def windows(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The shape of the image as windows: rows of tiles, of pixels in them, and columns of both."""
    rows, columns = size(shape)
    return rows, TILE, columns, TILE


def place(tiles: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The row and the column of tiles, given by their numbers."""
    columns = size(shape)[1] // BLOCK
    block, inner = tiles // TILES, tiles % TILES
    return block // columns * BLOCK + inner // BLOCK, block % columns * BLOCK + inner % BLOCK


def centers(tiles: Any, shape: tuple[int, ...]) -> Vector:
    """The centres (px) of tiles, given by their numbers."""
    row, column = (x.astype(np.float32) for x in place(tiles, shape))
    middle = (TILE - 1) / 2
    return column * TILE + middle, row * TILE + middle


def offsets(pixels: Any) -> Vector:
    """Where the pixels of these numbers lie, from the centre of their tile (px)."""
    row, column = (x.astype(np.float32) for x in (pixels // TILE, pixels % TILE))
    middle = (TILE - 1) / 2
    return column - middle, row - middle


def image_of(windows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Windows as the image (H, W)."""
    rows, columns = size(shape)
    return windows.reshape(rows * TILE, columns * TILE)[: shape[0], : shape[1]]


def by_tile(windows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Windows as the pixels (n, PIXELS) of each tile, by number."""
    rows, columns = size(shape)
    blocks = windows.reshape(rows // BLOCK, BLOCK, TILE, columns // BLOCK, BLOCK, TILE)
    return blocks.transpose(0, 3, 1, 4, 2, 5).reshape(-1, PIXELS)


def windows_of(pixels: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of :func:`by_tile`."""
    rows, columns = size(shape)
    blocks = pixels.reshape(rows // BLOCK, columns // BLOCK, BLOCK, BLOCK, TILE, TILE)
    return blocks.transpose(0, 2, 4, 1, 3, 5).reshape(windows(shape))
