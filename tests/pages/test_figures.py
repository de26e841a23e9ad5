"""No figure of a table is typed by hand: the pages are what their tables of figures write."""

from __future__ import annotations

import pytest

from golden.recipe import MODELS
from golden.told import summary
from measured import typed as of
from measured.pages import differences, tables_in
from measured.typed import ALLOWED, typed_in
from tests.pages.page import ROOT


def test_the_pages_are_as_their_tables_write_them() -> None:
    """`python tools/figures.py write` makes them so."""
    assert tables_in(ROOT)
    assert differences(ROOT) == []


def test_no_figure_is_typed() -> None:
    """A figure gets a table; words with a tolerance, a default or a definition may be allowed in typed.py."""
    assert typed_in(ROOT) == []


def test_what_is_allowed_is_short_and_stands_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any of these words one number more would be a figure."""
    assert len(ALLOWED) <= 40
    for one in ALLOWED:
        monkeypatch.setattr(of, "ALLOWED", tuple(other for other in ALLOWED if other != one))
        assert typed_in(ROOT), f"no page has a number in the words {one!r}"


def test_figures_of_golden_cases_are_those_of_the_cases_that_are_there() -> None:
    """`python tools/figures.py measure golden-tolerances --again` takes them in."""
    (run,) = tables_in(ROOT)["golden-tolerances"].runs
    assert {"rows": run.rows, "values": run.values} == summary(MODELS)
