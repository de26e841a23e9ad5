"""IDX files (the format of MNIST): big-endian header of type, rank and axes, then the values."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.reading import check_unpacking, decoding

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
MAX_RANK = 32


class Stream(Protocol):
    """What is read here: an open file, or a decompressor of one."""

    def read(self, size: int, /) -> bytes: ...


def is_idx(head: bytes) -> bool:
    """Whether a file's first bytes are an IDX header."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in DTYPES and 1 <= head[3] <= MAX_RANK


def open_idx(path: Path) -> npt.NDArray[Any]:
    """Values [N, ...] of an IDX file: memory-mapped, or for a gzip file decompressed once.

    Raises CorruptFile where the size does not match the header; a gzip file is never decompressed beyond what its
    header claims. Raises InvalidData where the header claims no values, or more than is decompressed into memory.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    return _decompress(path) if zipped else _map(path)


def _map(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        dtype, shape = _read_header(file, path)
    offset = 4 + 4 * len(shape)
    claimed, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - offset
    if claimed != held:
        raise CorruptFile(f"{path}: the IDX header claims {claimed} bytes of values, shape {list(shape)}, not {held}")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def _decompress(path: Path) -> npt.NDArray[Any]:
    with decoding(path, "a whole gzip file"), gzip.open(path, "rb") as file:
        dtype, shape = _read_header(file, path)
        claimed = math.prod(shape) * dtype.itemsize
        check_unpacking(path, claimed, path.stat().st_size)
        values = np.empty(claimed, dtype=np.uint8)
        filled = read_into(file, values)
        if filled < claimed:
            raise CorruptFile(f"{path}: truncated, the IDX header claims {claimed} bytes of values, not {filled}")
        if file.read(1):
            raise CorruptFile(f"{path}: holds more than the {claimed} bytes of values its IDX header claims")
    return values.view(dtype).reshape(shape)


def _read_header(file: Stream, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    head = file.read(4)
    if not is_idx(head):
        raise CorruptFile(f"{path}: not an IDX file, it starts with {head!r}")
    rank = head[3]
    axes = file.read(4 * rank)
    if len(axes) < 4 * rank:
        raise CorruptFile(f"{path}: truncated inside its IDX header")
    shape = tuple(int(axis) for axis in np.frombuffer(axes, dtype=">u4"))
    if 0 in shape:
        raise InvalidData(f"{path}: holds no samples, its shape is {list(shape)}")
    return np.dtype(DTYPES[head[2]]), shape


def read_into(file: Stream, values: npt.NDArray[np.uint8]) -> int:
    """Fill values [bytes] from a decompressing file; returns how many bytes there were, at most len(values)."""
    filled = 0
    while filled < len(values):
        chunk = file.read(min(1 << 20, len(values) - filled))
        if not chunk:
            break
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, dtype=np.uint8)
        filled += len(chunk)
    return filled
