"""Network -> ONNX: the canonical model, cut down to what the wanted tensors need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.layer import Activation, Array, Conv, Dense, Layer, MaxPool, Reshape, Transpose
from mipin_ref.graph.network import Network

OPSET, IR_VERSION = 20, 9
"""The oldest opset that has every activation we accept as one operator; Swish (opset 24) is spelt out."""

MAX_BYTES = (1 << 31) - (1 << 20)
"""Weights that a serialised model can hold: protobuf ends at 2 GB, and the nodes want some room."""


def emit(net: Network, wanted: Sequence[str], switches: Collection[str] = ()) -> ModelProto:
    """A model whose outputs are the tensors `wanted` and, for each max-pool output in `switches`, its Indices.

    Nodes that no wanted tensor needs are left out. The output that holds the switches of tensor t is switches_of(t).
    Raises UnsupportedModel where the weights are too large for one model.
    """
    needed, layers = {*wanted, *switches}, []
    for layer in reversed(net.layers):
        if layer.output in needed:
            layers.append(layer)
            needed.add(layer.input)
    size = sum(layer.parameters for layer in layers) * net.dtype.itemsize
    if size > MAX_BYTES:
        raise UnsupportedModel(
            f"the network has {size:,} bytes of weights; only {MAX_BYTES:,} fit into one model for onnxruntime"
        )
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    for number, layer in enumerate(reversed(layers)):
        for node, tensors in _nodes(layer, number, net.dtype, layer.output in switches):
            nodes.append(node)
            weights.extend(tensors)
    element = helper.np_dtype_to_tensor_dtype(net.dtype)
    outputs = [helper.make_tensor_value_info(t, element, ("N", *net.shapes[t])) for t in wanted if t != net.input]
    outputs += [
        helper.make_tensor_value_info(switches_of(t), TensorProto.INT64, ("N", *net.shapes[t])) for t in switches
    ]
    graph = helper.make_graph(
        nodes,
        "canonical",
        [helper.make_tensor_value_info(net.input, element, ("N", *net.input_shape))],
        outputs,
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def switches_of(tensor: str) -> str:
    return f"{tensor}:switches"


def _nodes(
    layer: Layer, number: int, dtype: np.dtype[Any], switches: bool
) -> Iterator[tuple[NodeProto, list[TensorProto]]]:
    def weight(role: str, value: Array) -> TensorProto:
        tensor: TensorProto = numpy_helper.from_array(np.ascontiguousarray(value), f"layer{number}:{role}")
        return tensor

    def node(op: str, tensors: Sequence[TensorProto] = (), **attributes: Any) -> tuple[NodeProto, list[TensorProto]]:
        outputs = [layer.output, switches_of(layer.output)] if switches else [layer.output]
        made = helper.make_node(op, [layer.input, *(t.name for t in tensors)], outputs, name=layer.name, **attributes)
        return made, list(tensors)

    if isinstance(layer, Dense):
        yield node("Gemm", [weight("weight", layer.weight.astype(dtype)), weight("bias", layer.bias.astype(dtype))])
    elif isinstance(layer, Conv):
        parameters = [weight("weight", layer.weight.astype(dtype)), weight("bias", layer.bias.astype(dtype))]
        w = layer.window
        yield node(
            "Conv", parameters, strides=w.strides, pads=w.begin + w.end, dilations=w.dilations, group=layer.groups
        )
    elif isinstance(layer, MaxPool):
        w = layer.window
        yield node(
            "MaxPool",
            kernel_shape=w.kernel,
            strides=w.strides,
            pads=w.begin + w.end,
            dilations=w.dilations,
            ceil_mode=int(layer.ceil_mode),
        )
    elif isinstance(layer, Reshape):
        yield node("Reshape", [weight("shape", np.array([-1, *layer.out_shape], np.int64))])
    elif isinstance(layer, Transpose):
        yield node("Transpose", perm=layer.perm)
    elif isinstance(layer, Activation) and layer.function == "Swish":
        yield from _swish(layer, weight("alpha", np.array(layer.options.get("alpha", 1.0), dtype)))
    elif isinstance(layer, Activation) and layer.function == "Clip":
        bounds = (layer.options.get("min", -np.inf), layer.options.get("max", np.inf))
        yield node("Clip", [weight("min", np.array(bounds[0], dtype)), weight("max", np.array(bounds[1], dtype))])
    elif isinstance(layer, Activation):
        slope = () if layer.slope is None else [weight("slope", layer.slope.astype(dtype))]
        yield node(layer.function, slope, **layer.options)
    else:
        raise AssertionError(f"layer kind {layer.kind} has no ONNX form")


def _swish(layer: Activation, alpha: TensorProto) -> Iterator[tuple[NodeProto, list[TensorProto]]]:
    """x · sigmoid(alpha x)."""
    scaled, gate = f"{layer.output}:scaled", f"{layer.output}:gate"
    yield helper.make_node("Mul", [layer.input, alpha.name], [scaled]), [alpha]
    yield helper.make_node("Sigmoid", [scaled], [gate]), []
    yield helper.make_node("Mul", [layer.input, gate], [layer.output], name=layer.name), []
