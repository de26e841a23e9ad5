"""One self-contained HTML page of texts: under each a line a method, its tokens coloured by what they contribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.report.compare_page import Comparison, ShownClass
from mipin_ref.report.explained.scale import common_scale
from mipin_ref.report.explained.tokens import marked
from mipin_ref.report.signed_png import CUT
from mipin_ref.report.template import RANKS, render_page

MARKED = 60_000
"""Coloured tokens of a page, at most, where fewer classes than asked for will do: each takes about 90 bytes."""


@dataclass(frozen=True, eq=False)
class TextRow:
    """One text. title: such as "text 3"; tokens: [T]; joints: [T] what the text has in front of each, None for a space;
    classes: the highest first; maps: of each method, one a class [T]; label, right: as of a Row.
    """

    title: str
    tokens: Sequence[str]
    joints: Sequence[str] | None
    classes: Sequence[ShownClass]
    maps: Mapping[str, Sequence[npt.NDArray[Any]]]
    label: str = ""
    right: bool = False


@dataclass(frozen=True)
class _Line:
    """What the page shows of a method: tokens as markup, and their scale in words."""

    method: str
    figure: str
    scale: str


def texts_page(shown: Comparison, rows: Sequence[TextRow]) -> str:
    """The page; shown: what it tells beside the texts, whose `rows` are not asked.

    Of many tokens only so many classes are shown as keep the page small, the highest one at least.
    Raises InvalidData where there is no text or no method, or maps are not of the tokens.
    """
    if not rows or not shown.methods:
        raise InvalidData("comparison: nothing to show, there is no text or no method")
    ranks = min(len(RANKS), len(rows[0].classes))
    tokens = sum(len(row.tokens) for row in rows) * len(shown.methods)
    kept = max(1, min(ranks, MARKED // max(1, tokens)))
    return render_page(
        "texts",
        beside=("explained",),
        shown=shown,
        facts=shown.facts,
        ranks=RANKS[:kept],
        all_ranks=ranks,
        cut=f"{CUT:g}",
        rows=[(row, [_lines(row, shown.methods, rank) for rank in range(kept)]) for row in rows],
    )


def _lines(row: TextRow, methods: Sequence[str], rank: int) -> list[_Line]:
    made = []
    for name in methods:
        values = row.maps[name][rank]
        if values.shape != (len(row.tokens),):
            raise InvalidData(
                f"comparison: {row.title} has {len(row.tokens)} tokens, and {name} gives {list(values.shape)}"
            )
        scale = common_scale([values])
        made.append(_Line(name, marked(row.tokens, row.joints, values, scale), str(scale)))
    return made
