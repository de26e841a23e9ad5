"""Samples of a file that several machines see: what travels between them is its path."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.part import first, left_out_of, names_of
from mipin_ref.data.preprocessing import Preprocessing, Source
from mipin_ref.data.readers import AS_STORED, open_data
from mipin_ref.data.view import Index, Samples
from mipin_ref.errors import CorruptFile, InvalidData


class SharedFile:
    """Samples [N, ...] of a file or folder, as by `open_data`, opened by every process that reads them.

    limit: only so many of the first. Raises as `open_data` does; when read in another process, InvalidData where that
    machine does not see the path, or sees other samples there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        preprocessing: Preprocessing = AS_STORED,
        limit: int | None = None,
    ) -> None:
        self._path = os.path.abspath(path)
        self._key, self._preprocessing, self._limit = key, preprocessing, limit
        opened = self._open()
        self._shape, self._dtype = opened.shape, opened.dtype

    @property
    def names(self) -> tuple[str, ...] | None:
        return names_of(self._open())

    @property
    def left_out(self) -> str:
        return left_out_of(self._open())

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def source(self) -> Source:
        return Source("file", self._preprocessing)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        try:
            opened = self._open()
        except (InvalidData, CorruptFile) as error:
            there = f"on machine {socket.gethostname()!r}; every machine must see it"
            raise type(error)(f"{error}, {there}") from error
        if (opened.shape, opened.dtype) != (self._shape, self._dtype):
            raise InvalidData(
                f"{self._path}: machine {socket.gethostname()!r} sees {opened.dtype} {list(opened.shape)} there, "
                f"not {self._dtype} {list(self._shape)}"
            )
        return opened[index]

    def _open(self) -> Samples:
        try:
            stat = os.stat(self._path)
            state = (stat.st_mtime_ns, stat.st_size)
        except (OSError, ValueError):
            state = (0, 0)
        opened = _opened(self._path, self._key, self._preprocessing, state)
        return opened if self._limit is None else first(opened, self._limit)


@lru_cache(maxsize=2)
def _opened(path: str, key: str | None, preprocessing: Preprocessing, state: tuple[int, int]) -> Samples:
    """Opened once a process; state: of the file, which is opened again once it has changed."""
    return open_data(path, key=key, preprocessing=preprocessing)
