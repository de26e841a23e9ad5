"""Which files of a folder an earlier run wrote: those are replaced as a set, and no others are touched."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mipin_ref.errors import InvalidData
from mipin_ref.files import written_whole

MANIFEST, INDEX, ARRAYS = "explained.json", "index.html", "attribution.npz"
NAMES = (MANIFEST, INDEX, ARRAYS, "overlay_*.*")
"""Patterns of the files that a run writes."""
FORMAT, VERSION = "mipin-explained", 1
ENDS = 4096
"""Bytes at either end of a file in which its mark stands."""
LONGEST = 1 << 20
"""Bytes of a manifest, at most."""


@dataclass(frozen=True)
class EarlierSet:
    """files: that earlier runs wrote; tokens: the marks of these runs."""

    files: Sequence[Path] = ()
    tokens: Sequence[str] = ()


def earlier_set(folder: Path) -> EarlierSet:
    """The files of earlier runs in a folder, which may be missing.

    Raises InvalidData where a file of a name that a run writes is not theirs: it would be overwritten, or be taken for
    one of the new set.
    """
    try:
        names = sorted(path for path in folder.iterdir() if any(fnmatchcase(path.name, one) for one in NAMES))
    except FileNotFoundError:
        return EarlierSet()
    except OSError as error:
        raise InvalidData(f"{str(folder)!r} cannot be read: {error.strerror or error}") from error
    tokens = _tokens(folder / MANIFEST) if folder / MANIFEST in names else ()
    for path in names:
        if path.name != MANIFEST and not _carries(path, tokens):
            raise InvalidData(
                f"{str(folder)!r} holds {path.name!r}, which no earlier run of this left there; name another folder, "
                "or move that file"
            )
    return EarlierSet(names, tokens)


def write_manifest(folder: Path, token: str, replaces: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Say in the folder whose files those with the token are. Raises InvalidData where it cannot be written."""
    record = {"format": FORMAT, "version": VERSION, "run": token, "replaces": list(replaces), **facts}
    with written_whole(folder / MANIFEST) as file:
        file.write(json.dumps(record, indent=1).encode())


def mark_of(token: str) -> str:
    """The text by which a file says that it is of the run."""
    return f"{FORMAT} {token}"


def _tokens(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            record = json.loads(file.read(LONGEST))
        if record["format"] == FORMAT and record["version"] == VERSION:
            tokens = [record["run"], *record["replaces"]]
            if all(isinstance(one, str) and len(one) == 32 for one in tokens):
                return tokens
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InvalidData(f"{str(path)!r} is in the way: it was not written by an earlier run of this; name another folder")


def _carries(path: Path, tokens: Sequence[str]) -> bool:
    try:
        # A link, or a pipe, is none that a run made.
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            ends = file.read(ENDS)
            file.seek(max(0, path.stat().st_size - ENDS))
            ends += file.read()
    except OSError:
        return False
    return any(mark_of(token).encode() in ends for token in tokens)
