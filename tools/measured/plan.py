"""What measuring tables would take: what each of their commands took when it was last measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from measured.arithmetic import arithmetic
from measured.engine import Engine
from measured.pages import tables_in
from measured.units import seconds


def plan(root: Path, names: Sequence[str], *, again: bool = False) -> list[str]:
    """A line for each run that `measure` would measure, of all tables where none is named; the last tells all of them.

    A table whose figures depend on the machine is marked: it wants a machine that does nothing else.
    """
    engine, told, known, unknown = Engine.of(root), [], 0.0, 0
    tables = tables_in(root)
    for name in names or list(tables):
        alone = "" if tables[name].machine is None else " (alone on the machine)"
        for run in tables[name].runs:
            if run.arithmetic == arithmetic(root, run, engine) and not again:
                continue
            known += run.seconds or 0
            unknown += run.seconds is None
            time = "?" if run.seconds is None else seconds(run.seconds)
            told.append(f"{time:>8}  {name}{alone}: {run.command}")
    return [*told, f"{len(told)} commands: {known / 60:.0f} minutes, and {unknown} that nobody has timed"]
