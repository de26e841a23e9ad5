"""The table of handlers: ONNX operator -> the function that drafts its layer."""

from __future__ import annotations

from collections.abc import Callable

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
