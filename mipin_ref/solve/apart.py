"""Sums of samples that are held out, kept apart from those of the others until a ridge is picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Apart:
    """Sums of one problem in two, in whatever form: of samples that are fitted first, and of those held out."""

    fitted: Any
    out: Any

    def merge(self, other: Apart) -> None:
        """Add all samples of other sums of the same problem, each to its own side."""
        self.fitted.merge(other.fitted)
        self.out.merge(other.out)
