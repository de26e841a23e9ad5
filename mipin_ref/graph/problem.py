"""What keeps a node from being inverted: one record a node, told to the user by operator and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mipin_ref.errors import UnsupportedModel

NORMALISATION = "layer normalisation"
GROUPS = 15
"""Groups of nodes that a message tells, at most; the error's `nodes` has every node."""


@dataclass(frozen=True)
class Problem:
    """label: operator and name of a node; reason: why it has no inverse here; place: of the node in the file; whole:
    the layer normalisation that it is a part of, empty where it is of none.
    """

    label: str
    reason: str
    place: int = 0
    whole: str = ""

    @property
    def operator(self) -> str:
        return self.label.split(" ", 1)[0]

    @property
    def kind(self) -> tuple[str, str]:
        """What nodes that are told together have in common: operator and reason, but for names and numbers in it."""
        if self.whole:
            return NORMALISATION, ""
        return self.operator, re.sub(r"'[^']*'|\"[^\"]*\"|[0-9][0-9,.]*", "", self.reason)

    def __str__(self) -> str:
        return f"{self.label} ({self.reason})"


def unsupported(message: str, problems: Sequence[Problem]) -> UnsupportedModel:
    """The error that tells these nodes in groups, each with the first of its kind, and holds all of them."""
    return UnsupportedModel(f"{message}: {grouped(problems)}", [str(one) for one in problems])


def grouped(problems: Sequence[Problem]) -> str:
    """Nodes by operator and reason, the largest groups first, as in "12 Pow, first 'x/Pow' (no inverse is known)"."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for one in problems:
        groups.setdefault(one.kind, []).append(one)
    largest = sorted(groups.values(), key=len, reverse=True)
    told = [_group(some) for some in largest[:GROUPS]]
    others = sum(map(len, largest[GROUPS:]))
    return "; ".join([*told, *([f"and {others:,} more"] if others else [])])


def _group(some: Sequence[Problem]) -> str:
    first = some[0]
    if first.whole:
        wholes = len({one.whole for one in some})
        told = f"a {NORMALISATION}" if wholes == 1 else f"{wholes:,} {NORMALISATION}s, first"
        return f"{told} {first.whole!r} (in a form that is not recognised, of {len(some):,} nodes)"
    if len(some) == 1:
        return str(first)
    name = first.label.removeprefix(first.operator).strip()
    return f"{len(some):,} {first.operator}, first {name} ({first.reason})"
