"""Frozen records of ONNX nodes, and the folding of nodes whose inputs are all known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from mipin_ref.layers import HostArray as Array

MAX_ELEMENTS = 1 << 28
"""No constant of a classifier is larger (VGG19's largest weight has 1e8 elements); a hostile file asks for 2**40."""


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
    return Node(
        proto.op_type,
        proto.domain,
        proto.name,
        tuple(proto.input),
        tuple(proto.output),
        {a.name: _value(a) for a in proto.attribute},
        proto,
    )


def _value(attribute: AttributeProto) -> Any:
    """The attribute as a plain value. Tensors stay behind, as only constants have them, and those are folded whole."""
    if attribute.type in (AttributeProto.TENSOR, AttributeProto.SPARSE_TENSOR):
        return None
    value = helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Where", "Expand"}
BROADCASTING |= {"Equal", "Greater", "Less", "And", "Or"}

FOLDABLE = BROADCASTING | {"Constant", "ConstantOfShape", "Identity", "Cast", "Shape", "Size", "Range", "MatMul"}
FOLDABLE |= {"Gather", "Slice", "Split", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"}
FOLDABLE |= {"Neg", "Sqrt", "Reciprocal", "Exp", "Log", "Abs", "Floor", "Ceil", "Not"}
FOLDABLE |= {"ReduceProd", "ReduceSum", "ReduceMean", "ReduceL2"}
"""What exporters leave to be computed of shapes and weights."""


class TooLarge(ValueError):
    """A constant of more elements than any classifier needs."""


def fold(node: Node, inputs: list[Array | None], opset: int) -> list[Array]:
    """The outputs of a node whose inputs are known, by the operator's reference implementation.

    inputs: one array an input, None where it is left out. Raises TooLarge before anything large is allocated.
    """
    size = _result_size(node, inputs)
    if size > MAX_ELEMENTS:
        raise TooLarge(f"asks for {size} elements")
    given = {name: value for name, value in zip(node.inputs, inputs, strict=True) if value is not None}
    graph = helper.make_graph(
        [node.proto],
        "constant",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return [np.asarray(out) for out in ReferenceEvaluator(model).run(None, given)]


def _result_size(node: Node, inputs: list[Array | None]) -> int:
    """Elements of the result, an upper bound where it is cheap to have one. Raises ValueError where inputs misfit."""
    known = [v for v in inputs if v is not None]
    if node.op == "ConstantOfShape" and known:
        return prod(int(d) for d in known[0].ravel())
    if node.op == "Expand" and len(known) == 2:
        given, wanted = known[0].shape, [int(d) for d in known[1].ravel()]
        widest = max(len(given), len(wanted))
        left = [1] * (widest - len(given)) + list(given)
        right = [1] * (widest - len(wanted)) + wanted
        return prod(max(a, b) for a, b in zip(left, right, strict=True))
    if node.op == "Range" and len(known) == 3:
        start, limit, step = (float(v.item()) for v in known)
        return int(abs(limit - start) / abs(step)) + 1
    if node.op == "Gather" and len(known) == 2:
        length = int(known[0].shape[int(node.attributes.get("axis", 0))])
        return int(known[1].size) * (int(known[0].size) // max(length, 1))
    if node.op == "MatMul" and len(known) == 2:
        rows, columns = int(known[0].size) // max(int(known[0].shape[-1]), 1), known[1].shape[1:][-1:]
        return int(rows * prod(known[1].shape[:-2]) * prod(columns))
    if len(known) > 1 and node.op in BROADCASTING:
        return prod(np.broadcast_shapes(*(v.shape for v in known)))
    return sum(int(v.size) for v in known)
