"""Static int8: pairs of QuantizeLinear and DequantizeLinear, and operators that read and make integers.

An operator on integers is drafted as that on the numbers which they stand for; the file itself is run (see `held`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Gap, Refused, Softmax
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.fused import between_transposes
from mipin_ref.graph.ops.registry import draft_as, handles
from mipin_ref.graph.quantised import dequantised, step_of
from mipin_ref.graph.steps import Held
from mipin_ref.layers import HostArray, Layer, Wired


@handles("QuantizeLinear")
def quantize(node: Node, draft: Draft) -> None:
    """The signal passes, and from here on its values are those that the integers stand for."""
    x = draft.signal(node, batch_first=False)
    step = step_of(node, draft, node.inputs[1], node.input(2))
    output = node.outputs[0]
    if step.cuts_at_zero and not _never_negative(draft, x.name) and not _given(draft, x.name):
        draft_as(node, draft, "Relu", [node.inputs[0]], output)
    else:
        draft.alias(output, x)
    draft.steps[output] = step
    draft.held.setdefault(draft.signals[output].name, Held(output, step))


@handles("DequantizeLinear")
def dequantize(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    _check_read(node, draft, 0)
    draft.alias(node.outputs[0], x)


@handles("QLinearConv", "com.microsoft.QLinearConv")
def linear_conv(node: Node, draft: Draft) -> None:
    _check_read(node, draft, 0)
    weight = _constant(node, draft, "weight", dequantised(draft, node.inputs[3:6]))
    bias = _bias(node, draft, node.input(8), node.inputs[1], node.inputs[4])
    _made(node, draft, "Conv", [node.inputs[0], weight, *bias], node.attributes, node.inputs[6:8])


@handles("QLinearMatMul")
def linear_matmul(node: Node, draft: Draft) -> None:
    """Scales of a matrix are one, or one a column on the right and one a row on the left."""
    names = [_operand(node, draft, 0, axis=-2), _operand(node, draft, 3, axis=-1)]
    _made(node, draft, "MatMul", names, {}, node.inputs[6:8])


@handles("com.microsoft.QGemm")
def linear_gemm(node: Node, draft: Draft) -> None:
    """C is int32, in units of both scales; without a scale of its own the output is floating point."""
    _check_read(node, draft, 0)
    transposed, alpha = bool(node.attributes.get("transB", 0)), float(node.attributes.get("alpha", 1.0))
    weight = _constant(node, draft, "weight", dequantised(draft, node.inputs[3:6], 0 if transposed else 1))
    # onnxruntime adds C to the sums of integers, so that alpha scales both.
    bias = [
        _constant(node, draft, "shift", np.asarray(alpha * draft.constants[name], draft.dtype))
        for name in _bias(node, draft, node.input(6), node.inputs[1], node.inputs[4])
    ]
    inputs = [node.inputs[0], weight, *bias]
    steps = [node.input(7), node.input(8)]
    if not steps[0]:
        draft_as(node, draft, "Gemm", inputs, node.outputs[0], node.attributes)
        return
    _made(node, draft, "Gemm", inputs, node.attributes, steps)


@handles("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul")
def linear_arithmetic(node: Node, draft: Draft) -> None:
    names = [_operand(node, draft, 0), _operand(node, draft, 3)]
    _made(node, draft, node.op.removeprefix("QLinear"), names, {}, node.inputs[6:8])


@handles("com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSoftmax")
def linear_activation(node: Node, draft: Draft) -> None:
    _check_read(node, draft, 0)
    told = {key: value for key, value in node.attributes.items() if key != "opset"}
    opset = int(node.attributes.get("opset", draft.opset))
    if node.op == "QLinearSoftmax" and (opset >= 13) != (draft.opset >= 13):
        raise Refused(f"it normalises as opset {opset} has it, in a file of opset {draft.opset}")
    _made(node, draft, node.op.removeprefix("QLinear"), [node.inputs[0]], told, node.inputs[3:5])


@handles("com.microsoft.QLinearGlobalAveragePool", "com.microsoft.QLinearAveragePool")
def linear_pool(node: Node, draft: Draft) -> None:
    _check_read(node, draft, 0)
    _made(node, draft, node.op.removeprefix("QLinear"), [node.inputs[0]], node.attributes, node.inputs[3:5])


@handles("com.microsoft.QLinearReduceMean")
def linear_mean(node: Node, draft: Draft) -> None:
    _check_read(node, draft, 0)
    axes = _constant(node, draft, "axes", np.asarray(node.attributes.get("axes", []), np.int64))
    if draft.opset >= 18:
        told = {key: value for key, value in node.attributes.items() if key != "axes"}
        _made(node, draft, "ReduceMean", [node.inputs[0], axes], told, node.inputs[3:5])
    else:
        _made(node, draft, "ReduceMean", [node.inputs[0]], node.attributes, node.inputs[3:5])


@handles("com.microsoft.QLinearConcat")
def linear_concat(node: Node, draft: Draft) -> None:
    parts = [_operand(node, draft, place) for place in range(2, len(node.inputs), 3)]
    _made(node, draft, "Concat", parts, node.attributes, node.inputs[:2])


def _made(
    node: Node, draft: Draft, op: str, inputs: Sequence[str], attributes: Mapping[str, Any], steps: Sequence[str]
) -> None:
    """Draft a standard operator whose output the file holds as integers. steps: names of their scale and zero point."""
    step, output = step_of(node, draft, steps[0], steps[1] if len(steps) > 1 else ""), node.outputs[0]
    inner = draft.inner_name(node, "uncut")
    told = {key: value for key, value in attributes.items() if key != "channels_last"}
    if attributes.get("channels_last", 0):
        between_transposes(node, draft, op, inputs, inner, told)
    else:
        draft_as(node, draft, op, inputs, inner, told)
    if step.cuts_at_zero and not _never_negative(draft, draft.signals[inner].name):
        draft_as(node, draft, "Relu", [inner], output)
    else:
        _rename(node, draft, inner, output)
    draft.steps[output] = step
    draft.held[draft.signals[output].name] = Held(output, step)


def _rename(node: Node, draft: Draft, inner: str, output: str) -> None:
    """Give what a standard operator made the name of the node's output."""
    made, signal = draft.layers[-1], draft.signals.pop(inner)
    draft.aliases.pop(inner, None)
    if made.output == inner:
        draft.layers[-1] = replace(made, output=output)
        signal = replace(signal, name=output)
    draft.signals[output] = signal
    if signal.name != output:
        draft.aliases[output] = signal.name


