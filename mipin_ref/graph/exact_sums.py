"""A quantised file whose sums of eight-bit products are exact on every processor.

Without VNNI, x86 processors add pairs of products of unsigned by signed bytes in sixteen bits, which overflow where the
weights have all eight; onnxruntime's sums of unsigned by unsigned ones have no such limit. (w + 128) - (z + 128) is
w - z, so weights and zero points are stored that way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

MIDDLE = 128
"""The unsigned byte that stands for zero."""

PLACES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "ConvInteger": ((1, 3),),
    "DynamicQuantizeLSTM": ((1, 9), (2, 11)),
    "DynamicQuantizeMatMul": ((1, 3),),
    "MatMulInteger": ((1, 3),),
    "MatMulIntegerToFloat": ((1, 5),),
    "QAttention": ((1, 7),),
    "QGemm": ((3, 5),),
    "QLinearConv": ((3, 5),),
    "QLinearMatMul": ((3, 5),),
}
"""Operator -> where its inputs hold weights and their zero point."""

ACTIVATIONS: Mapping[str, int] = {
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "QGemm", "QLinearConv", "QLinearMatMul"), 2),
    "MatMulIntegerToFloat": 4,
    "QAttention": 6,
}
"""Operator -> where it is told the zero point of its activations: of signed ones no sum overflows."""


def with_exact_sums(model: bytes) -> bytes:
    """The model with its signed weights as unsigned ones; computed otherwise it is the same."""
    proto = ModelProto.FromString(model)
    unsigned = _Unsigned(proto)
    for node in proto.graph.node:
        for weight, zero in PLACES.get(node.op_type, ()):
            if not unsigned.signed(_input(node, ACTIVATIONS.get(node.op_type))):
                _store(node, weight, zero, unsigned)
    made: bytes = proto.SerializeToString()
    return made


def _input(node: NodeProto, place: int | None) -> str:
    return node.input[place] if place is not None and place < len(node.input) else ""


def _store(node: NodeProto, weight: int, zero: int, unsigned: _Unsigned) -> None:
    if not unsigned.signed(node.input[weight]):
        return
    node.input.extend([""] * (zero + 1 - len(node.input)))
    point = node.input[zero]
    if point and not unsigned.signed(point):
        return
    node.input[weight] = unsigned.named(node.input[weight])
    node.input[zero] = unsigned.named(point)


class _Unsigned:
    """The signed constants of a model, and what stands for them."""

    def __init__(self, proto: ModelProto) -> None:
        self._proto = proto
        held = {one.name: one for one in proto.graph.initializer}
        for node in proto.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                held[node.output[0]] = node.attribute[0].t
        self._signed = {name: one for name, one in held.items() if one.data_type == TensorProto.INT8}
        self._taken = {*held, *(name for node in proto.graph.node for name in (*node.input, *node.output))}
        self._made: dict[str, str] = {}

    def signed(self, name: str) -> bool:
        return name in self._signed

    def named(self, name: str) -> str:
        """The name of the unsigned one; of no name: of a zero point of zero."""
        if name not in self._made:
            signed = numpy_helper.to_array(self._signed[name]) if name else np.zeros((), np.int8)
            made = f"{name}:unsigned"
            while made in self._taken:
                made += "'"
            values = (signed.astype(np.int16) + MIDDLE).astype(np.uint8)
            self._proto.graph.initializer.append(numpy_helper.from_array(values, made))
            self._taken.add(made)
            self._made[name] = made
        return self._made[name]
