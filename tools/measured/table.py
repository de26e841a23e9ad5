"""A table of figures as it lies in tables/: how its cells are written, and the runs that measured it."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measured.cells import FiguresError, Row, Value, cell, filled, heading
from training.files import write_whole


@dataclass(frozen=True)
class Run:
    """One command and what it gave. rows: of the table; values: single numbers, for facts.

    commit: whose arithmetic was measured; arithmetic: a digest of it; called: what it is of, by files of the engine,
    each with names of functions and what stands outside of them, and their digests; networks: what those that count
    were read into; seconds: what the command took by the clock. None each where it is not known. traced: the command
    that told what is called, where that is a smaller one. A run that was never measured is its command alone.
    """

    command: str
    commit: str | None = None
    date: str | None = None
    rows: list[dict[str, Value]] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    arithmetic: str | None = None
    seconds: float | None = None
    traced: str | None = None
    called: dict[str, str] | None = None
    networks: dict[str, str] | None = None


@dataclass(frozen=True)
class Table:
    """machine: in general words, what the figures depend on; None where they are the same on any, up to rounding.

    columns: heading -> template over a row; facts: name -> template over the values of all runs.
    """

    name: str
    machine: str | None
    columns: dict[str, str]
    runs: list[Run]
    facts: dict[str, str] = field(default_factory=dict)

    def markdown(self) -> list[str]:
        """The lines of the table, an empty one, and the caption. Raises FiguresError where there are no columns."""
        if not self.columns:
            raise FiguresError(f"{self.name} has facts and no columns: it is no table to be shown")
        rows = [{**row, "command": run.command, "commit": run.commit} for run in self.runs for row in run.rows]
        return [*heading(self.columns), *(filled(self.columns, row) for row in rows), "", self.caption()]

    def caption(self) -> str:
        """Where and by which commands it was measured; these not, where they stand in cells."""
        told = "Measured" if self.machine is None else f"Measured on {self.machine},"
        shown = any(
            name == "command" for one in self.columns.values() for _, name, _, _ in string.Formatter().parse(one)
        )
        by: dict[str | None, list[str]] = {}
        for run in self.runs:
            by.setdefault(run.commit, []).append(f"`{run.command}`")
        waiting = ", ".join(by.pop(None, []))
        if not by:
            return f"Not yet measured: {waiting}."
        parts = [f"at {commit}" + ("" if shown else f" by {', '.join(commands)}") for commit, commands in by.items()]
        return f"{told} {', '.join(parts)}" + (f"; not yet: {waiting}." if waiting else ".")

    def fact(self, name: str) -> str:
        """A single number as it stands in a sentence. Raises FiguresError where there is none of this name."""
        if name not in self.facts:
            raise FiguresError(f"{self.name} has no fact {name}; there are: {', '.join(self.facts) or 'none'}")
        return cell(self.facts[name], {key: value for run in self.runs for key, value in run.values.items()})


def read(path: Path) -> Table:
    """A table's file. Raises FiguresError where it is none."""
    try:
        return _table(path.stem, json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FiguresError(f"{path.name} is no table of figures: {error}") from error


def write(path: Path, table: Table) -> None:
    """Write a table's file, whole or not at all."""
    content: dict[str, Any] = {"machine": table.machine, "columns": table.columns}
    content |= {"facts": table.facts} if table.facts else {}
    content["runs"] = [
        # What calls nothing of the engine is no run of which nobody knows what it calls.
        {
            key: value
            for key, value in asdict(run).items()
            if value not in (None, [], {}) or (key, value) == ("called", {})
        }
        for run in table.runs
    ]
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8"))


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no figure")


def _table(name: str, content: Mapping[str, Any]) -> Table:
    content = dict(content)
    machine, columns, runs = content.pop("machine"), content.pop("columns"), content.pop("runs")
    facts = content.pop("facts", {})
    if content:
        raise ValueError(f"there is no entry {', '.join(content)}")
    if not (machine is None or (isinstance(machine, str) and machine)):
        raise ValueError("machine is words, or null")
    for templates in (columns, facts):
        if not all(isinstance(one, str) for pair in templates.items() for one in pair):
            raise ValueError("columns and facts are templates by heading or name")
    if not runs or not (columns or facts):
        raise ValueError("it has no runs, or neither columns nor facts")
    return Table(name, machine, columns, [_run(dict(run)) for run in runs], facts)


def _run(content: dict[str, Any]) -> Run:
    run = Run(**content)
    measured = (run.commit, run.date) != (None, None) or bool(run.rows or run.values)
    if not all(isinstance(one, str) and one for one in (run.command, *((run.commit, run.date) if measured else ()))):
        raise ValueError("a run has a command, and where it was measured commit and date")
    for row in (*run.rows, run.values):
        _check_row(row)
    return run


def _check_row(row: Row) -> None:
    if not all(value is None or isinstance(value, str | int | float) for value in row.values()):
        raise ValueError("rows and values are numbers, text or null, by name")