def _operand(node: Node, draft: Draft, place: int, axis: int = 0) -> str:
    """The operand at an input, with its scale and zero point behind it: a tensor, or a constant dequantised."""
    if node.inputs[place] in draft.signals:
        _check_read(node, draft, place)
        return node.inputs[place]
    value = draft.constant(node.inputs[place])
    scales = draft.constants.get(node.input(place + 1), np.ones(1))
    along = 0 if value is None or scales.size == 1 else axis % value.ndim
    values = dequantised(draft, [node.input(place + i) for i in range(3)], along)
    name = _constant(node, draft, f"operand {place}", values)
    if node.inputs[place] in draft.spread:
        # A class token is repeated for each sample.
        draft.spread[name] = draft.spread[node.inputs[place]]
    return name


def _check_read(node: Node, draft: Draft, place: int) -> None:
    """Refused where integers are read in another step than they were made in."""
    if node.inputs[place] not in draft.signals:
        raise Refused("its first operand is a constant")
    made = draft.steps.get(node.inputs[place])
    if made is None:
        raise Refused(f"input {node.inputs[place]!r} holds integers that no scale is known of")
    read = step_of(node, draft, node.input(place + 1), node.input(place + 2))
    if made != read:
        raise Refused(f"it reads {node.inputs[place]!r} in steps of {read.scale:.4g} that was made in {made.scale:.4g}")


def _constant(node: Node, draft: Draft, role: str, value: HostArray) -> str:
    name = draft.inner_name(node, role)
    draft.constants[name] = value
    return name


def _bias(node: Node, draft: Draft, name: str, scale: str, by: str) -> list[str]:
    """The name of a bias of int32 in units of two scales, dequantised; none where there is none."""
    if not name:
        return []
    integers = draft.constant(name)
    assert integers is not None
    unit = np.ravel(draft.constants[scale]).astype(np.float64) * np.ravel(draft.constants[by]).astype(np.float64)
    return [_constant(node, draft, "bias", (integers * unit).astype(draft.dtype))]


def _given(draft: Draft, name: str) -> bool:
    """Whether a tensor is what the network starts from, in whatever shape: no Relu was ever there."""
    made = _maker(draft, name)
    while isinstance(made, Layer) and made.rearranges:
        made = _maker(draft, made.input)
    return made is None or isinstance(made, Gap)


def _maker(draft: Draft, name: str) -> Wired | None:
    return next((layer for layer in reversed(draft.layers) if layer.output == name), None)


def _never_negative(draft: Draft, name: str) -> bool:
    """Whether no value of a tensor can be negative, as far as its layers tell."""
    if name not in draft.positive:
        made = _maker(draft, name)
        if isinstance(made, Softmax):
            draft.positive[name] = made.function == "Softmax"
        elif not isinstance(made, Layer):
            draft.positive[name] = False
        else:
            draft.positive[name] = made.never_negative(False) or (
                made.never_negative(True) and all(_never_negative(draft, one) for one in made.inputs)
            )
    return draft.positive[name]
