"""Results larger than memory on their way into one .npz."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from mipin_ref.files import temporary_folder, written_whole
from mipin_ref.layers import HostArray


class Append(Protocol):
    """Adds the next samples: arrays [n, ...] by name, the same names every time."""

    def __call__(self, **arrays: HostArray) -> None: ...


@dataclass
class _Growing:
    """A file of `count` samples, each of `shape` and `dtype`."""

    file: BinaryIO
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    count: int = 0

    def extend(self, part: HostArray) -> None:
        # Written, not mapped: a full disk is an OSError here and would be a crash there.
        self.file.write(np.ascontiguousarray(part, self.dtype).data)
        self.count += len(part)


@contextmanager
def npz_in_batches(path: Path, **others: HostArray | str) -> Iterator[Append]:
    """An .npz at `path`, whole or not at all, of arrays that come batch by batch, and of `others` as they are.

    The batches lie in a hidden folder beside it until the block ends well, so the disk holds everything twice for a
    moment. Raises InvalidData, naming `path`, where it cannot be written.
    """
    with temporary_folder(path) as folder:
        arrays: dict[str, _Growing] = {}
        with ExitStack() as files:

            def append(**parts: HostArray) -> None:
                for name, part in parts.items():
                    if name not in arrays:
                        file = files.enter_context((folder / name).open("xb"))
                        arrays[name] = _Growing(file, part.dtype, part.shape[1:])
                    arrays[name].extend(part)

            yield append
        held: dict[str, Any] = dict(others)
        for name, one in arrays.items():
            held[name] = np.memmap(folder / name, one.dtype, "r", shape=(one.count, *one.shape))
        with written_whole(path) as file:
            np.savez(file, **held)
