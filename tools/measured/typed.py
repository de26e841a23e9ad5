"""Figures that somebody typed on a page, where no table of figures stands behind them.

A number counts as a figure where it has decimals, an exponent, or a unit of what is measured. Outside of the blocks of
tables, of fences, code and links a page may hold such a number only in the words that ALLOWED has: what a user or a
definition chooses, never what somebody measured.
"""

from __future__ import annotations

import re
from pathlib import Path

from measured.pages import BLOCK, FACT, blank, pages_in

NUMBER = re.compile(
    r"(?<![\w.])[\d,]*\.\d+(?:e[+-]?\d+)?"
    r"|(?<![\w.])\d+e[+-]?\d+"
    r"|\b(?:two|three|four|five|six|seven|eight|nine|ten|half an?|quarter of an?) (?:seconds?|minutes?|hours?)\b"
    r"|(?<![\w.×])\d[\d,]*(?: ?(?:%|percent\b)|×(?!\d)| ?(?:m?s|[kMGT]B|seconds?|minutes?|hours?|forwards?|times)\b)"
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
TARGET = re.compile(r"\]\([^)\s]+\)")
DEFINED = (
    re.compile(
        r"\b(?:BY-SA|NumPy|Python|Quantus|Safari|numpy|onnx|onnxruntime|scipy) \d+(?:\.\d+)+(?: to \d+(?:\.\d+)+)?"
    ),
    re.compile(r"\b95 % intervals?|\b[Ii]ntervals? of 95 %"),
)
"""Versions, and what an interval is of: no figures on any page."""

HISTORY = ("CHANGELOG.md",)
"""Pages of what was so once."""

ALLOWED: tuple[str, ...] = (
    "correlation is below .999",
    "share of entries within 1e-4",
    "A file holds at most 2 GB",
    "explainers above 350 MB",
    "without optimisation to 1e-5 of",
    "to lose digits, to 1e-2)",
    "| 1.23 | all but those",
    "correlation ≥ .9999 and 99 % of entries within 1e-4",
    "1.30.0",
    "What lies within 1e-6 of a half",
    "newer than 1.26",
    "and 1.21 to 1.28",
    "With 1.29",
    "from 1.22 on, since 1.21",
    "| (1e-3) |",
    '| ("2GB"), (None) |',
    "is .999 for both",
    "to 1e-9 of the largest value",
    "to 1e-8 on random",
    "plus 1e-11 of the largest",
    "to 1e-4 and 2e-4",
    "to 1e-6 and 1e-5",
    "within 1e-3 of the largest",
    "to 2.2e-6 of the largest entry",
    "noise (0.15 of",
    "epsilon (1e-6)",
    "keep (0.5)",
    "to 1e-6 where",
    "the 99.5th percentile",
    "stays below 10 MB",
    "(paper, 6.3)",
    "boxes of 33 %",
    "(paper, 6.4)",
    "[Quantus] 0.6",
    "less than 95 % of 1,000",
    "95 % of objects were aimed at",
    "(1.52×)",
)
"""Words with numbers that are no figures: tolerances, defaults, limits, definitions, sections, versions."""


def typed(text: str) -> list[tuple[int, str]]:
    """The figures of a page that no table writes and that are not allowed, each with its line."""
    text = TARGET.sub("]", SPAN.sub(blank, FENCE.sub(blank, FACT.sub(blank, BLOCK.sub(blank, text)))))
    allowed = [found.span() for one in DEFINED for found in one.finditer(text)]
    for words in ALLOWED:
        pattern = r"\s+".join(map(re.escape, words.split()))
        allowed += [found.span() for found in re.finditer(pattern, text)]
    return [
        (text.count("\n", 0, found.start()) + 1, found[0].strip())
        for found in NUMBER.finditer(text)
        if not any(begin <= found.start() and found.end() <= end for begin, end in allowed)
    ]


def typed_in(root: Path) -> list[str]:
    """A line for each typed figure of a tree's pages."""
    told = []
    for path in pages_in(root):
        name = path.relative_to(root).as_posix()
        figures = [] if name in HISTORY else typed(path.read_text(encoding="utf-8"))
        told += [f"{name}:{line}: {number} is typed, and no table of figures writes it" for line, number in figures]
    return told
