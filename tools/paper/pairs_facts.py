"""Sentences on who leads among maps of several objects, as phrases: they hold whatever the figures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paper.pairs_maps import WITHOUT
from paper.pairs_rows import TUNED
from paper.published import MIPIN

Row = Mapping[str, Any]
NAMED = 3
"""Methods of one map that are named; of more than these the number is."""


def leaders(rows: Sequence[Row], key: str) -> tuple[str, float] | None:
    """The methods of a network whose figure, as a table shows it, is the highest, and that; None where none has it."""
    had = [row for row in rows if row["method"] not in WITHOUT and row[key] is not None]
    if not had:
        return None
    best = max(round(row[key], 3) for row in had)
    names = [row["method"] for row in had if round(row[key], 3) == best]
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} others" if more > 0 else ""), best


def level(rows: Sequence[Row], mine: str, key: str) -> bool:
    """Whether the interval of a row of MIP-IN reaches that of the highest of the other methods."""
    own = [row for row in rows if row["method"] == mine and row[key] is not None]
    others = [row for row in rows if row["method"] not in (*WITHOUT, MIPIN, TUNED) and row[key] is not None]
    if not own or not others:
        return False
    return bool(own[0][f"{key}_high"] >= max(others, key=lambda row: row[key])[f"{key}_low"])


def place_of(rows: Sequence[Row], mine: str, key: str) -> str | None:
    """The rank of a row among the distinct figures of all methods, as a table shows them: 2 of 9."""
    own = [row[key] for row in rows if row["method"] == mine and row[key] is not None]
    if not own:
        return None
    figures = {round(row[key], 3) for row in rows if row["method"] not in WITHOUT and row[key] is not None}
    return f"{1 + sum(one > round(own[0], 3) for one in figures)} of {len(figures)}"


def told(by_network: Mapping[str, Sequence[Row]], keys: Sequence[str]) -> dict[str, str]:
    """Phrases over networks, for every figure of a row: who leads; where MIP-IN, with the preset and without, is level
    with the best other method or ahead of it; the ranks of both.
    """
    phrases: dict[str, str] = {}
    for key in keys:
        there = {name: best for name, rows in by_network.items() if (best := leaders(rows, key))}
        phrases[f"{key}_lead"] = "; ".join(f"`{name}` {who} ({best:.3f})" for name, (who, best) in there.items())
        for word, mine in (("preset", TUNED), ("default", MIPIN)):
            where = [f"`{name}`" for name in there if level(by_network[name], mine, key)]
            phrases[f"{key}_level_{word}"] = ", ".join(where) or "none"
            ranks = [f"`{name}` {one}" for name in there if (one := place_of(by_network[name], mine, key))]
            phrases[f"{key}_rank_{word}"] = ", ".join(ranks)
    return phrases
