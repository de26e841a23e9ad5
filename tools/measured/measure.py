"""Measure tables of figures anew, run by run: what is measured on this arithmetic is left, what fails is told last."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

from measured.arithmetic import Engine, arithmetic, networks
from measured.cells import FiguresError
from measured.pages import TABLES, tables_in
from measured.table import Run, Table, read, write

LINKED = ("tools", "models_onnx", "mipin_ref", "tests", "pyproject.toml")
"""What commands find where they run, as in the root."""
TOOLS = Path(__file__).resolve().parents[1]
PRINTED = "printed.txt"
"""Of a table's folder: what the command prints that runs, or ran last."""


def measure(root: Path, names: Sequence[str], *, work: Path, data: Iterable[Path], again: bool = False) -> list[str]:
    """Run the commands of tables, all where none is named; gives a line for each that failed.

    work: where each table has a folder of its own, in which its commands run and which keeps what they leave; data:
    files that they read, linked there by name; again: also what was measured on the engine's present code. Tables that
    another process measures are left to it.
    """
    engine, failed, data = Engine(root), [], list(data)
    commit_of(root)
    for name in names or list(tables_in(root)):
        path, place = root / TABLES / f"{name}.json", work / name
        # What is called to make what lies in a folder is known from its first run on, or never.
        called: set[str] | None = None if place.exists() or read(path).machine is not None else set()
        prepare(root, place, data)
        with claimed(place) as free:
            if not free:
                print(f"{name}: another process measures it", flush=True)
                continue
            for number, run in enumerate(read(path).runs):
                if run.arithmetic == arithmetic(root, run, engine) and not again:
                    continue
                print(f"{name}: {run.command}", flush=True)
                try:
                    made, called = _measured(root, place, run, called)
                    # Read again: the table may have been changed by hand meanwhile, and hours lie between two runs.
                    _put(path, read(path), number, made)
                except (ValueError, OSError) as error:
                    called = None
                    failed.append(f"{name}: {run.command}: {error}")
                    print(f"  failed: {error}", flush=True)
                else:
                    print(f"  {made.seconds:.0f} s", flush=True)
    return failed


def prepare(root: Path, place: Path, data: Iterable[Path]) -> None:
    """Make the folder where a table's commands run."""
    place.mkdir(parents=True, exist_ok=True)
    for path in (*(root / name for name in LINKED), *data):
        if path.exists():
            with suppress(FileExistsError):
                (place / path.name).symlink_to(path.resolve())


@contextmanager
def claimed(place: Path) -> Iterator[bool]:
    """Keep a folder for this process, until it leaves or dies; False where another one has it."""
    with (place / "claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def commit_of(root: Path) -> str:
    """The commit that is checked out, "unknown" where the tree is no repository.

    Raises FiguresError where the package differs from it: no figure of such code could be measured again.
    """
    if not (root / ".git").exists():
        return "unknown"

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    changed = [name for name in git("status", "--porcelain", "--", "mipin_ref").splitlines() if name.endswith(".py")]
    if changed:
        raise FiguresError(f"code that is to be measured is not committed: {', '.join(changed)}")
    return git("rev-parse", "--short", "HEAD")


def _measured(root: Path, place: Path, run: Run, called: set[str] | None) -> tuple[Run, set[str] | None]:
    """Run a command and read what it told; called: what was called for all that lies there, None where it is not known.

    Raises FiguresError where it fails or tells nothing, and where the engine's code changed while it ran.
    """
    program, *words = shlex.split(run.command)
    if program != "python":
        raise FiguresError("figures are told by the scripts of tools/")
    told, calls = place / "figures.json", place / "called.json"
    for path in (told, calls):
        path.unlink(missing_ok=True)
    commit, engine, nets = commit_of(root), Engine(root), networks(root, run.command)
    began = time.perf_counter()
    _run([*([] if called is None else ["-m", "measured.traced", calls.name]), *words, "--json", told.name], root, place)
    took = round(time.perf_counter() - began, 1)
    if not told.exists():
        raise FiguresError("it wrote no figures")
    content = json.loads(told.read_text(encoding="utf-8"))
    told.unlink()
    these = json.loads(calls.read_text(encoding="utf-8")) if calls.exists() else None
    called = None if called is None or these is None else called.union(these)
    made = replace(run, commit=commit, date=date.today().isoformat(), seconds=took)
    made = replace(made, rows=content.get("rows", []), values=content.get("values", {}))
    made = replace(made, called=None if called is None else engine.among(called))
    if Engine(root).digest() != engine.digest() or networks(root, run.command) != nets:
        raise FiguresError("the engine's code, or a network, was changed while it was measured")
    return replace(made, arithmetic=arithmetic(root, made, engine)), called


def _run(words: Sequence[str], root: Path, place: Path) -> None:
    """Run Python in a folder, with a cache of its own. Raises FiguresError where it fails."""
    paths = os.pathsep.join([str(root), str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (place / PRINTED).open("w") as printed:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=place,
            env={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(place / "cache")},
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise FiguresError(([line for line in done.stderr.splitlines() if line.strip()] or ["it failed"])[-1])


def _put(path: Path, table: Table, number: int, run: Run) -> None:
    """Write a run in its place. Raises FiguresError where the table's templates do not fit it."""
    made = replace(table, runs=[*table.runs[:number], run, *table.runs[number + 1 :]])
    # The new rows alone: those of other runs may still be of an older form.
    if made.columns:
        replace(made, runs=[run]).markdown()
    write(path, made)
