"""The line of a text at the command line: colours on a terminal alone, and nothing that a terminal obeys."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from mipin_ref.cli.streams import Guarded
from mipin_ref.cli.tokens import print_tokens
from mipin_ref.report.explained import ShownClass, ShownSample

SAMPLE = ShownSample(
    "text 3",
    np.zeros(4),
    [ShownClass("good", 1, "93.1%", 2.5, np.array([0.02, -1.0, 2.0, 0.6]))],
    ["the", "film\x1b[2J", "shines", "!"],
    joints=[" ", " ", " ", ""],
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", Guarded(stream))
    print_tokens(SAMPLE)
    return stream.getvalue()


def test_a_line_names_class_score_and_the_largest_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    line = printed(io.StringIO(), monkeypatch)
    assert line == ("text 3, good 93.1%: the film\\x1b[2J shines!  (shines +2, film\\x1b[2J -1, ! +0.6)\n")


def test_a_line_of_very_many_tokens_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts most is named all the same."""
    stream, values = io.StringIO(), np.zeros(2048)
    values[2000] = 3.0
    monkeypatch.setattr(sys, "stdout", Guarded(stream))
    names = [str(number) for number in range(2048)]
    print_tokens(replace(SAMPLE, classes=[replace(SAMPLE.classes[0], map=values)], tokens=names, joints=None))
    line = stream.getvalue()
    assert line.startswith(f"text 3, good 93.1%: {' '.join(names[:300])} … and 1,748 more tokens  (2000 +3, ")


def test_where_nothing_counts_no_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Guarded(stream))
    print_tokens(replace(SAMPLE, classes=[replace(SAMPLE.classes[0], map=np.zeros(4))]))
    assert stream.getvalue().endswith(" shines!  (all 0)\n")


def test_white_space_between_tokens_is_shown_as_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tab of the text, and lines that its tokenizer takes in, break no line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Guarded(stream))
    print_tokens(replace(SAMPLE, joints=["", "\t", "  ", "\r\n"]))
    assert stream.getvalue().startswith("text 3, good 93.1%: the film\\x1b[2J  shines  !  (")


def test_a_terminal_has_colours_for_and_against(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    line = printed(Terminal(), monkeypatch)
    grounds = dict(re.findall(r"\x1b\[30;48;2;([0-9;]+)m([^\x1b]*)\x1b\[0m", line))
    against, strong, weak = (
        {text: ground for ground, text in grounds.items()}[one] for one in ("film\\x1b[2J", "shines", "!")
    )
    red = {text: [int(one) for one in ground.split(";")] for text, ground in (("strong", strong), ("weak", weak))}
    assert red["strong"][0] == red["weak"][0] == 255
    assert red["strong"][2] < red["weak"][2]
    assert against.endswith(";255")
    # What counts next to nothing has no ground, and what the text holds is not obeyed.
    assert ": the " in line
    assert "\x1b[2J" not in line


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_where_the_environment_asks_for_none(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in printed(Terminal(), monkeypatch)


def test_what_is_written_in_colours_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    stream = Terminal()
    Guarded(stream).write_coloured([("a\x1b[2J", None), ("b\x1b[2J", (1, 2, 3))])
    assert "\x1b[2J" not in stream.getvalue()
    assert stream.getvalue().count("\\x1b[2J") == 2
