"""The equation of an Einsum, and the moves that bring operands to the order of its labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mipin_ref.graph.draft import Draft
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import draft_as


def spelt(term: str, width: int, widest: int) -> list[str]:
    """The labels of a term; an ellipsis of `width` axes, of the widest of all terms, is spelt out by numbers."""
    parts = re.split(r"\.\.\.", term)
    dots = [f".{number}" for number in range(widest - width, widest)] if len(parts) > 1 else []
    return [*parts[0], *dots, *(parts[1] if len(parts) > 1 else "")]


def moved(node: Node, draft: Draft, role: str, name: str, op: str, wanted: Sequence[int]) -> str:
    """A Transpose or Reshape, where it changes anything."""
    x = draft.signals[name]
    if [*wanted] == ([*x.shape] if op == "Reshape" else [*range(len(x.shape))]):
        return name
    made = draft.inner_name(node, role)
    if op == "Transpose":
        draft_as(node, draft, op, [name], made, {"perm": tuple(wanted)})
    else:
        shape = draft.inner_name(node, f"shape {role}")
        draft.constants[shape] = np.array(wanted, np.int64)
        draft_as(node, draft, op, [name, shape], made)
    return made
