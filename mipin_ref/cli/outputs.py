"""Where commands write: tried before the work begins, and never what they read."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from mipin_ref.errors import InvalidData
from mipin_ref.files import check_folder, check_writable
from mipin_ref.graph.open import external_files

INPUTS = (
    "model",
    "data",
    "images",
    "labels",
    "calibration",
    "inverse",
    "patterns",
    "class_names",
    "boxes",
    "feature_names",
    "tokenizer",
    "vocabulary",
    "check",
)
"""Arguments that name what is read, of all commands that write."""
PICTURES = ("heatmap_*.png", "page_*.png")

Identity = tuple[int, int]


def claim_file(options: Namespace, path: str) -> Path:
    """The path of a file to write.

    Raises InvalidData where it cannot be written now, or is one of the command's inputs, by whatever name.
    """
    return claim_files(options, [path])[0]


def claim_files(options: Namespace, paths: Sequence[str]) -> list[Path]:
    """The same of several, in one folder."""
    claimed = [Path(path) for path in paths]
    for number, path in enumerate(claimed):
        # The disk is asked once: it may be slow to answer, and there are networks of thousands of classes.
        check_writable(path, probe=number == 0)
    _refuse_inputs(options, claimed)
    return claimed


def claim_folder(options: Namespace, path: str, names: Sequence[str], *, pictures: bool) -> Path:
    """The path of a folder to write files into, which is yet to be made.

    names: of these files, as patterns such as page_*.png; pictures: whether image files are among them.
    Raises InvalidData where nothing can be written there now, a file that would be overwritten is one of the command's
    inputs, and where pictures would lie among the images that it reads.
    """
    folder = Path(path)
    check_folder(folder, names)
    if pictures:
        for argument, place in _inputs(options):
            if place.is_dir() and folder.resolve().is_relative_to(place.resolve()):
                raise InvalidData(
                    f"-o {path!r} lies in {str(place)!r}, which is read as {argument.upper()}: the pictures would be "
                    "taken for images the next time; name a folder elsewhere"
                )
    if folder.is_dir():
        _refuse_inputs(options, [one for one in folder.iterdir() if any(fnmatchcase(one.name, name) for name in names)])
    return folder


def _refuse_inputs(options: Namespace, outputs: Sequence[Path]) -> None:
    """Files are told by what they are, not by their paths: links lead elsewhere."""
    existing = {_identity(path): path for path in outputs if path.exists()}
    if not existing:
        return
    for argument, place in _inputs(options):
        for file in _files(place):
            with suppress(OSError):
                if output := existing.get(_identity(file)):
                    raise InvalidData(
                        f"-o would overwrite {str(output)!r}, which is {str(file)!r}, read as {argument.upper()}; name "
                        "another"
                    )


def _inputs(options: Namespace) -> Iterator[tuple[str, Path]]:
    for argument in INPUTS:
        told = getattr(options, argument, None)
        for path in [told] if isinstance(told, str) else told or []:
            # What cannot be a path is told where it is read.
            with suppress(OSError, ValueError):
                if os.path.lexists(path):
                    yield argument, Path(path)
                    if argument == "model":
                        yield from (("model", file) for file in external_files(path))
    for _, value in getattr(options, "given", ()):
        if isinstance(value, str):
            with suppress(OSError, ValueError):
                if os.path.lexists(value):
                    yield "given", Path(value)


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for folder, _, names in os.walk(place):
        yield from (Path(folder) / name for name in names)


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino
