"""Tables in Markdown, of cells or of rows of numbers, and what a measurement tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from measured.cells import Value, filled, heading, line

Rows = list[dict[str, Value]]


class Told(TypedDict, total=False):
    """The figures of a run: rows of a table, by name; and single values."""

    rows: Rows
    values: dict[str, Value]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells."""
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


class Sheet:
    """A table of numbers that is printed row by row, and kept."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """columns: heading -> template over a row's numbers."""
        self.columns, self.rows = dict(columns), Rows()
        print("\n".join(heading(columns)), flush=True)

    def add(self, **row: Value) -> None:
        self.rows.append(row)
        print(filled(self.columns, row), flush=True)
