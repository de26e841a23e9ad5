"""Files appear whole or not at all, and folders have one writer."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from mipin_ref.errors import InvalidData

try:
    import fcntl
except ImportError:  # no flock: what a killed process left stays there
    fcntl = None  # type: ignore[assignment]

_TAIL = re.compile(r"\.[0-9a-f]{8}\.tmp")
_LONGEST = 255 - len("..01234567.tmp")
"""Bytes of a file's name that its temporary name begins with: file systems take 255 in all."""
_PROBED = 4096
"""Bytes that a full disk has not: the least that file systems hand out."""


@contextmanager
def written_whole(path: str | os.PathLike[str], *, clear: bool = True) -> Iterator[BinaryIO]:
    """A file open for writing under a temporary name beside `path`, renamed to it when the block ends well.

    On any failure, Ctrl-C included, the temporary file is removed and what `path` held before stays. What killed
    processes left of the same path is removed as well, but for clear=False: for the many files of a folder that
    `check_folder` has cleared. Raises InvalidData, naming the path, where it cannot be written.
    """
    path = Path(path)
    with _told(path), _temporary(path, _new_file, clear) as (temporary, descriptor):
        with os.fdopen(os.dup(descriptor), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def temporary_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden folder beside the file `path`, for what it is made of; gone when the block ends, however it ends.

    What killed processes left of the same path is removed as well. Raises InvalidData where it cannot be made.
    """
    path = Path(path)
    with _told(path), _temporary(path, _new_folder, True) as (folder, _):
        yield folder


def check_writable(path: str | os.PathLike[str], *, probe: bool = True) -> None:
    """Try what `written_whole` will do, so that long work does not end with nowhere to go.

    probe: whether a temporary file is written, or only what stands at the path is looked at.
    Raises InvalidData where the folder is missing or read-only, the disk is full, the name is too long, or anything but
    a regular file is in the way.
    """
    path = Path(path)
    with _told(path):
        if not path.parent.is_dir():
            raise InvalidData(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r} to write to")
        # A device or a pipe would be replaced by a file of its name.
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if path.is_dir():
                raise InvalidData(f"{str(path)!r} is a folder, and cannot be written as a file")
            if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                raise InvalidData(f"{str(path)!r} cannot be written: it is no regular file")
        if probe:
            _probe(path)


def check_folder(path: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Try whether files can be written into a folder, which may have to be made; nothing is made yet.

    names: of the files, as patterns such as page_*.png; what killed processes left of them is removed.
    Raises InvalidData where a file is in the way or a name too long, and as `check_writable` does.
    """
    path = Path(path)
    with _told(path):
        # Asked of the whole path: a name too long for the file system is told here.
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise InvalidData(f"{str(path)!r} cannot be made: {str(place)!r} is a file")
        _probe(place / "probe")
        if place == path:
            for name in os.listdir(path):
                if any(fnmatchcase(name, f".{one}.????????.tmp") for one in names):
                    _remove_dead(path, name)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made where it is missing, its parents too. Raises InvalidData where it cannot be made."""
    path = Path(path)
    with _told(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        if b"\0" in os.fsencode(path):
            raise InvalidData(f"{str(path)!r} cannot be written: a name holds no null byte")
        yield
    except UnicodeEncodeError as error:
        raise InvalidData(f"{str(path)!r} cannot be written: the system has no such name") from error
    except OSError as error:
        raise InvalidData(f"{str(path)!r} cannot be written: {error.strerror or error}") from error


def _probe(path: Path) -> None:
    with _temporary(path, _new_file, True) as (_, descriptor):
        os.write(descriptor, b"\0" * _PROBED)
        os.fsync(descriptor)


@contextmanager
def _temporary(path: Path, new: Callable[[Path], int], clear: bool) -> Iterator[tuple[Path, int]]:
    """A new file or folder of a temporary name beside `path`, and its descriptor, which holds a lock on it.

    The lock is how the next writer of the same path tells what is in use from what a killed process left.
    """
    start = f".{os.fsdecode(os.fsencode(path.name)[:_LONGEST])}"
    if clear:
        for name in os.listdir(path.parent):
            if name.startswith(start) and _TAIL.fullmatch(name[len(start) :]):
                _remove_dead(path.parent, name)
    temporary, descriptor = _made(path.parent, start, new)
    try:
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        _remove(temporary)


def _made(folder: Path, start: str, new: Callable[[Path], int]) -> tuple[Path, int]:
    while True:
        temporary = folder / f"{start}.{secrets.token_hex(4)}.tmp"
        descriptor = new(temporary)
        # Between the two steps another writer may have taken it for a killed process's: then it is gone or about to go.
        if _locked_by_us(descriptor) is not False and _names(temporary, descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _new_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _remove_dead(folder: Path, name: str) -> None:
    """Remove a temporary file or folder that no living process holds."""
    with suppress(OSError):
        # Not to wait for the writer of a pipe of that name.
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            if _locked_by_us(descriptor) and _names(folder / name, descriptor):
                _remove(folder / name)
        finally:
            os.close(descriptor)


def _locked_by_us(descriptor: int) -> bool | None:
    """Whether the lock was to be had; None where there are no locks, and nothing can be taken for left over."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
            return None
        raise
    return True


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; the file and its folder are made where they are missing.

    The system lets go of it when the process ends, however it ends. The holder may delete the file.
    Raises BlockingIOError where another holds it, OSError as the system gives it or where it has no such locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this system has no flock", str(path))
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # whoever held the lock has deleted the folder just now
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have deleted the file: the lock on a file without a name keeps nobody out.
            if _names(path, file):
                yield
                return
        finally:
            os.close(file)


def _names(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
