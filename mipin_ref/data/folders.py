"""The images of a folder: its own, or those of its sub-folders, however deep."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mipin_ref.errors import InvalidData
from mipin_ref.text import printable

SUFFIXES = (".png", ".jpg", ".jpeg")
HIDDEN, OTHER, AGAIN = "hidden", "of other types", "linked to a folder already read"
LISTED = 5
"""Suffixes of other types that are named."""


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder.

    files: sorted by their paths in the folder, part by part; names: these paths, fit to print; classes: the place of
    the sub-folder that each lies in among all sub-folders' sorted names, None where images lie in the folder itself;
    left_out: how many entries were passed over, by why.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    classes: tuple[int, ...] | None
    left_out: Mapping[str, int]

    def told(self) -> str:
        """What was left out, in a few words; "" where nothing was."""
        return (
            f"left out {', '.join(f'{count} {why}' for why, count in self.left_out.items())}" if self.left_out else ""
        )


def find_images(folder: Path) -> ImageFolder:
    """The PNG and JPEG files of a folder, or of its sub-folders and theirs; the uppermost are classes.

    Each folder is read once, whatever links lead to it. Hidden files and folders are passed over.
    Raises InvalidData where there is no image, or images lie both in the folder and in its sub-folders; OSError.
    """
    left_out: Counter[str] = Counter()
    suffixes: Counter[str] = Counter()
    direct: list[Path] = []
    deep: list[Path] = []
    classes: list[int] = []
    seen, number = {_identity(folder)}, -1
    for entry in _shown(folder, left_out):
        if entry.is_dir():
            number += 1
            inside = list(_below(entry, seen, left_out, suffixes))
            deep += inside
            classes += [number] * len(inside)
        elif _is_image(entry):
            direct.append(entry)
        else:
            suffixes[entry.suffix.lower()] += 1
    if direct and deep:
        raise InvalidData(f"{folder}: holds images both directly and in sub-folders; keep one of the two")
    if suffixes:
        named = sorted(printable(one) for one in suffixes if one)
        more = ", ..." if len(named) > LISTED else ""
        kinds = f" ({', '.join(named[:LISTED])}{more})" if named else ""
        left_out[OTHER + kinds] = suffixes.total()
    if not direct and not deep:
        besides = ", ".join(f"{count} {why}" for why, count in left_out.items())
        raise InvalidData(
            f"{folder}: holds no PNG or JPEG image and no CIFAR-10 batch"
            + (f", but files {besides}" if besides else "")
        )
    files = tuple(direct or deep)
    names = tuple(printable(file.relative_to(folder).as_posix()) for file in files)
    return ImageFolder(files, names, None if direct else tuple(classes), left_out)


def _below(folder: Path, seen: set[tuple[int, int]], left_out: Counter[str], suffixes: Counter[str]) -> Iterator[Path]:
    """The images below a folder in order. seen: folders read, which links may lead to again and without end."""
    # Not by recursion: folders nest deeper than Python calls.
    waiting = [folder]
    while waiting:
        entry = waiting.pop()
        if entry.is_dir():
            identity = _identity(entry)
            if identity in seen:
                left_out[AGAIN] += 1
                continue
            seen.add(identity)
            waiting += reversed(list(_shown(entry, left_out)))
        elif _is_image(entry):
            yield entry
        else:
            suffixes[entry.suffix.lower()] += 1


def _shown(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """The entries of a folder that are not hidden, sorted by name."""
    for name in sorted(os.listdir(folder)):
        if name.startswith("."):
            left_out[HIDDEN] += 1
        else:
            yield folder / name


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and entry.is_file()


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
