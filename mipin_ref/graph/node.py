"""Frozen records of ONNX nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, NodeProto, helper

from mipin_ref.errors import CorruptFile


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
    def label(self) -> str:
        op = f"{self.domain}.{self.op}" if self.domain not in ("", "ai.onnx") else self.op
        return f"{op} {self.name or self.outputs[0]!r}"

    @property
    def has_subgraph(self) -> bool:
        return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in self.proto.attribute)

    def input(self, index: int) -> str:
        """The name of input `index`, '' where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


def record(proto: NodeProto) -> Node:
    """Raises CorruptFile where an attribute holds nothing that can be read."""
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
