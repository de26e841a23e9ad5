"""No figure of a table is typed by hand: the pages are what their tables of figures write."""

from __future__ import annotations

from golden.recipe import MODELS
from golden.told import summary
from measured.pages import differences, tables_in
from tests.pages.page import ROOT


def test_the_pages_are_as_their_tables_write_them() -> None:
    """`python tools/figures.py write` makes them so."""
    assert tables_in(ROOT)
    assert differences(ROOT) == []


def test_figures_of_golden_cases_are_those_of_the_cases_that_are_there() -> None:
    """`python tools/figures.py measure golden-tolerances --again` takes them in."""
    (run,) = tables_in(ROOT)["golden-tolerances"].runs
    assert {"rows": run.rows, "values": run.values} == summary(MODELS)
