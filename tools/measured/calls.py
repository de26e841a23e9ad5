"""What the commands of a table call: told beside their figures, or by a run of its own where time is measured."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from measured.cells import FiguresError
from measured.table import Run
from measured.traced import read, variables

LINKED = ("tools", "models_onnx", "mipin_ref", "tests", "pyproject.toml")
"""What commands find where they run, as in the root."""
TOOLS = Path(__file__).resolve().parents[1]
PRINTED = "printed.txt"
"""Of a table's folder: what the command prints that runs, or ran last."""
APART = "traced"
"""Of a table's folder: where its commands run again."""


def prepare(root: Path, place: Path, data: Iterable[Path]) -> None:
    """Make the folder where a table's commands run."""
    place.mkdir(parents=True, exist_ok=True)
    for path in (*(root / name for name in LINKED), *data):
        if path.exists():
            with suppress(FileExistsError):
                (place / path.name).symlink_to(path.resolve())


def run_in(place: Path, root: Path, command: str, figures: Path, told: Path | None) -> None:
    """Run a command in a folder, with a cache of its own. figures: where it writes what it measures; told: where its
    processes say what they call, None where they do not. Raises FiguresError where it fails.
    """
    program, *words = shlex.split(command)
    if program != "python":
        raise FiguresError("figures are told by the scripts of tools/")
    paths = os.pathsep.join([str(root), str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])])
    given: Mapping[str, str] = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(place / "cache")}
    with (place / PRINTED).open("w") as printed:
        done = subprocess.run(
            [sys.executable, *words, "--json", figures.name],
            cwd=place,
            env=given if told is None else variables(told.resolve(), given),
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise FiguresError(([line for line in done.stderr.splitlines() if line.strip()] or ["it failed"])[-1])


@dataclass
class Calls:
    """Collects what is called in a table's folder, run after run: what one leaves there the next may read.

    timed: the figures are of time, which telling takes: each command runs once more, in a folder apart that is made
    anew, unless nobody wants to know. What was made in the folder itself before is told by nobody, so that it is not
    known what that comes from.
    """

    root: Path
    place: Path
    data: list[Path]
    timed: bool
    wanted: bool = True
    _known: bool = field(init=False)
    _begun: bool = field(init=False, default=False)
    _all: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._known = self.wanted if self.timed else not self.place.exists()

    @property
    def beside(self) -> Path | None:
        """Where a run that is measured tells what it calls."""
        if self.timed or not self._known:
            return None
        (self.place / "called.txt").unlink(missing_ok=True)
        return self.place / "called.txt"

    def of(self, run: Run) -> set[str] | None:
        """What was called up to and with a run that was just measured; None where that is not known."""
        if self.timed and self._known:
            self.again(run)
        elif self._known:
            self._take(self.place / "called.txt")
        return set(self._all) if self._known else None

    def again(self, run: Run) -> None:
        """Run a command, or the smaller one that stands for it, for what it calls alone."""
        place = self.place / APART
        if not self._begun:
            shutil.rmtree(place, ignore_errors=True)
        self._begun = True
        prepare(self.root, place, self.data)
        told = place / "called.txt"
        told.unlink(missing_ok=True)
        try:
            run_in(place, self.root, run.traced or run.command, place / "figures.json", told)
        except FiguresError as error:
            print(f"  not traced: {error}", flush=True)
            self.forget()
        else:
            self._take(told)

    def forget(self) -> None:
        """From here on nobody knows what was called: something was left behind by a run that failed."""
        self._known = False

    def _take(self, told: Path) -> None:
        called = read(told)
        if called is None:
            self.forget()
        else:
            self._all |= called
