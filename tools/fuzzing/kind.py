"""What a kind of input is: files made from random numbers, and public functions that are asked to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from fuzzing.mutate import mutated

Files = Mapping[str, bytes]
"""Content by file name, "/" between folders."""


class WrongNumber(Exception):
    """What was read contradicts the file."""


class Kind(ABC):
    """One kind of input. A kind makes its seeds when it is made, before any worker is forked."""

    name: ClassVar[str]
    batch: ClassVar[int] = 1000
    """Inputs of one turn: so that every kind has about as much time, or what it is worth."""
    memory: ClassVar[int] = 512 << 20
    """Bytes by which an input may let the resident memory grow."""

    @abstractmethod
    def make(self, random: Random) -> Files:
        """The files of one input."""

    @abstractmethod
    def ask(self, folder: Path) -> None:
        """Have public functions read an input's files.

        Raises MipinError where they refuse it, WrongNumber where they read what is not there; whatever else is raised
        is a fault.
        """


class OneFile(Kind):
    """Inputs of one file, each a mutation of one of the seeds."""

    seeds: Sequence[tuple[str, bytes]]
    """File names and whole contents."""

    def make(self, random: Random) -> Files:
        name, content = random.choice(self.seeds)
        return {name: self.changed(random, name, content)}

    def changed(self, random: Random, name: str, content: bytes) -> bytes:
        """The mutation; by default of bytes."""
        return mutated(random, content, [other for _, other in self.seeds])

    def ask(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self.read(path)

    def read(self, path: Path) -> None:
        """Have public functions read one file."""
        raise NotImplementedError


def write(folder: Path, files: Files) -> None:
    """The files of an input into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
