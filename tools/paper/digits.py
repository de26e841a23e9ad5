"""MNIST, and composed garments, as the figures take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.keras import read_split, scaled
from training.rgb32 import compose

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


def digits(path: Path, split: str, samples: int) -> Images:
    """The first images of a split, x [N, 1, 28, 28] in 0..1 and y [N]."""
    x, y = read_split(path, split)
    return scaled(x[:samples, None]), y[:samples]


def garments(path: Path, split: str, samples: int) -> Images:
    """Composed scenes of the first images of Fashion-MNIST, x [N, 3, 32, 32] in 0..1 and y [N]."""
    x, y = read_split(path, split)
    # An own seed for each split, as in training.
    composed = compose(x[:samples], y[:samples], int(split == "test"))
    return scaled(composed.x), composed.y


def some_of_each(y: NDArray[np.int64], classes: list[int], count: int) -> NDArray[np.int64]:
    """Indices of the first `count` samples of each class, class by class. Raises ValueError where there are fewer."""
    rows = [np.flatnonzero(y == c)[:count] for c in classes]
    for c, of_class in zip(classes, rows, strict=True):
        if len(of_class) < count:
            raise ValueError(f"there are {len(of_class)} samples of class {c}, not {count}; take more samples")
    return np.concatenate(rows)
