"""Texts from files and models, made safe to print."""

from __future__ import annotations

import unicodedata

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that a terminal or a page obeys instead of showing, or that no encoding takes: control characters,
lone surrogates (a file name that is not UTF-8 holds them), separators of lines and paragraphs."""
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of the text behind them, so that a name reads as another."""
LONGEST = 300
"""Characters of one word in a message on the command line."""


def printable(text: str, keep: str = "") -> str:
    r"""The text with each character escaped (\x1b, \udcff) that would not be shown but obeyed; those in `keep` stay."""
    # Nearly every text is plain, which this tells at once.
    if text.isprintable():
        return text
    return "".join(one if one in keep or not _obeyed(one) else _escaped(one) for one in text)


def one_line(message: str) -> str:
    """A message in one line: white space collapsed, the rest escaped, words of thousands of characters cut short."""
    return printable(" ".join(map(_shortened, message.split())))


def _obeyed(one: str) -> bool:
    return one in TURNING or unicodedata.category(one) in UNPRINTABLE


def _escaped(one: str) -> str:
    return one.encode("ascii", "backslashreplace").decode("ascii") if ord(one) > 127 else f"\\x{ord(one):02x}"


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[: LONGEST // 2]}...({len(word)} characters)"
