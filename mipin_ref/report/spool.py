"""Results larger than memory on their way into one .npz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.files import written_whole

Array = npt.NDArray[Any]


@dataclass
class _Growing:
    """A file of `count` samples, each of `shape` and `dtype`."""

    path: Path
    file: BinaryIO
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    count: int = 0

    def extend(self, part: Array) -> None:
        # Written, not mapped: a full disk is an OSError here and would be a crash there.
        self.file.write(np.ascontiguousarray(part, self.dtype).data)
        self.count += len(part)

    def mapped(self) -> Array:
        self.file.flush()
        return np.memmap(self.path, self.dtype, "r", shape=(self.count, *self.shape))


class Spool:
    """Arrays that grow batch by batch in files of a folder, which whoever made it removes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, _Growing] = {}

    def append(self, arrays: Mapping[str, Array]) -> None:
        """Add the next samples, [n, ...] by name.

        Raises InvalidData where an array is not like those before it under its name, OSError of the disk.
        """
        for name, part in arrays.items():
            if name not in self._arrays:
                path = self._folder / f"array_{len(self._arrays)}"
                self._arrays[name] = _Growing(path, path.open("xb"), part.dtype, part.shape[1:])
            one = self._arrays[name]
            if part.shape[1:] != one.shape:
                raise InvalidData(
                    f"array {name!r}: samples of shape {list(part.shape[1:])} follow samples of {list(one.shape)}"
                )
            one.extend(part)

    def write(self, path: Path, others: Mapping[str, Array | str], comment: bytes = b"") -> None:
        """Write all of it and `others` as an .npz at `path`, whole or not at all.

        comment: of the archive. Raises InvalidData, naming the path, where it cannot be written.
        """
        held: dict[str, Any] = dict(others)
        held |= {name: one.mapped() for name, one in self._arrays.items()}
        with written_whole(path) as file:
            np.savez(file, **held)
            if comment:
                _append_comment(file, comment)

    def close(self) -> None:
        for one in self._arrays.values():
            one.file.close()


def _append_comment(file: BinaryIO, comment: bytes) -> None:
    """Give the archive in `file` a comment: the last two bytes of an archive without one are its length."""
    file.seek(-2, 2)
    file.write(len(comment).to_bytes(2, "little") + comment)
