"""Where of a mask that is computed, with zeros on one side: a product with the mask, which is state.

As hidden states of what only fills a sequence up are zeroed, by a mask that is given or made of ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import read_by
from mipin_ref.layers import HostArray

FIRST = 9
"""The opset from which on there is a Where."""

ASKS = frozenset({"And", "Or", "Not", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
"""Operators whose outputs say yes or no."""

ALONG = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Cast", "Abs", "Sign", "Relu", "LeakyRelu", "Tanh", "Sigmoid"})
"""What hands Inf and NaN on, where it reads one tensor that is computed."""

MOVES = frozenset({"Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Identity"})
"""What leaves values as they are."""

UNSAFE = frozenset({"Softmax", "Where", "Div", "Reciprocal", "Log", "Sqrt", "Pow", "Exp"})
"""What makes weights of attention, or may make Inf or NaN, which a product with zero would not take out."""

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}

GUARDS = frozenset({"IsNaN", "IsInf"})
"""What asks for numbers that a product would not take out."""


def masks_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each Where that puts zeros by a computed mask is a product; itself where there is none.

    A computed mask of yes and no that an Attention reads is written as what is added to its scores. Weights of
    attention are left as they are: of a mask behind their Softmax it is known already.
    """
    if standard_opset(proto) < FIRST:
        return proto
    known, around, made = Nodes(proto), Surroundings.of(proto), of_inputs(proto)
    single = {one.data_type for one in proto.graph.initializer} & FLOATS == {TensorProto.FLOAT}

    def written(node: NodeProto) -> Writer | None:
        if single and _asks_a_mask(node, made, known.makers):
            return _added(Writer(node, around))
        sides = [place for place in (1, 2) if node.op_type == "Where" and _is_zero(known.constant(node.input[place]))]
        if len(sides) != 1 or not is_masking(node, 3 - sides[0], made, known.makers):
            return None
        return _multiplied(Writer(node, around), sides[0], known)

    return written_out(proto, written)


def _added(writer: Writer) -> Writer:
    """Writes an Attention in single precision whose mask is added."""
    fill = writer.constant("masked out", np.array(-np.inf, np.float32))
    kept = writer.constant("kept", np.zeros((), np.float32))
    made = NodeProto()
    made.CopyFrom(writer.proto)
    made.input[3] = writer.node("Where", writer.input(3), kept, fill, role="added")
    writer.nodes.append(made)
    return writer


def _multiplied(writer: Writer, zero: int, known: Nodes) -> Writer:
    """Writes the product in the place of a Where; zero: which of its inputs is one."""
    value = known.constant(writer.input(zero))
    assert value is not None
    kept = writer.input(0) if zero == 2 else writer.node("Not", writer.input(0), role="kept")
    mask = writer.node("Cast", kept, role="mask", to=helper.np_dtype_to_tensor_dtype(value.dtype))
    writer.node("Mul", writer.input(3 - zero), mask, role="masked", out=writer.output(0))
    return writer


def _is_zero(value: HostArray | None) -> bool:
    """Whether a constant is one zero. One of several axes would give its axes to what is put."""
    known = value is not None and value.dtype in (np.float32, np.float64) and value.shape in ((), (1,))
    return known and not np.any(value)


def is_masking(
    node: NodeProto,
    side: int,
    computed: AbstractSet[str],
    makers: Mapping[str, NodeProto],
    ends: AbstractSet[str] = frozenset(),
) -> bool:
    """Whether both the mask and what it masks are computed of inputs, and it is no guard, nor behind a Softmax.

    ends: tensors of which it is known that none of what counts is Inf or NaN.
    """
    content = node.input[side]
    if node.domain not in STANDARD or node.input[0] not in computed or content not in computed:
        return False
    if not _is_finite(content, computed, makers, ends):
        return False
    waiting, seen = [node.input[0]], set[str]()
    while waiting:
        name = waiting.pop()
        made = makers.get(name)
        if made is None or name in seen:
            continue
        seen.add(name)
        if made.op_type in GUARDS:
            return False
        if made.op_type in ("Not", "And", "Or", "Cast", "Unsqueeze", "Expand", "Reshape"):
            waiting.extend(made.input)
    return True


def _is_finite(name: str, computed: AbstractSet[str], makers: Mapping[str, NodeProto], ends: AbstractSet[str]) -> bool:
    """Whether nothing between a tensor and the product or sum of several in front of it may make Inf or NaN."""
    direct = True
    while (maker := makers.get(name)) is not None and name not in ends:
        free = [one for one in read_by(maker) if one in computed]
        if (maker.op_type in UNSAFE and direct) or _may_spoil(maker, free, makers):
            return False
        if maker.op_type not in ALONG | MOVES | UNSAFE or len(free) != 1:
            return True
        name, direct = free[0], False
    return True


def _may_spoil(node: NodeProto, free: Sequence[str], makers: Mapping[str, NodeProto]) -> bool:
    """Whether an operator makes Inf or NaN of some numbers. A norm's divisor, which a sum or a bound keeps from zero,
    makes none, nor does a constant. free: what of its operands is computed.
    """
    if node.op_type == "Div" and node.input[1] in free:
        divisor = makers.get(node.input[1])
        return divisor is None or divisor.op_type not in ("Sqrt", "Add", "Max", "Clip")
    return node.op_type in ("Reciprocal", "Log", "Sqrt", "Pow", "Exp")


def _asks_a_mask(node: NodeProto, of_inputs: set[str], makers: Mapping[str, NodeProto]) -> bool:
    """Whether it is an Attention with a mask of yes and no that is computed."""
    if node.op_type != "Attention" or node.domain not in STANDARD or len(node.input) < 4:
        return False
    return node.input[3] in of_inputs and _is_boolean(node.input[3], makers)


def _is_boolean(name: str, makers: Mapping[str, NodeProto]) -> bool:
    """Whether a tensor says yes or no."""
    while name in makers and makers[name].op_type in MOVES:
        name = makers[name].input[0]
    maker = makers.get(name)
    if maker is None:
        return False
    return maker.op_type in ASKS or (maker.op_type == "Cast" and told_of(maker, "to") == TensorProto.BOOL)


def of_inputs(proto: ModelProto) -> set[str]:
    """The tensors that depend on an input."""
    stored = {one.name for one in proto.graph.initializer}
    made = {value.name for value in proto.graph.input} - stored
    for node in proto.graph.node:
        if not made.isdisjoint(read_by(node)):
            made.update(node.output)
    return made
