"""Fusions of onnxruntime's optimiser (domain com.microsoft), drafted as the standard operators that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import draft_as, handles

FIRST = "com.microsoft."

PARAMETERS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "Softplus": (),
    "Softsign": (),
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}
"""Activations that are fused behind a product, and their parameters, in the order in which the fusion lists them."""

SLIDING = {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}
PRODUCT = {"transA", "transB", "transBatchA", "transBatchB", "alpha"}


@handles(FIRST + "FusedConv")
def fused_conv(node: Node, draft: Draft) -> None:
    """A Conv, perhaps another tensor added, then an activation."""
    told = _told(node, SLIDING | {"activation", "activation_params"})
    inner = draft.inner_name(node, "sums")
    summands = [node.input(3)] if node.input(3) else []
    _chain(node, draft, "Conv", [name for name in node.inputs[:3] if name], _only(told, SLIDING), summands, inner)
    given = [float(value) for value in told.get("activation_params") or ()]
    names = _parameters(told.get("activation", ""))
    _activation(node, draft, inner, node.outputs[0], dict(zip(names, given, strict=False)))


@handles(FIRST + "FusedGemm")
def fused_gemm(node: Node, draft: Draft) -> None:
    """A Gemm, then an activation."""
    gemm, numbers = {"transA", "transB", "alpha", "beta"}, ("activation_alpha", "activation_beta", "activation_gamma")
    told = _told(node, gemm | {"activation", *numbers})
    inner = draft.inner_name(node, "sums")
    draft_as(node, draft, "Gemm", [name for name in node.inputs if name], inner, _only(told, gemm))
    names = _parameters(told.get("activation", ""))
    values = {name: float(told[key]) for name, key in zip(names, numbers, strict=False) if key in told}
    _activation(node, draft, inner, node.outputs[0], values)


@handles(FIRST + "FusedMatMul", FIRST + "TransposeMatMul")
def fused_matmul(node: Node, draft: Draft) -> None:
    """A MatMul of operands whose last two axes may be swapped, times a number."""
    told = _told(node, PRODUCT)
    if told.get("transBatchA", 0) or told.get("transBatchB", 0):
        raise Refused("it moves the first axis of an operand in front of the last")
    scale = float(told.get("alpha", 1.0))
    inputs = [
        _swapped(node, draft, name, bool(told.get(key, 0)))
        for name, key in zip(node.inputs, ("transA", "transB"), strict=True)
    ]
    if scale == 1.0:
        draft_as(node, draft, "MatMul", inputs, node.outputs[0])
        return
    constant = next((place for place, name in enumerate(inputs) if name in draft.constants), None)
    if constant is not None:
        value = draft.weight(inputs[constant])
        inputs[constant] = _constant(node, draft, "scaled", (scale * value).astype(value.dtype))
        draft_as(node, draft, "MatMul", inputs, node.outputs[0])
        return
    inner, factor = draft.inner_name(node, "product"), _constant(node, draft, "factor", np.array(scale, draft.dtype))
    draft_as(node, draft, "MatMul", inputs, inner)
    draft_as(node, draft, "Mul", [inner, factor], node.outputs[0])


@handles(FIRST + "Gelu", FIRST + "BiasGelu", FIRST + "FastGelu")
def gelu(node: Node, draft: Draft) -> None:
    """GELU, exact or by tanh (FastGelu), of a sum with a bias where there is one."""
    _told(node, set())
    summed = _sum(node, draft, [name for name in node.inputs if name])
    told = {"approximate": "tanh"} if node.op == "FastGelu" else {}
    draft_as(node, draft, "Gelu", [summed], node.outputs[0], told)


@handles(FIRST + "QuickGelu")
def quick_gelu(node: Node, draft: Draft) -> None:
    """x · sigmoid(α x)."""
    told = _told(node, {"alpha"})
    draft_as(node, draft, "Swish", node.inputs[:1], node.outputs[0], {"alpha": float(told.get("alpha", 1.702))})


@handles(FIRST + "BiasDropout", FIRST + "BiasAdd")
def bias_and_more(node: Node, draft: Draft) -> None:
    """The sum of a tensor, a bias, and another tensor where there is one; dropped is nothing."""
    _told(node, {"seed"})
    mode = draft.constant(node.input(4))
    if mode is not None and bool(mode):
        raise Refused("training_mode is on: set it to 0 in the file")
    summands = [name for name in node.inputs[:3] if name]
    draft_as(node, draft, "Identity", [_sum(node, draft, summands)], node.outputs[0])


@handles(FIRST + "NhwcMaxPool", FIRST + "NhwcConv", FIRST + "NhwcFusedConv")
def channels_last(node: Node, draft: Draft) -> None:
    """The same with channels first, between two Transposes."""
    if node.op == "NhwcMaxPool":
        between_transposes(node, draft, "MaxPool", node.inputs, node.outputs[0], _told(node, SLIDING | {"ceil_mode"}))
        return
    if node.input(3):
        raise Refused("it adds another tensor")
    told = _told(node, SLIDING | {"activation", "activation_params"})
    activation = node.op == "NhwcFusedConv"
    sums = draft.inner_name(node, "sums") if activation else node.outputs[0]
    between_transposes(node, draft, "Conv", [name for name in node.inputs if name], sums, _only(told, SLIDING))
    if activation:
        given = [float(value) for value in told.get("activation_params") or ()]
        names = _parameters(told.get("activation", ""))
        _activation(node, draft, sums, node.outputs[0], dict(zip(names, given, strict=False)))


def between_transposes(
    node: Node, draft: Draft, op: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]
) -> None:
    """Draft an operator on a tensor whose channels are last, as the standard one on channels first."""
    rank = len(draft.signal(node).shape)
    turned, made = draft.inner_name(node, "channels first"), draft.inner_name(node, "map")
    draft_as(node, draft, "Transpose", inputs[:1], turned, {"perm": (0, rank - 1, *range(1, rank - 1))})
    draft_as(node, draft, op, [turned, *inputs[1:]], made, attributes)
    draft_as(node, draft, "Transpose", [made], output, {"perm": (0, *range(2, rank), 1)})


def _told(node: Node, known: set[str]) -> Mapping[str, Any]:
    """The attributes of a fusion. Refused where one of them is unknown."""
    unknown = sorted(node.attributes.keys() - known)
    if unknown:
        raise Refused(f"attribute {unknown[0]!r} is not known of this fusion: save the file without optimisations")
    return node.attributes


def _only(told: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key in names}


def _parameters(activation: str) -> tuple[str, ...]:
    if activation and activation not in PARAMETERS:
        raise Refused(f"activation {activation!r} is not known of this fusion: save the file without optimisations")
    return PARAMETERS.get(activation, ())


def _activation(node: Node, draft: Draft, inner: str, output: str, options: Mapping[str, float]) -> None:
    draft_as(node, draft, str(node.attributes.get("activation", "")) or "Identity", [inner], output, options)


def _chain(
    node: Node,
    draft: Draft,
    op: str,
    inputs: Sequence[str],
    told: Mapping[str, Any],
    summands: Sequence[str],
    output: str,
) -> None:
    """An operator, and what is added to its output."""
    if not summands:
        draft_as(node, draft, op, inputs, output, told)
        return
    product = draft.inner_name(node, "product")
    draft_as(node, draft, op, inputs, product, told)
    draft_as(node, draft, "Add", [product, *summands], output)


def _sum(node: Node, draft: Draft, summands: Sequence[str]) -> str:
    """The name of the sum of tensors, of which some may be constants."""
    whole = summands[0]
    for place, other in enumerate(summands[1:]):
        name = draft.inner_name(node, f"sum {place}")
        draft_as(node, draft, "Add", [whole, other], name)
        whole = name
    return whole


def _swapped(node: Node, draft: Draft, name: str, swapped: bool) -> str:
    """An operand with its last two axes swapped, where they are to be."""
    if not swapped:
        return name
    if name in draft.constants:
        value = draft.weight(name)
        return _constant(node, draft, f"turned {name}", value if value.ndim < 2 else np.swapaxes(value, -1, -2))
    turned = draft.inner_name(node, f"turned {name}")
    rank = len(draft.signals[name].shape)
    draft_as(node, draft, "Transpose", [name], turned, {"perm": (*range(rank - 2), rank - 1, rank - 2)})
    return turned


def _constant(node: Node, draft: Draft, role: str, value: Any) -> str:
    name = draft.inner_name(node, role)
    draft.constants[name] = np.ascontiguousarray(value)
    return name
