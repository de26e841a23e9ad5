"""NumPy files: .npy and the members of .npz archives, memory-mapped where the bytes are stored as they are."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.idx import read_into
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.reading import check_unpacking, decoding

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
NUMBERS = "biufcmMSU"
"""The kinds of dtypes that are told from numbers later on; records and sub-arrays are not for samples."""
HEADER_BYTES = 10_000
"""The most bytes of a .npy header: as NumPy itself has it, which reads it first."""
DIRECTORY_BYTES = 16 << 20
"""The most bytes of the directory of an archive: for a hundred thousand members."""
END, END_64 = b"PK\x05\x06", b"PK\x06\x06"


def open_npy(path: Path) -> npt.NDArray[Any]:
    """The array [N, ...] of a .npy file, memory-mapped.

    Raises CorruptFile where the header is malformed or does not match the size; InvalidData for object arrays, which
    are never unpickled, and for arrays without values.
    """
    with path.open("rb") as file:
        return _map(file, path, str(path), start=0, size=path.stat().st_size)


class Unnamed(InvalidData):
    """An archive holds none of the arrays that are taken where none is named."""


@contextmanager
def named_by(option: str) -> Iterator[None]:
    """Where an array had to be named, say by which option it is."""
    try:
        yield
    except Unnamed as error:
        raise InvalidData(f"{error}; name one, option {option!r}") from error


def open_npz(path: Path, key: str | None, defaults: tuple[str, ...]) -> npt.NDArray[Any]:
    """The array [N, ...] under `key`, or under the first of `defaults` there is.

    A member stored without compression is memory-mapped, so its checksum is not verified; a compressed one is
    decompressed once, never beyond what its header claims. Raises as open_npy, and InvalidData that lists the keys
    present where the one asked for is missing, or where it takes more memory than is given to decompressed values.
    """
    with opened_archive(path) as archive:
        keys = members(archive)
        wanted = (key,) if key is not None else defaults
        chosen = next((name for name in wanted if name in keys), None)
        if chosen is None:
            told = f"{path}: no array {' or '.join(map(shown, wanted))}; it holds {_listed(keys)}"
            raise Unnamed(told) if key is None and keys else InvalidData(told)
        member = archive.getinfo(f"{chosen}.npy")
        origin = f"{path}[{chosen!r}]"
        if member.flag_bits & 1:
            raise InvalidData(f"{origin}: is encrypted; store it without a password")
        if member.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as file:
                return _map(file, path, origin, start=_data_start(file, member, origin), size=member.file_size)
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise InvalidData(f"{origin}: unknown compression; write it with np.savez or np.savez_compressed")
        with archive.open(member) as stream:
            return _decompress(stream, member, origin, path.stat().st_size)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A .npz archive. Raises CorruptFile where it is damaged, also while it is read in the block."""
    with decoding(path, "a whole .npz archive"):
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            yield archive


def members(archive: zipfile.ZipFile) -> list[str]:
    """The names of an archive's arrays."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _check_directory(path: Path) -> None:
    """Raises CorruptFile where the directory is longer than is read: all of it is held to look for one member."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 128))
        tail = file.read()
    at, at_64 = tail.rfind(END), tail.rfind(END_64)
    told = [int.from_bytes(tail[at + 12 : at + 16], "little")] if at >= 0 else []
    told += [int.from_bytes(tail[at_64 + 40 : at_64 + 48], "little")] if at_64 >= 0 else []
    if min(size, max(told, default=0)) > DIRECTORY_BYTES:
        raise CorruptFile(f"{path}: the archive's directory takes more than {DIRECTORY_BYTES >> 20} MiB")


def _data_start(file: IO[bytes], member: zipfile.ZipInfo, origin: str) -> int:
    """Where a member's bytes start: the lengths in the central directory need not be those of the local header."""
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != ZIP_MAGICS[0]:
        raise CorruptFile(f"{origin}: the archive's directory points at no member")
    return member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _map(file: IO[bytes], path: Path, origin: str, *, start: int, size: int) -> npt.NDArray[Any]:
    if start + size > path.stat().st_size:
        raise CorruptFile(f"{origin}: truncated, the archive ends before its {size} bytes do")
    file.seek(start)
    shape, order, dtype = _read_header(file, origin)
    offset = file.tell()
    _check_size(shape, dtype, size - (offset - start), origin)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)


def _decompress(stream: IO[bytes], member: zipfile.ZipInfo, origin: str, held: int) -> npt.NDArray[Any]:
    """The values of a compressed member.

    held: bytes of the archive, of which the member cannot have more than it says.
    """
    shape, order, dtype = _read_header(stream, origin)
    claimed = math.prod(shape) * dtype.itemsize
    _check_size(shape, dtype, member.file_size - stream.tell(), origin)
    check_unpacking(origin, claimed, min(member.compress_size, held))
    values = np.empty(claimed, dtype=np.uint8)
    filled = read_into(stream, values)
    if filled < claimed or stream.read(1):
        raise CorruptFile(f"{origin}: the header claims {claimed} bytes of values, which is not what is there")
    return values.view(dtype).reshape(shape, order=order)


def _read_header(file: IO[bytes], origin: str) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, order ("C" | "F") and dtype; leaves the file at the first value."""
    # NumPy warns of escapes and numbers that Python's own parser finds strange, and of what Python 2 wrote.
    with decoding(origin, "a whole .npy header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InvalidData(f"{origin}: .npy version {version} is not for plain numbers; save a plain array")
        told = file.read(2 if version == (1, 0) else 4)
        length = int.from_bytes(told, "little")
        if length > HEADER_BYTES:
            raise CorruptFile(f"{origin}: claims a header of {length} bytes; those of plain numbers are shorter")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(io.BytesIO(told + file.read(length)))
    if dtype.hasobject:
        raise InvalidData(f"{origin}: holds pickled Python objects, which are never read; store numbers")
    if dtype.kind not in NUMBERS:
        raise InvalidData(f"{origin}: holds records of dtype {shown(str(dtype))}; store plain numbers")
    # True is an integer to Python, and to NumPy's check of the header.
    if len(shape) > 32 or not all(type(axis) is int and 0 <= axis < 2**63 for axis in shape):
        raise CorruptFile(f"{origin}: the header claims shape {shown(list(shape))}")
    if dtype.itemsize == 0 or math.prod(shape) == 0:
        raise InvalidData(f"{origin}: holds no samples, its shape is {list(shape)}")
    return shape, "F" if fortran else "C", dtype


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], held: int, origin: str) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held:
        raise CorruptFile(f"{origin}: the header claims {claimed} bytes of values, shape {list(shape)}, not {held}")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(map(repr, sorted(keys)[:20])) or "no array"
    return f"{shown} and {len(keys) - 20} more" if len(keys) > 20 else shown
