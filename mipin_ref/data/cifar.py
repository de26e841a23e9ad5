"""CIFAR-10 binary batches: records of one label byte and 3 x 32 x 32 pixel bytes, channels first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import CorruptFile, InvalidData

RECORD = np.dtype([("label", "u1"), ("image", "u1", (3, 32, 32))])
CLASSES = 10


class Chain:
    """Arrays [N_k, ...] of equal samples, indexed as their concatenation [sum N_k, ...] without copying them."""

    def __init__(self, parts: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self._ends[-1]), *self._parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._parts[0].dtype

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]], /) -> npt.NDArray[np.uint8]:
        """The samples [n, ...] at a slice or at a 1-D array of positions >= 0, in a new array."""
        positions = np.arange(*index.indices(self.shape[0])) if isinstance(index, slice) else index
        part_of = np.searchsorted(self._ends, positions, side="right")
        values = np.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        for number in np.unique(part_of):
            chosen = part_of == number
            start = self._ends[number] - len(self._parts[number])
            values[chosen] = self._parts[number][positions[chosen] - start]
        return values


def batch_files(folder: Path) -> list[Path]:
    """The CIFAR-10 batches of a folder: the training batches where there are any, else the test batch, else none."""
    training = sorted(path for path in folder.glob("data_batch_*.bin") if path.is_file())
    return training or [path for path in folder.glob("test_batch.bin") if path.is_file()]


def open_images(files: Sequence[Path]) -> Chain:
    """Pixels [N, 3, 32, 32] uint8 of the batches, memory-mapped. Raises CorruptFile where one is truncated."""
    return Chain([_open_records(path)["image"] for path in files])


def open_labels(files: Sequence[Path]) -> npt.NDArray[np.uint8]:
    """Labels [N] uint8 of the batches. Raises CorruptFile where a label is not below 10."""
    labels = []
    for path in files:
        file_labels = np.array(_open_records(path)["label"])
        if file_labels.max() >= CLASSES:
            raise CorruptFile(
                f"{path}: label {file_labels.max()} in record {file_labels.argmax()}, CIFAR-10 has classes 0 to 9"
            )
        labels.append(file_labels)
    return np.concatenate(labels)


def _open_records(path: Path) -> npt.NDArray[Any]:
    size = path.stat().st_size
    if size == 0:
        raise InvalidData(f"{path}: empty file")
    if size % RECORD.itemsize:
        raise CorruptFile(f"{path}: {size} bytes are not a whole number of CIFAR-10 records of {RECORD.itemsize} bytes")
    return np.memmap(path, dtype=RECORD, mode="r")
