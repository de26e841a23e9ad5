"""What the command asks of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Row = Mapping[str, Any]
"""What is found of a method, ready for JSON but for NaN."""


class Measure(Protocol):
    """title: what is measured, of what, in a line; settings: what else the numbers depend on, for JSON."""

    title: str
    settings: Mapping[str, Any]

    def row(self, name: str) -> Row | None:
        """Of one method; None where it fails, of which the panel then tells the reason."""

    def table(self, rows: Mapping[str, Row]) -> str:
        """The rows by method for a person to read."""
