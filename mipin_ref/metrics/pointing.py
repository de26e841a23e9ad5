"""Grid pointing game: how much of the positive attribution falls on the target's cell of a mosaic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.metrics.checks import as_array, checked_maps
from mipin_ref.metrics.record import Record, Row, scored
from mipin_ref.options import checked_integer

SMALLEST_GRID = 2
LARGEST_GRID = 1000
"""Cells along a side, at most: they are counted one by one."""


@dataclass(frozen=True, eq=False)
class GridPointingGame(Record):
    """scores: [N] share of each map's positive values that lies in its target's cell, 1 / grid² by chance;
    mean: of scores; empty: maps without a positive value, which score 0; grid: cells along each side.
    """

    scores: npt.NDArray[np.float64]
    mean: float
    empty: int
    grid: int

    def rows(self) -> list[Row]:
        """One a map: sample, score."""
        return scored(self.scores)

    def __str__(self) -> str:
        line = f"grid pointing game {self.mean:.4f} (mean of {len(self.scores)} maps, {self.grid}×{self.grid} cells"
        return line + (f", {self.empty} without a positive value, which score 0)" if self.empty else ")")


def grid_pointing_game(maps: npt.ArrayLike, cells: npt.ArrayLike, grid: int = 2) -> GridPointingGame:
    """Positive attribution inside the target's cell / all positive attribution, for mosaics of grid × grid images
    (Böhle, Fritz, Schiele, Convolutional Dynamic Alignment Networks, CVPR 2021; Rao, Böhle, Schiele, Towards Better
    Understanding Attribution Methods, CVPR 2022).

    maps: [N, H, W] floats, of which the positive part counts; cells: [N] integers, each map's target cell counted row
    by row. A map is piecewise constant: where grid does not divide H or W, a value on a border counts in each cell by
    the area it covers there, so that a 7×7 map scores as its nearest-neighbour enlargement does.
    Raises InvalidData for another shape or dtype, no map at all, NaN, Inf, a cell out of range or a grid below 2.

    >>> import numpy as np
    >>> import mipin_ref as mr
    >>> print(mr.metrics.grid_pointing_game(np.array([[[3.0, 1.0], [0.0, -1.0]]]), [0]))
    grid pointing game 0.7500 (mean of 1 maps, 2×2 cells)
    """
    grid = checked_integer("grid pointing game: grid", grid, SMALLEST_GRID, LARGEST_GRID)
    values, targets = checked_maps("grid pointing game", maps), _checked_cells(cells, grid)
    if len(values) != len(targets):
        raise InvalidData(f"grid pointing game: there are {len(targets)} cells for {len(values)} maps")
    positive = np.maximum(values, 0).astype(np.result_type(values, np.float64))
    largest = positive.max(axis=(1, 2))
    empty = largest == 0
    # Sums of values near the largest or the smallest number would overflow or lose digits.
    positive = (positive / np.where(empty, 1, largest)[:, None, None]).astype(np.float64)
    rows, columns = (_shares(length, int(grid)) for length in values.shape[1:])
    inside = np.einsum("nhw,nh,nw->n", positive, rows[targets // grid], columns[targets % grid], optimize=True)
    scores = inside / np.where(empty, 1, positive.sum(axis=(1, 2)))
    return GridPointingGame(scores, float(scores.mean()), int(empty.sum()), int(grid))


def _shares(length: int, grid: int) -> npt.NDArray[np.float64]:
    """[grid, length]: how much of each pixel along a side lies in each cell."""
    pixel, cell = np.arange(length) * grid, np.arange(grid)[:, None] * length
    shared = np.minimum(pixel + grid, cell + length) - np.maximum(pixel, cell)
    shares: npt.NDArray[np.float64] = np.maximum(shared, 0) / grid
    return shares


def _checked_cells(cells: npt.ArrayLike, grid: int) -> npt.NDArray[np.int64]:
    integers = as_array("grid pointing game", cells, "cells must be integers [N]")
    if integers.ndim != 1 or not np.issubdtype(integers.dtype, np.integer):
        raise InvalidData(
            f"grid pointing game: cells must be integers [N], not {integers.dtype} of shape {list(integers.shape)}"
        )
    if integers.size and not (integers.min() >= 0 and integers.max() < grid**2):
        raise InvalidData(
            f"grid pointing game: cells run from {integers.min()} to {integers.max()}; "
            f"a {grid}×{grid} mosaic has cells 0..{grid**2 - 1}"
        )
    return integers.astype(np.int64)
