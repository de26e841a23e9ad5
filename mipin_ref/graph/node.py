"""Frozen records of ONNX nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, NodeProto, helper

from mipin_ref.errors import CorruptFile

STANDARD = ("", "ai.onnx")
"""The two spellings of the domain of ONNX's own operators."""


@dataclass(frozen=True, eq=False)
class Node:
    """One ONNX node; `attributes` holds plain Python values, '' among inputs is one left out."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: NodeProto

    @property
    def standard(self) -> bool:
        """Whether the operator is one of ONNX's own."""
        return self.domain in STANDARD

    @property
    def qualified(self) -> str:
        """The operator's name, with its domain where it is another's."""
        return self.op if self.standard else f"{self.domain}.{self.op}"

    @property
    def label(self) -> str:
        return f"{self.qualified} {self.name or self.outputs[0]!r}"

    @property
    def first(self) -> str:
        """The first of its outputs that is not left out."""
        return next(filter(None, self.outputs), "")

    @property
    def has_subgraph(self) -> bool:
        return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in self.proto.attribute)

    def input(self, index: int) -> str:
        """The name of input `index`, '' where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


def node_of(proto: NodeProto) -> Node:
    """The record of an ONNX node. Raises CorruptFile where an attribute holds nothing that can be read."""
    return Node(
        proto.op_type,
        proto.domain,
        proto.name,
        tuple(proto.input),
        tuple(proto.output),
        {a.name: _value(a, proto) for a in proto.attribute},
        proto,
    )


def _value(attribute: AttributeProto, node: NodeProto) -> Any:
    """The attribute as a plain value. Tensors stay behind, as only constants have them, and those are folded whole."""
    if attribute.type in (AttributeProto.TENSOR, AttributeProto.SPARSE_TENSOR):
        return None
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError as error:
        raise CorruptFile(f"attribute {attribute.name!r} of {node.op_type} {node.name!r} holds no value") from error
    return value.decode(errors="replace") if isinstance(value, bytes) else value
