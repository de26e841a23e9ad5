"""No figure of a table is typed by hand: the pages are what their tables of figures write."""

from __future__ import annotations

from measured.pages import differences, tables_in
from tests.pages.page import ROOT


def test_the_pages_are_as_their_tables_write_them() -> None:
    """`python tools/figures.py write` makes them so."""
    assert tables_in(ROOT)
    assert differences(ROOT) == []
