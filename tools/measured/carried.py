"""Figures that were measured before anybody traced their commands: whether they are of the present arithmetic.

What a command calls is told by running it now, or a smaller one that is named beside it, and no figure is taken. Where
every function of these, and every layer list, was the same at the commit that was measured, the command took the same
way there: the figures are today's. Where one was another they stay old, and it is kept which.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from measured.arithmetic import arithmetic, digests, rated, traced
from measured.calls import Calls
from measured.cells import FiguresError
from measured.engine import Engine
from measured.measure import claimed, put
from measured.networks import FOLDER, lists
from measured.pages import TABLES, tables_in
from measured.table import Run, read

ABSENT = "none"
"""The digest of what was not there yet."""


def carry(root: Path, names: Sequence[str], *, work: Path, data: Iterable[Path]) -> list[str]:
    """Trace the commands of tables that nobody traced, all where none is named; gives a line for each run: whether it
    is of the present arithmetic, or what changed since.

    work, data: as of `measure`.
    """
    engine, told, data = Engine.of(root), [], list(data)
    with TemporaryDirectory() as folder:
        there = cache(lambda commit: _checked_out(root, commit, Path(folder) / commit))
        for name in names or list(tables_in(root)):
            path = root / TABLES / f"{name}.json"
            place = work / name
            place.mkdir(parents=True, exist_ok=True)
            with claimed(place) as free:
                calls = Calls(root, place, data, timed=True)
                for number, run in enumerate(read(path).runs if free else []):
                    if run.called is not None or run.commit is None:
                        continue
                    print(f"{name}: {run.command}", flush=True)
                    called = calls.of(run)
                    if called is None:
                        told.append(f"{name}: {run.command}: nobody knows what it calls")
                        break
                    made = _carried(traced(root, run, called, engine), engine, there(run.commit), run.arithmetic)
                    put(path, read(path), number, made)
                    same = made.arithmetic == arithmetic(root, made, engine)
                    told.append(f"{name}: {run.command}: {'as measured' if same else 'old'}")
    return told


def _carried(now: Run, engine: Engine, tree: Path, before: str | None) -> Run:
    """A run with what it calls as that was in the tree that was measured. before: its digest."""
    earlier = Engine.of(tree)
    then = earlier.now(digests(now))
    # What stands outside of functions and was not there yet was read by none that is the same.
    kept = {
        file: {
            name: digest
            for name, digest in names.items()
            if name in then.get(file, {}) or engine.is_function(file, name)
        }
        for file, names in digests(now).items()
    }
    called = {file: {name: then.get(file, {}).get(name, ABSENT) for name in names} for file, names in kept.items()}
    try:
        networks = lists(tree, now.networks or {}, earlier.digest)
    except FiguresError:
        networks = dict.fromkeys(now.networks or {}, ABSENT)
    if (called, networks) == (kept, now.networks):
        return rated(now, kept, networks)
    # What is called was told by later code: were that undone, it would be no proof. So it stays old until measured.
    return replace(rated(now, called, networks), arithmetic=before or "old")


def _checked_out(root: Path, commit: str, place: Path) -> Path:
    """The package and networks of a commit. Raises FiguresError where there is none."""
    done = subprocess.run(
        ["git", "-C", str(root), "archive", commit, "mipin_ref", FOLDER], capture_output=True, check=False
    )
    if done.returncode:
        raise FiguresError(f"there is no commit {commit} with mipin_ref and {FOLDER}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place
