"""Rows of a table: the largest contributions as bars, with the names and values of their features."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.report.explained.kind import Drawn, Kind, Marks
from mipin_ref.report.explained.scale import Scale
from mipin_ref.report.explained.svg import cut, document, number, text
from mipin_ref.report.explained.told import ShownClass, ShownSample, Told
from mipin_ref.report.heatmap import as_finite
from mipin_ref.text import printable

BARS = 12
"""Features that are drawn; the others are summed."""
WIDTH, ROW, NAMES, BAR = 720, 24, 300, 320
"""Of the drawing: its width, the height of a row, the pixels of names and of bars."""
LONGEST = 200
"""Characters of a feature's name in the page, at most."""


class TableKind(Kind):
    """What is shown of rows of a table. names: of the features, None for their numbers."""

    suffix = ".svg"
    noun = "row"
    legend = "red speaks for the class, blue against it; the bars of a row have one scale, of which the longest is told"

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = None if names is None else list(names)

    def check(self, sample: ShownSample) -> None:
        value = as_finite(sample.value, f"{sample.name}: the row")
        if value.ndim != 1 or any(one.map.shape != value.shape for one in sample.classes):
            raise InvalidData(
                f"{sample.name}: needs values [F] and as many contributions, not {list(value.shape)} and "
                f"{[list(one.map.shape) for one in sample.classes]}"
            )
        if self._names is not None and len(self._names) != len(value):
            raise InvalidData(f"{sample.name}: has {len(value)} features, and {len(self._names)} are named")

    def scale(self, sample: ShownSample) -> Scale:
        # Bars are not cut: their lengths are what is compared.
        largest = max(abs(bar[2]) for one in sample.classes for bar in self._bars(sample, one))
        return Scale(largest, largest)

    def scale_told(self, scale: Scale) -> str:
        return f"longest bar ±{scale.full:.3g}" if scale.full else "zero everywhere"

    def row(self, sample: ShownSample, scale: Scale) -> Drawn:
        return Drawn(figures=[self._figure(sample, one, scale) for one in sample.classes])

    def file(self, sample: ShownSample, told: Told, scale: Scale, marks: Marks) -> bytes:
        first = sample.classes[0]
        lines = [f"{first.name}  {first.score}", sample.name]
        lines.append(f"{told.method}, {told.tensor}, logit {first.logit:.4g}")
        bars = self._bars(sample, first)
        parts, zero = [], NAMES + BAR / 2
        for position, (name, value, contribution) in enumerate(bars):
            y = position * ROW
            width = abs(contribution) / scale.full * BAR / 2 if scale.full else 0.0
            left = zero if contribution > 0 else zero - width
            words = cut(name if value is None else f"{name} = {value}", 40)
            parts.append(text(NAMES - 10, y + 16, words, "", "end"))
            parts.append(
                f'<rect class="bar {_side(contribution)}" x="{number(left)}" y="{y + 4}" width="{number(width)}" '
                f'height="{ROW - 8}"/>'
            )
            parts.append(text(NAMES + BAR + 10, y + 16, f"{contribution:+.3g}"))
        axis = f'<line class="axis" x1="{zero}" x2="{zero}" y1="0" y2="{ROW * len(bars)}"/>'
        return document("".join(parts) + axis, (WIDTH, ROW * len(bars)), lines, marks)

    def _figure(self, sample: ShownSample, one: ShownClass, scale: Scale) -> str:
        rows = []
        for name, value, contribution in self._bars(sample, one):
            share = abs(contribution) / scale.full if scale.full else 0.0
            side = "left" if contribution > 0 else "right"
            bar = f'<i class="bar {_side(contribution)}" style="width:{50 * share:.2f}%;{side}:50%"></i>'
            told = "" if value is None else value
            shown, whole = escape(printable(cut(name, LONGEST))), escape(printable(name), quote=True)
            rows.append(
                f'<tr><th scope="row" title="{whole}"><bdi>{shown}</bdi></th><td class="number">{told}</td>'
                f'<td class="track">{bar}</td><td class="number">{contribution:+.3g}</td></tr>'
            )
        head = (
            '<tr><th scope="col">feature</th><th scope="col">value</th><th scope="col"></th>'
            '<th scope="col">contribution</th></tr>'
        )
        return f'<table class="bars"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'

    def _bars(self, sample: ShownSample, one: ShownClass) -> list[tuple[str, str | None, float]]:
        """(name, value, contribution) of the largest, and the sum of the others, which has no value."""
        order = np.argsort(-np.abs(one.map), kind="stable")
        bars: list[tuple[str, str | None, float]] = [
            (self._name(i), f"{sample.value[i]:.4g}", float(one.map[i])) for i in order[:BARS].tolist()
        ]
        rest = order[BARS:]
        if len(rest):
            bars.append((f"the other {len(rest)} together", None, float(one.map[rest].sum())))
        return bars

    def _name(self, number: int) -> str:
        return f"feature {number}" if self._names is None else self._names[number]


def _side(contribution: float) -> str:
    return "for" if contribution > 0 else "against"
