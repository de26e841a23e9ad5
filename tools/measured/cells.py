"""What a cell says of the numbers of its row: a template in Python's format language, with units of its own."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from measured.units import PLAIN, scaled, seconds, size, times

Value = str | int | float | bool | None
Row = Mapping[str, Value]

NOTHING = "–"
"""The cell of a value that is not there."""


class FiguresError(ValueError):
    """A table, template or page that does not fit; says which, where and why."""


class _Missing(Exception):
    """A value is None."""


UNITS: dict[str, Callable[[Any], str]] = {
    "seconds": seconds,
    "size": size,
    "times": times,
    "comma": lambda value: f"{value:,}",
}
"""Formats beside those of Python: {time:seconds}."""


class _Formatter(string.Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        """Names alone: neither attributes nor positions."""
        value = kwargs[field_name]
        if value is None:
            raise _Missing
        return value, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        plain = PLAIN.fullmatch(format_spec)
        if plain is not None:
            return scaled(value, plain[1], int(plain[2]))
        return UNITS[format_spec](value) if format_spec in UNITS else format(value, format_spec)


def cell(template: str, row: Row) -> str:
    """Fill a template with a row's values; NOTHING where one of them is None. Raises FiguresError."""
    try:
        return _Formatter().vformat(template, (), row)
    except _Missing:
        return NOTHING
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise FiguresError(f"the template {template!r} does not fit a row of {', '.join(row)}: {error}") from error


def line(cells: Sequence[str]) -> str:
    """A row of Markdown; a bar inside a cell is escaped."""
    return f"| {' | '.join(one.replace('|', chr(92) + '|') for one in cells)} |"


def heading(columns: Mapping[str, str]) -> list[str]:
    """The first two lines of a table."""
    return [line(list(columns)), "|" + "---|" * len(columns)]


def filled(columns: Mapping[str, str], row: Row) -> str:
    """One line of a table."""
    return line([cell(template, row) for template in columns.values()])
