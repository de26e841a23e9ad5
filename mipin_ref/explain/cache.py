"""What was fitted before, in the user's cache folder, by the content of all that it was fitted from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mipin_ref.beside import others_of
from mipin_ref.data import Samples, files_of
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.predict import Net
from mipin_ref.files import make_folder, written_whole
from mipin_ref.graph.network import Network
from mipin_ref.inverse.family import Family
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.load import load_inverse
from mipin_ref.inverse.passes.checkpoint import discard
from mipin_ref.layers import HostArray

BYTES = 1 << 30
"""Bytes that the cache may hold: beyond them, what was longest not used goes."""
SUFFIX = ".mipin"
FORMAT = 1
READ_BYTES = 16 << 20

Read = TypeVar("Read")


def cache_folder() -> Path:
    """Where fitted inverses are kept: `mipin_ref` in $XDG_CACHE_HOME, else in ~/.cache (XDG base directories)."""
    told = os.environ.get("XDG_CACHE_HOME", "")
    # The specification has a path that is not absolute passed over.
    root = Path(told) if told and Path(told).is_absolute() else Path.home() / ".cache"
    return root / "mipin_ref"


@dataclass(frozen=True)
class Cache:
    """Inverses by content. folder: None for no cache; limit: bytes in all.

    An entry appears under its name whole (a temporary name, then a rename), so two processes may use it at once, and
    is read with its checksums: what is damaged, or gone in between, counts as missing. A folder that cannot be written
    is no error: the next run fits again.
    """

    folder: Path | None
    limit: int = BYTES

    def load(self, key: str, net: Network, target: int | tuple[int, ...], backend: Any) -> Inverse | None:
        """The inverse of a key; None where there is none that is whole and of this network and class."""
        return self._read(key, lambda path: load_inverse(path, net, target=target, backend=backend))

    def load_some(
        self, key: str, net: Network, classes: Iterable[int], backend: Any
    ) -> tuple[dict[int, Inverse], frozenset[int]]:
        """Of the inverses of a key that share a part those of some classes, and which classes there are; none where
        there are none that are whole. What a class has alone may be fitted when it is asked for.
        """

        def loaded(path: Path) -> tuple[dict[int, Inverse], frozenset[int]]:
            several = load_inverse(path, net, backend=backend)
            if isinstance(several, Inverse):
                return {several.target: several}, frozenset({several.target})
            named = {net.check_target(target): target for target in several}
            return {c: several[named[c]] for c in classes if c in named}, frozenset(named)

        return self._read(key, loaded) or ({}, frozenset())

    def _read(self, key: str, load: Callable[[Path], Read]) -> Read | None:
        """What a file holds; None where there is none that is whole."""
        if self.folder is None:
            return None
        path = self.folder / f"{key}{SUFFIX}"
        try:
            found = load(path)
        except CorruptFile:
            with suppress(OSError):
                path.unlink()
            return None
        except (InvalidData, OSError):
            return None
        with suppress(OSError):
            os.utime(path)
        return found

    def keep(self, key: str, inverse: Inverse | Family) -> None:
        """Store an inverse, or several that share a part, and let go of what was longest not used where there is too
        much.
        """
        if self.folder is None:
            return
        with suppress(InvalidData, OSError):
            make_folder(self.folder)
            inverse.save(self.folder / f"{key}{SUFFIX}")
            self._prune()

    def passes(self, key: str) -> Path | None:
        """Where the fit of a key keeps its finished passes, to go on after an interruption; None for no cache.

        What other fits left there goes where all is more than the cache may hold.
        """
        if self.folder is None:
            return None
        folder = self.folder / "passes"
        with suppress(OSError):
            if sum(path.stat().st_size for path in folder.rglob("*")) > self.limit:
                for other in {*folder.iterdir()} - {folder / key}:
                    discard(other)
        return folder / key

    def text(self, key: str) -> str | None:
        """A short text that `keep_text` stored; None where there is none."""
        if self.folder is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            return (self.folder / f"{key}.txt").read_text("utf-8")
        return None

    def keep_text(self, key: str, text: str) -> None:
        """Store a short text."""
        if self.folder is None:
            return
        with suppress(InvalidData, OSError):
            make_folder(self.folder)
            with written_whole(self.folder / f"{key}.txt") as file:
                file.write(text.encode("utf-8"))

    def _prune(self) -> None:
        assert self.folder is not None
        entries = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                if path.suffix in (SUFFIX, ".txt") and not path.name.startswith("."):
                    status = path.stat()
                    entries.append((status.st_mtime, status.st_size, path))
        size = sum(one for _, one, _ in entries)
        for _, one, path in sorted(entries, key=lambda entry: entry[0]):
            if size <= self.limit:
                break
            with suppress(OSError):
                path.unlink()
                size -= one


def key_of(net: Net, target: object, made_from: Mapping[str, Any]) -> str:
    """The name of an entry: a hash of the model, the class, this package's version, and what it was made from."""
    told = {
        "format": FORMAT,
        "version": _version(),
        "model": net.sha256,
        "output": net.output,
        "target": target,
        **made_from,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _version() -> str:
    """The package's version, looked up once: there is a key for every class."""
    return version("mipin_ref")


def digest_of(data: Samples, rows: Iterable[int] | None = None) -> str:
    """A hash of samples: of image files their bytes, of others their values; rows: those that count, all where None."""
    digest = hashlib.sha256(str(data.shape[1:]).encode())
    files = files_of(data)
    chosen = np.arange(len(data)) if rows is None else np.array([*rows], np.int64)
    if files is not None:
        for row in chosen:
            with files[row].open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    size = max(1, READ_BYTES // max(1, int(np.prod(data.shape[1:])) * data.dtype.itemsize))
    for start in range(0, len(chosen), size):
        batch: HostArray = data[chosen[start : start + size]]
        digest.update(f"{batch.dtype}".encode())
        digest.update(np.ascontiguousarray(batch).tobytes())
        for name, values in sorted(others_of(batch).items()):
            digest.update(f"{name!r} {values.dtype} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
