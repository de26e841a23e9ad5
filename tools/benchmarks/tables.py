"""Tables in Markdown, and figures with their units."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """Three significant digits, in ms below a second."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def size(value: float) -> str:
    """Bytes in GB, or MB below a tenth of one."""
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e9:.3f} GB"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f}×"
