"""index.html: a row a sample, its classes, its maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mipin_ref.report.explained.kind import Drawn
from mipin_ref.report.explained.told import ShownClass, ShownSample, Told
from mipin_ref.report.template import RANKS, render_page

SHOWN, SHOWN_BYTES = 200, 64 << 20
"""Rows that the page shows, and the bytes of their pictures, at most: browsers hold all of it."""
LISTED = 10_000
"""Files that the page names beside those that it shows, at most."""


@dataclass(frozen=True)
class PageClass:
    """A class as the page tells it: the map itself is drawn."""

    name: str
    score: str
    logit: float
    low: float
    high: float


@dataclass(frozen=True)
class PageRow:
    """A sample as the page shows it; drawn is None where it only names the file."""

    name: str
    file: str
    classes: Sequence[PageClass]
    scale: str
    drawn: Drawn | None

    @property
    def address(self) -> str:
        """The file, as a link from the page: a name may hold what an address does not."""
        return quote(self.file)


class PageRows:
    """The rows of a page, bounded."""

    def __init__(self) -> None:
        self.shown: list[PageRow] = []
        self.listed: list[PageRow] = []
        self.count = 0
        self._bytes = 0

    @property
    def room(self) -> bool:
        """Whether the next sample is drawn."""
        return not self.listed and len(self.shown) < SHOWN and self._bytes < SHOWN_BYTES

    def add(self, sample: ShownSample, file: str, scale: str, drawn: Drawn | None) -> None:
        """Add a sample, drawn where there is room."""
        self.count += 1
        classes = [_page_class(one) for one in (sample.classes if drawn is not None else sample.classes[:1])]
        row = PageRow(sample.name, file, classes, scale, drawn)
        if drawn is not None:
            self.shown.append(row)
            self._bytes += drawn.bytes
        elif len(self.listed) < LISTED:
            self.listed.append(row)


def render(told: Told, rows: PageRows, *, kind: str, noun: str, legend: str, mark: str, notice: str = "") -> str:
    """The page. notice: that the set is not complete, "" where it is; mark: of the run."""
    classes = max(len(row.classes) for row in rows.shown)
    cells = [row.drawn.cells for row in rows.shown if row.drawn is not None and row.drawn.cells is not None]
    return render_page(
        "explained",
        told=told,
        facts=[("method", told.method), ("explained", told.tensor), (f"{noun}s", str(rows.count)), *told.facts],
        lines=[*([notice] if notice else []), *told.lines],
        rows=rows.shown,
        listed=rows.listed,
        unlisted=rows.count - len(rows.shown) - len(rows.listed),
        ranks=RANKS[:classes],
        kind=kind,
        noun=noun,
        mark=mark,
        legend=legend,
        sources=any(one is not None for cell in cells for one in cell.sources),
        factor=max((cell.factor for cell in cells), default=1),
    )


def _page_class(one: ShownClass) -> PageClass:
    return PageClass(one.name, one.score, one.logit, float(one.map.min()), float(one.map.max()))
