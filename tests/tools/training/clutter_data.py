"""Objects for boxed clutter without MNIST: rectangles, in memory and as the two npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 15
SPLITS = ("train", "test")


def blobs(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Rectangles [count, 28, 28] of varied place, size and grey values, with a dim rim and a hole."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        top, left = rng.integers(1, 10, 2)
        height, width = rng.integers(6, 18, 2)
        image[top - 1 : top + height + 1, left - 1 : left + width + 1] = 30
        image[top : top + height, left : left + width] = rng.integers(100, 256, (height, width))
        image[top + 2 : top + 4, left + 2 : left + 4] = 0
    return images


SOURCES = [blobs(6, label) for label in range(CLASSES)]


def files(folder: Path) -> tuple[Path, Path]:
    """MNIST and Fashion-MNIST in small: image i of class i modulo 10; all test pixels differ from training pixels."""
    paths = folder / "mnist.npz", folder / "fashion.npz"
    for number, path in enumerate(paths):
        arrays = {f"x_{split}": blobs(30, 100 * number + offset) for offset, split in enumerate(SPLITS)}
        labels = {f"y_{split}": (np.arange(30) % 10).astype(np.uint8) for split in SPLITS}
        np.savez(path, **arrays, **labels)  # type: ignore[arg-type]
    return paths
