"""What is printed of names that others chose."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.table import format_table
from mipin_ref.text import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain /a/b:0 [red] 類 é 👩‍🔬", "plain /a/b:0 [red] 類 é 👩‍🔬"),
        ("a\x1b[31mred\x1b[2J", r"a\x1b[31mred\x1b[2J"),
        ("bell\x07 del\x7f tab\t line\n", r"bell\x07 del\x7f tab\x09 line\x0a"),
        ("csi\x9b31m", r"csi\x9b31m"),
        ("lone\udcff\ud800", r"lone\udcff\ud800"),
        ("turned\u202egnp.exe", r"turned\u202egnp.exe"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
    ],
)
def test_characters_that_are_obeyed_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_any_text_can_be_written_and_none_of_it_is_obeyed(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in shown)
    assert printable(shown) == shown


def test_a_message_is_one_line_of_a_length_to_read() -> None:
    told = one_line("two\nlines \x1b " + "9" * 5000)
    assert told.startswith(r"two lines \x1b 999")
    assert "(5000 characters)" in told
    assert len(told) < 400


def test_errors_and_tables_escape_names() -> None:
    assert str(mr.InvalidData("no tensor \x1b[2J")) == r"no tensor \x1b[2J"
    assert str(mr.UnsupportedModel("nodes: a\x07", ["a\x07"])) == r"nodes: a\x07"
    table = format_table(["name", "next"], [["a\x1b", "b"], ["long", "c\nd"]])
    assert table.split("\n") == ["name   next", r"a\x1b  b", r"long   c\x0ad"]
