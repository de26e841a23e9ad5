"""The table of handlers: ONNX operator -> the function that drafts its layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mipin_ref.graph.draft import Draft
from mipin_ref.graph.node import Node

Handler = Callable[[Node, Draft], None]
HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function for operators of the standard domain ("Conv") or another ("ai.onnx.ml.ZipMap")."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
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
