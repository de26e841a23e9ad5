"""A table of all methods on one network: a row a method, at the pixels and, for MIP-IN, at the last feature map too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import mipin_ref as mr
from paper.places import last_map
from paper.published import METHODS, MIPIN
from paper.results import Results, or_failed

LAST = ", last feature map"
"""Behind a method's name: explained there, and resized."""
ROWS = [MIPIN + LAST, *METHODS]

Options = Mapping[str, Any]


def method_of(row: str) -> str:
    """The method of a row."""
    return row.removesuffix(LAST)


def run_rows(
    results: Results,
    experiment: str,
    rows: Iterable[str],
    net: mr.Network,
    *,
    panel: Callable[[str | None], mr.Panel],
    measure: Callable[[mr.Panel, str, str | None], Options],
    given: Callable[[str], Options],
    classes: Iterable[int],
) -> None:
    """Measure row by row, one part of the experiment each.

    panel: makes the panel whose fit stops at a tensor, None for the pixels; one is kept for each. measure: from a
    panel, a method and a tensor to the result of a row. given: from a row to what its result depends on. classes:
    those whose inverses MIP-IN fits at once.
    """
    last, wanted = last_map(net), list(classes)
    panels: dict[str | None, mr.Panel] = {}

    def result(row: str) -> Options:
        method, at = method_of(row), last if row.endswith(LAST) else None
        # A fit that stops at the last map is done in seconds; the one to the pixels is another.
        if at not in panels:
            panels[at] = panel(at)
        if method == MIPIN:
            panels[at].prepare(wanted)
        return measure(panels[at], method, at)

    for row in rows:
        results.part(experiment, row, given(row), or_failed(lambda row=row: result(row)))  # type: ignore[misc]
