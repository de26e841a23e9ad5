"""Numbers held as small integers: steps of a scale, counted from a zero point (ONNX, QuantizeLinear)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.presentable import FOREIGN
from mipin_ref.graph.steps import Held, Step
from mipin_ref.layers import HostArray

USE_FLOAT = "quantised: use the float file"
"""What is said of integer arithmetic that nothing here reads as an operator on floating-point numbers."""

SMALL = ("int8", "uint8", "int16", "uint16")
"""Types that activations are held in."""


def standardised(node: Node) -> Node:
    """A QuantizeLinear or DequantizeLinear of onnxruntime's own, which had 16 bits before opset 21, as ONNX's."""
    if node.domain != FOREIGN or node.op not in ("QuantizeLinear", "DequantizeLinear"):
        return node
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    proto.domain = ""
    return replace(node, domain="", proto=proto)


def step_of(node: Node, draft: Draft, scale: str, zero: str) -> Step:
    """The step of an activation, by the names of its scale and zero point. Refused where these are several."""
    scales, zeros = _constant(draft, scale, "scale"), draft.constant(zero) if zero else np.zeros((), np.uint8)
    assert zeros is not None
    if scales.size != 1:
        raise Refused(f"it has {scales.size} scales of its own for one activation; one scale a tensor is read")
    check_steps(scales, zeros)
    if zeros.dtype.name not in SMALL:
        raise Refused(f"its zero point is {zeros.dtype}, which no activation is held in")
    kind = np.iinfo(zeros.dtype)
    return Step(float(scales.item()), int(zeros.item()), int(kind.min), int(kind.max), zeros.dtype)


def check_steps(scales: HostArray, zeros: HostArray | None) -> None:
    """Refused where scales are not positive, or zero points are not as many as they."""
    if scales.dtype.kind != "f" or not np.all(np.isfinite(scales)) or not np.all(scales > 0):
        raise Refused("its scale is not a positive number")
    if zeros is not None and zeros.size != scales.size:
        raise Refused(f"it has {zeros.size} zero points for {scales.size} scales")


def dequantised(draft: Draft, names: Sequence[str], axis: int = 0) -> HostArray:
    """A constant of integers as the numbers that it stands for, in the network's dtype.

    names: of the constant, its scale and its zero point, '' where it has none; axis: along which scales vary.
    """
    value, scale, zero = names
    integers, scales = draft.constant(value), _constant(draft, scale, "scale")
    zeros = draft.constant(zero) if zero else None
    if integers is None or integers.dtype.kind not in "iu":
        raise Refused(f"weight {value!r} holds no integers")
    check_steps(scales, zeros)
    if scales.size not in (1, integers.shape[axis] if integers.ndim else 1):
        raise Refused(f"it has {scales.size} scales for {integers.shape[axis]} channels of {value!r}")
    shape = [1] * integers.ndim
    if scales.size > 1:
        shape[axis] = scales.size
    offset = 0 if zeros is None else zeros.astype(np.int32).reshape(shape)
    draft.spent.compute(integers.size * draft.dtype.itemsize)
    counted = (integers.astype(np.int32) - offset).astype(draft.dtype)
    made: HostArray = counted * scales.astype(draft.dtype).reshape(shape)
    return made


def _constant(draft: Draft, name: str, what: str) -> HostArray:
    if name not in draft.constants:
        raise Refused(f"its {what} {name!r} is no constant of the file: {USE_FLOAT}")
    return draft.constants[name]


MOVES = frozenset(
    {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "GatherND"}
    | {"GatherElements", "MaxPool", "DepthToSpace", "SpaceToDepth", "Tile", "Expand", "Resize", "Upsample", "Dropout"}
    | {"Shape", "Size", "Pad", "NhwcMaxPool"}
)
"""Operators that onnxruntime runs on integers as on the numbers that these stand for: they only move values."""


def check_moves(node: Node, draft: Draft) -> Node:
    """The node as it reads the numbers that integers stand for. Refused where it computes with the integers."""
    held = [name for name in node.inputs if name in draft.steps]
    if not held or node.op.startswith(("QLinear", "QuantizeLinear", "DequantizeLinear", "QGemm")):
        return node
    if node.op not in MOVES or (not node.standard and node.op != "NhwcMaxPool"):
        raise Refused(f"it computes with integers of {held[0]!r}: {USE_FLOAT}")
    linear = str(node.attributes.get("mode", "nearest")) != "nearest"
    if node.op in ("Resize", "Upsample") and linear:
        raise Refused(f"it interpolates integers of {held[0]!r}: {USE_FLOAT}")
    if node.op == "Pad" and str(node.attributes.get("mode", "constant")) == "constant":
        return _padded(node, draft, draft.steps[held[0]])
    return node


def _padded(node: Node, draft: Draft, step: Step) -> Node:
    """A Pad whose value is the number that its integer stands for."""
    value = draft.option(node, "value", 2)
    around = 0 if value is None else int(np.asarray(value).item())
    name = draft.inner_name(node, "value")
    draft.constants[name] = np.array(step.scale * (around - step.zero), draft.dtype)
    inputs = [*node.inputs, "", ""][: max(3, len(node.inputs))]
    inputs[2] = name
    attributes = {key: told for key, told in node.attributes.items() if key != "value"}
    return replace(node, inputs=tuple(inputs), attributes=attributes)


def hand_on(node: Node, draft: Draft) -> None:
    """Let the outputs of a node that moves integers be held as they are."""
    step = next((draft.steps[name] for name in node.inputs if name in draft.steps), None)
    if step is None or node.op not in MOVES:
        return
    for name in node.outputs:
        if name in draft.signals:
            draft.steps[name] = step
            draft.held.setdefault(draft.signals[name].name, Held(name, step))
