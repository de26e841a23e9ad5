"""Mosaics for the grid pointing game: which images lie in which cells, and the cells side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.metrics.checks import as_array
from mipin_ref.metrics.pointing import LARGEST_GRID
from mipin_ref.options import checked_integer

MOST = 10**6
"""Mosaics that one call arranges, at most."""


def arranged_mosaics(
    labels: npt.ArrayLike, count: int, rng: np.random.Generator, grid: int = 2, targets: Sequence[int] = ()
) -> npt.NDArray[np.int64]:
    """Which images the cells of `count` mosaics hold: positions [count, grid²], row by row, of distinct classes.

    labels: [N] the class of each image. Every image is used about equally often, and placed at random. targets: mosaic
    i holds an image of class targets[i % len(targets)].
    Raises InvalidData where the images have fewer than grid² classes, or none of a target, and for what
    is no such number.

    >>> import numpy as np
    >>> import mipin_ref as mr
    >>> labels = [0, 0, 1, 2, 3]
    >>> positions = mr.metrics.arranged_mosaics(labels, 1, np.random.default_rng(0), targets=[3])
    >>> sorted(labels[position] for position in positions[0])
    [0, 1, 2, 3]
    """
    count = checked_integer("mosaics: count", count, 0, MOST)
    grid = checked_integer("mosaics: grid", grid, 1, LARGEST_GRID)
    classes = _integers("labels", labels)
    targets = _integers("targets", targets).tolist()
    if not isinstance(rng, np.random.Generator):
        raise InvalidData(f"mosaics: rng must be a numpy.random.Generator, not {shown(rng)}")
    known = set(classes.tolist())
    if len(known) < grid**2:
        raise InvalidData(f"a {grid}×{grid} mosaic needs images of {grid**2} classes; there are {len(known)}")
    missing = sorted(set(targets) - known)
    if missing:
        raise InvalidData(f"no image is of class {', '.join(map(str, missing))}")
    used = np.zeros(len(classes), np.int64)
    chosen = np.empty((count, grid**2), np.int64)
    for i in range(count):
        others = classes != targets[i % len(targets)] if targets else np.zeros(len(classes), np.bool_)
        # The target first, then the least used, at random among equals; the first of each class is its image.
        order = np.lexsort((rng.random(len(classes)), used, others))
        firsts = np.sort(np.unique(classes[order], return_index=True)[1])
        chosen[i] = rng.permutation(order[firsts[: grid**2]])
        used[chosen[i]] += 1
    return chosen


def tiled(cells: npt.ArrayLike, grid: int) -> npt.NDArray[Any]:
    """Cells [grid², ..., h, w], row by row, side by side [..., grid h, grid w].

    Raises InvalidData for another shape.

    >>> import numpy as np
    >>> import mipin_ref as mr
    >>> mr.metrics.tiled(np.arange(4.0).reshape(4, 1, 1), grid=2).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    grid = checked_integer("mosaics: grid", grid, 1, LARGEST_GRID)
    parts = as_array("mosaics", cells, "cells must be one array [grid², ..., h, w]")
    if parts.ndim < 3 or len(parts) != grid**2:
        raise InvalidData(
            f"mosaics: {grid}×{grid} cells must have shape [{grid**2}, ..., h, w], not {list(parts.shape)}"
        )
    rows = [np.concatenate(list(parts[i : i + grid]), axis=-1) for i in range(0, len(parts), grid)]
    return np.asarray(np.concatenate(rows, axis=-2))


def _integers(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    integers = as_array("mosaics", values, f"{name} must be integers [N]")
    if integers.ndim != 1 or (integers.size and integers.dtype.kind not in "iu"):
        raise InvalidData(f"mosaics: {name} must be integers [N], not {integers.dtype} of shape {list(integers.shape)}")
    return integers
