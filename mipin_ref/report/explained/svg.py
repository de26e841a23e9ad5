"""Drawings as SVG: in a page, which gives the colours, or as files with words of their own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mipin_ref.report.explained.kind import Marks
from mipin_ref.text import printable

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1e1e22}.faint{fill:#5c5c63}.value{fill:none;stroke:#9a9aa0}"
    ".source{fill:none;stroke:#5c5c63;stroke-dasharray:4 3}.for{stroke:#d40000;fill:none}.against{stroke:#0000e0;"
    "fill:none}.bar.for,.strip.for{fill:#d40000;stroke:none}.bar.against,.strip.against{fill:#0000e0;stroke:none}"
    ".axis{stroke:#9a9aa0}path,line{vector-effect:non-scaling-stroke}path.for,path.against{stroke-width:3}"
)
MARGIN = 16
LINE = 19


def number(value: float) -> str:
    """A coordinate, no longer than it needs to be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text at (x, y)."""
    shown = escape(printable(words))
    return f'<text x="{number(x)}" y="{number(y)}" class="{kind}" text-anchor="{anchor}">{shown}</text>'


def document(body: str, size: tuple[int, int], lines: Sequence[str], marks: Marks) -> bytes:
    """A file of its own: lines of text, then the body of width and height `size`, on a light ground.

    marks: what the file carries beside what it shows.
    """
    width, height = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN + LINE * len(lines)
    words = "".join(
        text(MARGIN, MARGIN + 12 + LINE * n, cut(line, 100), "faint" if n else "") for n, line in enumerate(lines)
    )
    carried = "".join(f"<!-- {escape(value)} -->" for value in marks.values())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img">{carried}<title>{escape(printable(lines[0]))}</title><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fafaf8"/>{words}'
        f'<g transform="translate({MARGIN} {MARGIN + LINE * len(lines)})">{body}</g></svg>\n'
    ).encode()


def cut(words: str, most: int) -> str:
    """A text of at most so many characters; its middle is left out where it has more."""
    if len(words) <= most:
        return words
    end = most // 3
    return f"{words[: most - end - 1]}…{words[len(words) - end :]}"
