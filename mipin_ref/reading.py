"""Files from outside: read by a budget that is decided before memory is taken, and refused in one sentence."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mipin_ref.errors import CorruptFile, InvalidData, MipinError, shown
from mipin_ref.text import first_line

JSON_BYTES = 32 << 20
"""The most bytes of a JSON file: what it is parsed into may take thirty times as much."""
JSON_DEPTH = 64
JSON_DIGITS = 40
"""The most digits of an integer: one of 64 bits has 20."""

DEFLATE_LIMIT = 1032
"""No deflate stream expands further, so a larger claim is false and nothing need be allocated to know it."""
UNPACKED_BYTES = 1 << 30
"""The most bytes that are decompressed into memory: what is not compressed is read piece by piece."""
HARMLESS_BYTES = 64 << 20
RATIO_LIMIT = 200
"""The most unpacked bytes a packed one, beyond HARMLESS_BYTES: numbers that tell anything do not shrink so far."""


def path_of(given: object, what: str = "a file") -> Path:
    """The path that a user gives. Raises InvalidData for what is none, or none that a system takes."""
    if not isinstance(given, str | os.PathLike):
        raise InvalidData(f"{what} is given by its path, not by {shown(given)}")
    try:
        path = Path(given)
        encoded = os.fsencode(path)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"{shown(given)} is no path: {reason(error)}") from error
    if b"\0" in encoded:
        raise InvalidData(f"{shown(given)} is no path: it holds a zero byte")
    return path


def regular_file(given: object, what: str = "a file") -> Path:
    """The path of a file that can be read from beginning to end.

    Raises InvalidData where there is none: a folder, a pipe or a device is not one.
    """
    path = path_of(given, what)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidData(f"there is no file {shown(str(path))}") from error
    except OSError as error:
        raise InvalidData(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise InvalidData(f"{shown(str(path))} is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise InvalidData(f"{shown(str(path))} is a pipe, a socket or a device, which is not read")
    return path


@contextmanager
def decoding(origin: object, noun: str) -> Iterator[None]:
    """Turn what a library raises on damaged content into CorruptFile, and what the system refuses into InvalidData.

    origin: the file, or its part, that messages name; noun: what it should be, as "a PNG or JPEG image". Libraries that
    decode have no common base of their exceptions, and damaged content finds ones that none of them means to raise.
    """
    try:
        yield
    except MipinError:
        raise
    except MemoryError as error:
        raise InvalidData(f"{origin}: does not fit in memory") from error
    except (PermissionError, IsADirectoryError, FileNotFoundError) as error:
        raise InvalidData(f"{origin}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        raise CorruptFile(f"{origin}: not {noun}, or damaged ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """The first line of an exception's message, cut short; its type where it has none."""
    return first_line(error)[:200]


def check_unpacking(origin: object, claimed: int, packed: int) -> None:
    """Raises where `claimed` bytes are not to be decompressed from `packed` ones.

    CorruptFile where so few cannot hold them, InvalidData where they would take more memory than is given to them.
    """
    if claimed > DEFLATE_LIMIT * packed:
        raise CorruptFile(f"{origin}: claims {claimed} bytes, more than {packed} compressed ones can hold")
    if claimed > UNPACKED_BYTES or (claimed > HARMLESS_BYTES and claimed > RATIO_LIMIT * packed):
        raise InvalidData(
            f"{origin}: {packed} compressed bytes would take {claimed / 1e9:.1f} GB of memory; store the values "
            "uncompressed (np.save, np.savez), and they are read piece by piece"
        )


def read_bytes(path: Path, limit: int = JSON_BYTES) -> bytes:
    """The content of a file that is JSON. Raises CorruptFile where it is too large."""
    with decoding(path, "a JSON file"), path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CorruptFile(f"{path}: a JSON file of more than {limit >> 20} MiB is not read")
    return content


def read_json(path: Path, limit: int = JSON_BYTES) -> Any:
    """What a JSON file says. Raises CorruptFile where it is none, too large, too deep, or has numbers too long."""
    return parse_json(read_bytes(path, limit), path)


def parse_json(content: bytes | str, origin: object) -> Any:
    """What a JSON text says; raises as `read_json` does."""
    try:
        parsed = json.loads(content, parse_int=_integer)
    except RecursionError as error:
        raise CorruptFile(f"{origin}: not a JSON file that is read (nested more than {JSON_DEPTH} deep)") from error
    except ValueError as error:
        raise CorruptFile(f"{origin}: not a JSON file ({reason(error)})") from error
    level = [parsed]
    for _ in range(JSON_DEPTH):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _inside(value)]
        if not level:
            return parsed
    raise CorruptFile(f"{origin}: not a JSON file that is read (nested more than {JSON_DEPTH} deep)")


def _inside(value: dict[str, Any] | list[Any]) -> Any:
    return value.values() if isinstance(value, dict) else value


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > JSON_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)
