"""What keeps a node from being inverted: one record a node, told to the user by operator and reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """label: operator and name of a node; reason: why it has no inverse here; place: of the node in the file."""

    label: str
    reason: str
    place: int = 0

    @property
    def operator(self) -> str:
        return self.label.split(" ", 1)[0]

    def __str__(self) -> str:
        return f"{self.label} ({self.reason})"
