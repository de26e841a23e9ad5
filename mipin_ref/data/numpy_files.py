"""NumPy files: .npy and the members of .npz archives, memory-mapped where the bytes are stored as they are."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.idx import DEFLATE_LIMIT, read_into
from mipin_ref.errors import CorruptFile, InvalidData

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


def open_npy(path: Path) -> npt.NDArray[Any]:
    """The array [N, ...] of a .npy file, memory-mapped.

    Raises CorruptFile where the header is malformed or does not match the size; InvalidData for object arrays, which
    are never unpickled, and for arrays without values.
    """
    with path.open("rb") as file:
        return _map(file, path, str(path), start=0, size=path.stat().st_size)


def open_npz(path: Path, key: str | None, defaults: tuple[str, ...]) -> npt.NDArray[Any]:
    """The array [N, ...] under `key`, or under the first of `defaults` there is.

    A member stored without compression is memory-mapped, so its checksum is not verified; a compressed one is
    decompressed once, never beyond what its header claims. Raises as open_npy, and InvalidData that lists the keys
    present where the one asked for is missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            wanted = (key,) if key is not None else defaults
            found = next((name for name in wanted if name in keys), None)
            if found is None:
                raise InvalidData(f"{path}: no array {' or '.join(map(repr, wanted))}; it holds {_listed(keys)}")
            member = archive.getinfo(f"{found}.npy")
            origin = f"{path}[{found!r}]"
            if member.flag_bits & 1:
                raise InvalidData(f"{origin}: is encrypted; store it without a password")
            if member.compress_type == zipfile.ZIP_STORED:
                with path.open("rb") as file:
                    return _map(file, path, origin, start=_data_start(file, member, origin), size=member.file_size)
            if member.compress_type != zipfile.ZIP_DEFLATED:
                raise InvalidData(f"{origin}: unknown compression; write it with np.savez or np.savez_compressed")
            with archive.open(member) as stream:
                return _decompress(stream, member, origin)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path}: not a whole .npz archive ({error})") from error


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


def _decompress(stream: IO[bytes], member: zipfile.ZipInfo, origin: str) -> npt.NDArray[Any]:
    shape, order, dtype = _read_header(stream, origin)
    claimed = math.prod(shape) * dtype.itemsize
    _check_size(shape, dtype, member.file_size - stream.tell(), origin)
    if claimed > DEFLATE_LIMIT * member.compress_size:
        raise CorruptFile(
            f"{origin}: claims {claimed} bytes, more than {member.compress_size} compressed ones can hold"
        )
    try:
        values = np.empty(claimed, dtype=np.uint8)
    except MemoryError as error:
        raise InvalidData(f"{origin}: does not fit in memory; store it uncompressed (np.savez)") from error
    filled = read_into(stream, values)
    if filled < claimed or stream.read(1):
        raise CorruptFile(f"{origin}: the header claims {claimed} bytes of values, which is not what is there")
    return values.view(dtype).reshape(shape, order=order)


def _read_header(file: IO[bytes], origin: str) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, order ("C" | "F") and dtype; leaves the file at the first value."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InvalidData(f"{origin}: .npy version {version} is not for plain numbers; save a plain array")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFile(f"{origin}: not a whole .npy header ({reason})") from error
    if dtype.hasobject:
        raise InvalidData(f"{origin}: holds pickled Python objects, which are never read; store numbers")
    if any(axis < 0 for axis in shape) or len(shape) > 32:
        raise CorruptFile(f"{origin}: the header claims shape {list(shape)}")
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
