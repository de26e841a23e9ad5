"""The table of handlers: ONNX operator -> the function that drafts its layer."""

from __future__ import annotations

from collections.abc import Callable

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
