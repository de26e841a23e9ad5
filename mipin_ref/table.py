"""Plain-text tables: columns as wide as their widest cell."""

from __future__ import annotations

from collections.abc import Sequence

from mipin_ref.text import printable


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as lines, columns two spaces apart, left-aligned; control characters in cells are escaped."""
    lines = [[printable(cell) for cell in line] for line in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
