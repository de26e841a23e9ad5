"""MNIST, and composed garments, as the figures take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from compose import compose
from numpy.typing import NDArray

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


def digits(path: Path, split: str, samples: int) -> Images:
    """The first images of a split, x [N, 1, 28, 28] in 0..1 and y [N]."""
    with np.load(path, allow_pickle=False) as stored:
        x, y = stored[f"x_{split}"][:samples], stored[f"y_{split}"][:samples]
    return x[:, None].astype(np.float32) / np.float32(255), y.astype(np.int64)


def garments(path: Path, split: str, samples: int) -> Images:
    """Composed scenes of the first images of Fashion-MNIST, x [N, 3, 32, 32] in 0..1 and y [N]."""
    with np.load(path, allow_pickle=False) as stored:
        # An own seed for each split, as in training.
        found = compose(stored[f"x_{split}"][:samples], stored[f"y_{split}"][:samples], int(split == "test"))
    return found.x.astype(np.float32) / np.float32(255), found.y


def some_of_each(y: NDArray[np.int64], classes: list[int], count: int) -> NDArray[np.int64]:
    """Indices of the first `count` samples of each class, class by class. Raises ValueError where there are fewer."""
    rows = [np.flatnonzero(y == c)[:count] for c in classes]
    for c, found in zip(classes, rows, strict=True):
        if len(found) < count:
            raise ValueError(f"there are {len(found)} samples of class {c}, not {count}; take more samples")
    return np.concatenate(rows)
