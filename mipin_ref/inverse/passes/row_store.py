"""Arrays kept between passes over the data, sample after sample: in memory as far as it goes, then in files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import prod
from typing import IO, Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray

DISK_SHARE, MOST_FILES = 0.4, 200
"""Share of the free space where temporary files lie, and how many files, for each of the two stores of a fit."""

DISK = 1e9
"""A rough rate: bytes a second to the disk or back."""


def worth_keeping(size: float, seconds: float) -> bool:
    """Whether `size` bytes go to the disk and come back faster than they are computed again."""
    return 2 * size / DISK < seconds


@dataclass(frozen=True)
class Room:
    """What a store may hold: bytes in memory, bytes in files, and how many files."""

    memory: int
    disk: float = 0.0
    files: int = 0


@dataclass
class _Kept:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    written: int = 0
    chunks: list[HostArray] = field(default_factory=list)
    file: IO[bytes] | None = None


class RowStore:
    """NumPy arrays [samples, *shape] by key, up to `memory` bytes in memory and then in temporary files.

    files: whether there may be any. Without them it can be copied, and travels between processes.
    """

    def __init__(self, memory: int, *, files: bool = True) -> None:
        self._memory, self._files = memory, files
        self._kept: dict[Hashable, _Kept] = {}
        self.held = 0
        """Bytes in memory."""

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def resize(self, memory: int) -> None:
        """Hold so many bytes in memory from now on; of more than that everything is let go of."""
        self._memory = memory
        if self.held > memory:
            self.close()

    def copy(self) -> RowStore:
        """A store of its own, of the same arrays, which are never written to. Of arrays in memory only."""
        assert not self._files
        other = RowStore(self._memory, files=False)
        other._kept = {key: replace(kept, chunks=list(kept.chunks)) for key, kept in self._kept.items()}
        other.held = self.held
        return other

    @property
    def keys(self) -> list[Any]:
        return list(self._kept)

    @property
    def whole(self) -> Room:
        """All that it may hold. No files where the folder for them cannot be asked; `open` tells why."""
        if not self._files:
            return Room(self._memory)
        try:
            return Room(self._memory, DISK_SHARE * self._free(), MOST_FILES)
        except InvalidData:
            return Room(self._memory)

    def _free(self) -> int:
        """Bytes that are free where temporary files lie, with those that it has written itself."""
        written = sum(kept.written for kept in self._kept.values() if kept.file is not None)
        with _on_disk():
            return shutil.disk_usage(tempfile.gettempdir()).free + written

    def room(self, size: int, *, disk: bool) -> bool:
        """Whether so many bytes more fit into the memory, or may lie on the disk."""
        if disk and not self._files:
            return False
        if disk:
            files = [kept for kept in self._kept.values() if kept.file is not None]
            return len(files) < MOST_FILES and size + sum(kept.size for kept in files) <= DISK_SHARE * self._free()
        return self.held + size <= self._memory

    def open(self, key: Hashable, samples: int, shape: tuple[int, ...], dtype: Any, *, disk: bool) -> None:
        """Make room for an array that `append` will fill."""
        self.drop(lambda other: other == key)
        kind = np.dtype(dtype)
        kept = _Kept(shape, kind, samples * prod(shape) * kind.itemsize)
        if disk:
            # It has no name, so that it is gone with the process, however that ends.
            with _on_disk():
                kept.file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by drop)
        else:
            self.held += kept.size
        self._kept[key] = kept

    def append(self, key: Hashable, rows: HostArray) -> None:
        """Add the next samples."""
        kept = self._kept[key]
        rows = np.ascontiguousarray(rows, kept.dtype)
        if kept.file is None:
            # A view would hold all that it is a part of.
            kept.chunks.append(rows if rows.base is None else rows.copy())
        else:
            with _on_disk():
                kept.file.write(rows.data)
            kept.written += rows.nbytes

    def read(self, key: Hashable, start: int, stop: int) -> HostArray:
        """Samples start..stop."""
        kept = self._kept[key]
        if kept.file is not None:
            each = prod(kept.shape) * kept.dtype.itemsize
            with _on_disk():
                kept.file.seek(start * each)
                flat = np.frombuffer(kept.file.read((stop - start) * each), kept.dtype)
            return flat.reshape(stop - start, *kept.shape)
        parts = []
        ends = accumulate(len(chunk) for chunk in kept.chunks)
        for chunk, end in zip(kept.chunks, ends, strict=True):
            first = end - len(chunk)
            if first < stop and start < end:
                parts.append(chunk[max(start - first, 0) : stop - first])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def drop(self, unwanted: Callable[[Any], bool]) -> None:
        """Let go of the arrays whose key is not wanted any more."""
        for key in [key for key in self._kept if unwanted(key)]:
            kept = self._kept.pop(key)
            if kept.file is None:
                self.held -= kept.size
            else:
                # What the buffer holds is not wanted either, should the disk be full.
                with suppress(OSError):
                    kept.file.close()

    def close(self) -> None:
        """Let go of everything."""
        self.drop(lambda key: True)


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidData(
            f"the folder for temporary files cannot be used: {error.strerror or error}; give more memory, or make room "
            "there, or set TMPDIR to another"
        ) from error
