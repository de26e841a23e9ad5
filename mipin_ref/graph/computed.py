"""Constants that onnxruntime computes, as onnx's own implementations of these operators are slow, or differ from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import helper

from mipin_ref.graph.node import Node
from mipin_ref.graph.runtime import session
from mipin_ref.layers import HostArray

Known = Sequence[HostArray | None]


def _whole(value: HostArray | None) -> list[int]:
    return [] if value is None else [int(one) for one in np.ravel(value)]


def _tiled(node: Node, known: Known) -> int:
    return prod(_shape(known)) * prod(_whole(known[1]))


def _resized(node: Node, known: Known) -> int:
    """By sizes where they are given, else by scales; of axes that are not named the input's own."""
    shape = list(_shape(known))
    axes = [int(axis) for axis in node.attributes.get("axes", range(len(shape)))]
    sizes = known[3] if len(known) > 3 else None
    scales = known[2] if len(known) > 2 else known[1]
    if sizes is not None and sizes.size:
        wanted = _whole(sizes)
        if "keep_aspect_ratio_policy" in node.attributes:
            # One size of several counts, and the others are made of it.
            wanted = [max(wanted) * max(shape)] * len(wanted)
        for axis, size in zip(axes, wanted, strict=True):
            shape[axis] = size
    elif scales is not None:
        for axis, scale in zip(axes, np.ravel(scales), strict=True):
            shape[axis] = int(shape[axis] * float(scale)) + 1
    return prod(shape)


def _padded(node: Node, known: Known) -> int:
    pads = _whole(known[1]) if len(known) > 1 else [int(one) for one in node.attributes["pads"]]
    shape, half = list(_shape(known)), len(pads) // 2
    axes = _whole(known[3]) if len(known) > 3 and known[3] is not None else range(len(shape))
    for axis, before, behind in zip(axes, pads[:half], pads[half:], strict=True):
        shape[axis] += max(before, 0) + max(behind, 0)
    return prod(shape)


def _one_hot(node: Node, known: Known) -> int:
    return prod(_shape(known)) * max(_whole(known[1]), default=1)


def _window(node: Node, known: Known) -> int:
    return max(_whole(known[0]), default=1)


def _mel(node: Node, known: Known) -> int:
    return max(_whole(known[0]), default=1) * (max(_whole(known[1]), default=1) // 2 + 1)


def _contracted(node: Node, known: Known) -> int:
    """All indices together: what is multiplied, an upper bound of what is made."""
    lengths: dict[str, int] = {}
    terms = str(node.attributes["equation"]).split("->")[0].replace(" ", "").split(",")
    for term, value in zip(terms, known, strict=True):
        if "." in term or value is None:
            return prod(max(prod(one.shape), 1) for one in known if one is not None)
        for index, length in zip(term, value.shape, strict=True):
            # An axis of one is repeated.
            lengths[index] = max(length, lengths.get(index, 1)) if length else 0
    return prod(lengths.values())


def _convolved(node: Node, known: Known) -> int:
    """Products at each place of the padded map: of each output with what it sees."""
    batch, _, *places = _shape(known)
    weight = known[1].size if len(known) > 1 and known[1] is not None else 0
    pads = [int(one) for one in node.attributes.get("pads", ())] or [0] * 2 * len(places)
    half = len(pads) // 2
    lengths = [
        length + before + behind for length, before, behind in zip(places, pads[:half], pads[half:], strict=True)
    ]
    # What is padded by itself keeps its length.
    return batch * prod(max(length, 1) for length in lengths) * int(weight)


def _as_given(node: Node, known: Known) -> int:
    return sum(int(value.size) for value in known if value is not None)


def _shape(known: Known) -> tuple[int, ...]:
    return () if known[0] is None else known[0].shape


SIZES: Mapping[str, Callable[[Node, Known], int]] = {
    "Tile": _tiled,
    "Resize": _resized,
    "Upsample": _resized,
    "Pad": _padded,
    "OneHot": _one_hot,
    "HannWindow": _window,
    "HammingWindow": _window,
    "BlackmanWindow": _window,
    "MelWeightMatrix": _mel,
    "Einsum": _contracted,
    "Conv": _convolved,
    **dict.fromkeys(
        (
            *("ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare", "ArgMax", "ArgMin", "CumSum", "Erf", "Softmax"),
            *("LogSoftmax", "Softplus", "Elu", "LeakyRelu", "Gelu", "LayerNormalization", "Round", "IsNaN", "IsInf"),
            *("ScatterElements", "DepthToSpace", "Tan", "Atan"),
            # Weights that are standardised where they stand, as in ResNetV2 and NFNet.
            *("BatchNormalization", "InstanceNormalization", "LpNormalization"),
        ),
        _as_given,
    ),
}
"""Operators -> how many elements of a result, or of the products that make it, there are at most."""


def computed(node: Node, known: Known, opset: int) -> list[HostArray]:
    """The outputs of a node whose inputs are known. Raises UnsupportedModel where onnxruntime cannot compute it."""
    given: dict[str, Any] = {n: v for n, v in zip(node.inputs, known, strict=True) if n and v is not None}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs if name]
    graph = helper.make_graph([node.proto], "constant", inputs, outputs)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    values = iter(session(model.SerializeToString(), threads=1).run(None, given))
    return [np.asarray(next(values)) if name else np.zeros(0) for name in node.outputs]
