"""What composed scenes are computed with: areas, bilinear weights and grey levels, on integers throughout.

Integers are held as float64 where matrices are multiplied: products stay below 2^53, so that the fast product is exact.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# 16 grey levels keep a committed sample small; 17 = 255 / 15 spreads them over the whole range.
LEVEL_WIDTH, LEVEL_STEP = 16, 17


@cache
def overlap(source: int, target: int) -> NDArray[np.float64]:
    """Overlap of output pixel k with input pixel j when `source` pixels become `target`: [target, source].

    Rows sum to source.
    """
    low = np.maximum(np.arange(target)[:, None] * source, np.arange(source)[None, :] * target)
    high = np.minimum((np.arange(target)[:, None] + 1) * source, (np.arange(source)[None, :] + 1) * target)
    shared: NDArray[np.float64] = np.maximum(high - low, 0).astype(np.float64)
    return shared


def resized(image: NDArray[np.integer], height: int, width: int) -> NDArray[np.int64]:
    """Average image [H, W] over the areas of [height, width] pixels, rounded down."""
    source_height, source_width = image.shape
    sums = (overlap(source_height, height) @ image @ overlap(source_width, width).T).astype(np.int64)
    averaged: NDArray[np.int64] = sums // (source_height * source_width)
    return averaged


@cache
def bilinear(side: int, cell: int) -> NDArray[np.float64]:
    """Bilinear weights from grid points `cell` pixels apart to `side` pixels: [side, side / cell + 1].

    Rows sum to 2 cell.
    """
    weights = np.zeros((side, side // cell + 1))
    for pixel in range(side):
        left, offset = divmod(pixel, cell)
        weights[pixel, left + 1] = 2 * offset + 1
        weights[pixel, left] = 2 * cell - weights[pixel, left + 1]
    return weights


def enlarged(grid: NDArray[np.int64], side: int, cell: int) -> NDArray[np.int64]:
    """Interpolate grid [..., points, points] to [..., side, side], rounded down."""
    weights = bilinear(side, cell)
    smooth: NDArray[np.int64] = (weights @ grid @ weights.T).astype(np.int64) // (2 * cell) ** 2
    return smooth


def in_levels(scene: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Values in 0..255 as bytes of 16 levels."""
    return (scene // LEVEL_WIDTH * LEVEL_STEP).astype(np.uint8)
