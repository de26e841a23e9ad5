"""One self-contained HTML page that shows the maps of several methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mipin_ref.errors import InvalidData
from mipin_ref.report.signed_png import CUT, SignedPng
from mipin_ref.report.template import RANKS, render_page

CELL = 112
"""CSS pixels that a small map's longer side is brought near to, by a whole factor."""
LARGEST_CELL = 224
LINE = 28
"""CSS pixels that a line is high at least."""


@dataclass(frozen=True)
class ShownClass:
    """name: of the class; score: what the network gives it, as text."""

    name: str
    score: str


@dataclass(frozen=True)
class Row:
    """One image. title: such as "image 3"; picture: a PNG file; label: its true class, "" where unknown; right: whether
    that is the predicted one; classes: the highest first; maps: of each method, one a class.
    """

    title: str
    picture: bytes
    classes: Sequence[ShownClass]
    maps: Mapping[str, Sequence[SignedPng]]
    label: str = ""
    right: bool = False


@dataclass(frozen=True)
class Comparison:
    """What the page shows. All texts are plain and may hold anything.

    model: its name; facts: (what, value) of how the page was made; methods: the columns, those that run; failures:
    (methods, why) of the others; rows: the images, all of as many classes and all maps of one size; factor: pixels of
    the input along a side of one pixel of a map; metrics: head and rows of texts, one a method; notes: below them;
    noun: what a sample is called; part: what a map has one value of, "pixel" of an image, of anything else maps are
    lines; names: of these parts, in their order, where they have any.
    """

    model: str
    facts: Sequence[tuple[str, str]]
    methods: Sequence[str]
    failures: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    factor: int
    metrics: tuple[Sequence[str], Sequence[Sequence[str]]]
    notes: Sequence[str] = ()
    noun: str = "image"
    part: str = "pixel"
    names: Sequence[str] = ()


def compare_page(shown: Comparison) -> str:
    """The page. Raises InvalidData where there is no row or no method, or a row lacks maps."""
    _check(shown)
    first = shown.rows[0].maps[shown.methods[0]][0]
    return render_page(
        "compare",
        shown=shown,
        facts=shown.facts,
        ranks=RANKS[: len(shown.rows[0].classes)],
        cell=cell_of(first.size),
        cut=f"{CUT:g}",
    )


def _check(shown: Comparison) -> None:
    if not shown.rows or not shown.methods:
        raise InvalidData("comparison: nothing to show, there is no image or no method")
    classes = len(shown.rows[0].classes)
    if not 1 <= classes <= len(RANKS):
        raise InvalidData(f"comparison: shows 1 to {len(RANKS)} classes, not {classes}")
    for row in shown.rows:
        counts = {len(row.maps.get(name, ())) for name in shown.methods} | {len(row.classes)}
        if counts != {classes}:
            raise InvalidData(f"comparison: {row.title} needs {classes} classes and as many maps of each method")
    sizes = {one.size for row in shown.rows for name in shown.methods for one in row.maps[name]}
    if len(sizes) > 1:
        raise InvalidData(f"comparison: all maps must have one size, not {sorted(sizes)}")


def cell_of(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) in CSS pixels of a map of `size` (H, W)."""
    height, width = size
    longer = max(size)
    factor = max(1, round(CELL / longer)) if longer <= LARGEST_CELL else LARGEST_CELL / longer
    return max(1, round(width * factor)), max(1 if height > 1 else LINE, round(height * factor))
