"""Measure tables of figures anew, run by run: what is measured on this arithmetic is left, what fails is told last."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

from measured.arithmetic import digest
from measured.cells import FiguresError
from measured.pages import TABLES, tables_in
from measured.table import Run, Table, read, write

LINKED = ("tools", "models_onnx", "mipin_ref", "tests", "pyproject.toml")
"""What commands find where they run, as in the root."""


def measure(root: Path, names: Sequence[str], *, work: Path, data: Iterable[Path], again: bool = False) -> list[str]:
    """Run the commands of tables, all where none is named; gives a line for each that failed.

    work: the folder where commands run, which keeps what they leave; data: files that they read, linked there by name;
    again: also what was measured on the engine's present code.
    """
    prepare(root, work, data)
    arithmetic, commit, failed = digest(root), commit_of(root), []
    for name in names or list(tables_in(root)):
        path = root / TABLES / f"{name}.json"
        for number, run in enumerate(read(path).runs):
            if run.arithmetic == arithmetic and not again:
                continue
            print(f"{name}: {run.command}", flush=True)
            began = time.perf_counter()
            try:
                made = _measured(root, work, replace(run, commit=commit, arithmetic=arithmetic))
                # Read again: the table may have been changed by hand meanwhile, and hours lie between two runs.
                _put(path, read(path), number, made)
            except (ValueError, OSError) as error:
                failed.append(f"{name}: {run.command}: {error}")
                print(f"  failed: {error}", flush=True)
            else:
                print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    return failed


def prepare(root: Path, work: Path, data: Iterable[Path]) -> None:
    """Make the folder where commands run."""
    work.mkdir(parents=True, exist_ok=True)
    for path in (*(root / name for name in LINKED), *data):
        if path.exists() and not (work / path.name).exists():
            (work / path.name).symlink_to(path.resolve())


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


def _measured(root: Path, work: Path, run: Run) -> Run:
    """Run a command and read what it told. Raises FiguresError where it fails or tells nothing."""
    program, *words = shlex.split(run.command)
    if program != "python":
        raise FiguresError("figures are told by the scripts of tools/")
    told = work / "figures.json"
    told.unlink(missing_ok=True)
    paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *words, "--json", told.name],
        cwd=work,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FiguresError(([line for line in done.stderr.splitlines() if line.strip()] or ["it failed"])[-1])
    if not told.exists():
        raise FiguresError("it wrote no figures")
    content = json.loads(told.read_text(encoding="utf-8"))
    with suppress(FileNotFoundError):
        told.unlink()
    return replace(run, rows=content.get("rows", []), values=content.get("values", {}), date=date.today().isoformat())


def _put(path: Path, table: Table, number: int, run: Run) -> None:
    """Write a run in its place. Raises FiguresError where the table's templates do not fit it."""
    made = replace(table, runs=[*table.runs[:number], run, *table.runs[number + 1 :]])
    # The new rows alone: those of other runs may still be of an older form.
    if made.columns:
        replace(made, runs=[run]).markdown()
    write(path, made)
