"""Measure tables of figures anew, run by run: what is measured on this arithmetic is left, what fails is told last."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

from measured.arithmetic import arithmetic, networks, traced, untraced
from measured.calls import Calls, prepare, run_in
from measured.cells import FiguresError
from measured.engine import Engine
from measured.pages import TABLES, tables_in
from measured.table import Run, Table, read, write


def measure(
    root: Path,
    names: Sequence[str],
    *,
    work: Path,
    data: Iterable[Path],
    again: bool = False,
    timed_alone: bool = False,
) -> list[str]:
    """Run the commands of tables, all where none is named; gives a line for each that failed.

    work: where each table has a folder of its own, in which its commands run and which keeps what they leave; data:
    files that they read, linked there by name; again: also what was measured on the engine's present code; timed_alone:
    what measures time does not run again for what it calls. Tables that another process measures are left to it.
    """
    engine, failed, data = Engine.of(root), [], list(data)
    commit_of(root)
    for name in names or list(tables_in(root)):
        path, place = root / TABLES / f"{name}.json", work / name
        calls = Calls(root, place, data, timed=read(path).machine is not None, wanted=not timed_alone)
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
                    made = _measured(root, place, run, calls)
                    # Read again: the table may have been changed by hand meanwhile, and hours lie between two runs.
                    put(path, read(path), number, made)
                except (ValueError, OSError) as error:
                    calls.forget()
                    failed.append(f"{name}: {run.command}: {error}")
                    print(f"  failed: {error}", flush=True)
                else:
                    print(f"  {made.seconds:.0f} s", flush=True)
    return failed


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


def _measured(root: Path, place: Path, run: Run, calls: Calls) -> Run:
    """Run a command and read what it told. Raises FiguresError where it fails or tells nothing, and where the engine's
    code changed while it ran.
    """
    told = place / "figures.json"
    told.unlink(missing_ok=True)
    commit, engine, nets = commit_of(root), Engine.of(root), networks(root, run.command)
    began = time.perf_counter()
    run_in(place, root, run.command, told, calls.beside)
    took = round(time.perf_counter() - began, 1)
    if not told.exists():
        raise FiguresError("it wrote no figures")
    content = json.loads(told.read_text(encoding="utf-8"))
    told.unlink()
    called = calls.of(run)
    made = replace(run, traced=run.traced if calls.timed else None)
    made = replace(made, commit=commit, date=date.today().isoformat(), seconds=took)
    made = replace(made, rows=content.get("rows", []), values=content.get("values", {}))
    if Engine.of(root).digest != engine.digest or networks(root, run.command) != nets:
        raise FiguresError("the engine's code, or a network, was changed while it was measured")
    return untraced(root, made, engine) if called is None else traced(root, made, called, engine)


def put(path: Path, table: Table, number: int, run: Run) -> None:
    """Write a run in its place. Raises FiguresError where the table's templates do not fit it."""
    made = replace(table, runs=[*table.runs[:number], run, *table.runs[number + 1 :]])
    # The new rows alone: those of other runs may still be of an older form.
    if made.columns:
        replace(made, runs=[run]).markdown()
    write(path, made)
