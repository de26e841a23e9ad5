"""The image sets that the paper's networks are trained on, and the calibration set that is cut out of one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.files import packed
from training.keras import read_split
from training.rgb32 import compose_fashion

FIT_COUNT = 50_000
CALIBRATION_BYTES = 400_000
CALIBRATION_PER_CLASS_LIMIT = 500
TEST_SAMPLE_PER_CLASS = 10

DIGITS = [str(digit) for digit in range(10)]
GARMENTS = ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


class Dataset(NamedTuple):
    """Images x [N, C, H, W] uint8, labels y [N] int64, and boxes [N, 4] int64 where the set has them."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    box_train: NDArray[np.int64] | None = None
    box_test: NDArray[np.int64] | None = None


DATA_CARDS: dict[str, dict[str, Any]] = {
    "mnist": {
        "name": "MNIST",
        "description": "handwritten digits, 28x28 grey; white on black",
        "licence": "CC BY-SA 3.0 as commonly stated",
        "class_names": DIGITS,
    },
    "rgb32": {
        "name": "rgb32",
        "description": "tools/training/rgb32.py with the seed below: a Fashion-MNIST object at a random place, size "
        "and colour on smooth texture and fragments of other objects, 32x32 RGB, 16 levels a channel, with the "
        "object's box [x0, y0, x1, y1), ends excluded",
        "licence": "MIT (Fashion-MNIST)",
        "class_names": GARMENTS,
    },
}


def load_mnist(path: Path) -> Dataset:
    """Read MNIST from Keras's mnist.npz, with a channel axis: x [N, 1, 28, 28]."""
    (x, y), (x_test, y_test) = (read_split(path, split) for split in ("train", "test"))
    return Dataset(x[:, None], y, x_test[:, None], y_test)


def load_rgb32(path: Path, seed: int) -> Dataset:
    """Compose rgb32 from Fashion-MNIST's npz."""
    train, test = compose_fashion(path, seed)
    return Dataset(train.x, train.y, test.x, test.y, train.box, test.box)


def shuffled_per_class(y: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Shuffle, for each class, its indices into y, in a seeded random order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return [rng.permutation(np.flatnonzero(y == label)) for label in range(10)]


def take(classes: list[NDArray[np.int64]], per_class: int) -> NDArray[np.int64]:
    """Interleave the first per_class indices of every class, so that any prefix is balanced too."""
    return np.stack([indices[:per_class] for indices in classes], axis=1).ravel()


def calibration(data: Dataset, seed: int) -> tuple[bytes, int]:
    """Choose the largest class-balanced set that fits CALIBRATION_BYTES: its npz, and its images per class."""
    test_classes = shuffled_per_class(data.y_test, seed)
    classes = shuffled_per_class(data.y_train[:FIT_COUNT], seed)

    def pack(per_class: int) -> bytes:
        index, index_test = take(classes, per_class), take(test_classes, TEST_SAMPLE_PER_CLASS)
        arrays: dict[str, NDArray[Any]] = {
            "x": data.x_train[index],
            "y": data.y_train[index],
            "index": index,
            "x_test": data.x_test[index_test],
            "y_test": data.y_test[index_test],
            "index_test": index_test,
        }
        if data.box_train is not None and data.box_test is not None:
            arrays |= {"box": data.box_train[index], "box_test": data.box_test[index_test]}
        return packed(arrays)

    fits, too_many = 1, min(CALIBRATION_PER_CLASS_LIMIT, *map(len, classes)) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(pack(middle)) <= CALIBRATION_BYTES:
            fits = middle
        else:
            too_many = middle
    return pack(fits), fits


def data_sha256(data: Dataset) -> str:
    """Compute the SHA-256 of the training images' bytes, then the labels' as little-endian int64."""
    digest = hashlib.sha256(np.ascontiguousarray(data.x_train).data)
    digest.update(np.ascontiguousarray(data.y_train, dtype="<i8").data)
    return digest.hexdigest()
