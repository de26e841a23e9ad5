"""Texts from files, models and libraries, made fit for a message."""

from __future__ import annotations

import re

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal or a page obeys instead of showing, or no encoding takes: control characters (Unicode's Cc);
separators of lines and paragraphs; those that turn the direction of the text behind them, so that a name reads as
another; lone surrogates, which a file name that is not UTF-8 holds."""
LONGEST = 300
"""Characters of one word in a message on the command line."""


def printable(text: str, keep: str = "") -> str:
    r"""The text with each character escaped (\x1b, \udcff) that would not be shown but obeyed; those in `keep` stay."""
    return _OBEYED.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def one_line(message: str) -> str:
    """A message in one line: white space collapsed, the rest escaped, words of thousands of characters cut short."""
    return printable(" ".join(map(_shortened, message.split())))


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _escaped(one: str) -> str:
    return f"\\x{ord(one):02x}" if ord(one) < 256 else f"\\u{ord(one):04x}"


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[: LONGEST // 2]}...({len(word)} characters)"
