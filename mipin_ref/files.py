"""Files appear whole or not at all, and folders have one writer."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mipin_ref.errors import InvalidData


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file open for writing under a temporary name beside `path`, renamed to it when the block ends well.

    On any failure, Ctrl-C included, the temporary file is removed and what `path` held before stays.
    Raises InvalidData, naming the path, where it cannot be written.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InvalidData(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; the file and its folder are made where they are missing.

    The system lets go of it when the process ends, however it ends. The holder may delete the file.
    Raises BlockingIOError where another holds it, OSError as the system gives it or where it has no such locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "this system has no flock", str(path)) from error
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
