"""The table of handlers: ONNX operator -> the function that drafts its layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mipin_ref.graph.draft import Draft
from mipin_ref.graph.node import Node

Handler = Callable[[Node, Draft], None]
HANDLERS: dict[str, Handler] = {}
FOLLOWS_ROWS: set[str] = set()
"""Operators whose functions know of rows that are folded into the batch; the others see them as an axis (rows.py)."""


def handles(*ops: str, folded: bool = False) -> Callable[[Handler], Handler]:
    """Register a function for operators of the standard domain ("Conv") or another ("ai.onnx.ml.ZipMap").

    folded: whether it knows of rows that are folded into the batch.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        if folded:
            FOLLOWS_ROWS.update(ops)
        return handler

    return register


def layer_name(node: Node) -> str:
    return node.name or node.outputs[0]


def draft_as(
    node: Node, draft: Draft, op: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any] | None = None
) -> None:
    """Draft what a node does in part, or in whole, as a standard operator would."""
    plain = replace(node, op=op, domain="", inputs=tuple(inputs), outputs=(output,), attributes=attributes or {})
    HANDLERS[op](plain, draft)
    draft.makers[output] = plain
