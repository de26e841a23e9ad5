"""Network -> ONNX: the canonical model, cut down to what the wanted tensors need."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.layer import (
    Activation,
    Add,
    Affine,
    Array,
    AveragePool,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
    unknown_kind,
)
from mipin_ref.graph.network import Network
from mipin_ref.window import Window

OPSET, IR_VERSION = 20, 9
"""The oldest opset that has every activation we accept as one operator; Swish (opset 24) is spelt out."""

MAX_BYTES = (1 << 31) - (1 << 20)
"""Weights that a serialised model can hold: protobuf ends at 2 GB, and the nodes want some room."""


LARGE = 1 << 16
"""Elements of a weight that is handed to onnxruntime beside the model."""


def emit(
    net: Network, wanted: Sequence[str], switches: Collection[str] = (), *, beside: dict[str, Array] | None = None
) -> ModelProto:
    """A model whose outputs are the tensors `wanted` and, for each max-pool output in `switches`, its Indices.

    Nodes that no wanted tensor needs are left out. The output that holds the switches of tensor t is switches_of(t).
    beside: takes the large weights by name, of which the model then has name and shape alone.
    Raises UnsupportedModel where the weights are too large for one model that holds them.
    """
    needed, layers = {*wanted, *switches}, []
    for layer in reversed(net.layers):
        if layer.output in needed:
            layers.append(layer)
            needed.update(layer.inputs)
    size = sum(layer.parameters for layer in layers) * net.dtype.itemsize
    if size > MAX_BYTES and beside is None:
        raise UnsupportedModel(
            f"the network has {size:,} bytes of weights; only {MAX_BYTES:,} fit into one model for onnxruntime"
        )
    element = helper.np_dtype_to_tensor_dtype(net.dtype)
    outputs = [helper.make_tensor_value_info(t, element, ("N", *net.shapes[t])) for t in wanted if t != net.input]
    outputs += [
        helper.make_tensor_value_info(switches_of(t), TensorProto.INT64, ("N", *net.shapes[t])) for t in switches
    ]
    given = helper.make_tensor_value_info(net.input, element, ("N", *net.input_shape))
    model = helper.make_model(
        helper.make_graph([], "canonical", [given], outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    prefix = _prefix(net)
    for number, layer in enumerate(reversed(layers)):
        # Into the model itself: a graph given to make_model would hold all weights twice.
        _append(model.graph, layer, f"{prefix}{number}", net.dtype, layer.output in switches, beside)
    return model


def switches_of(tensor: str) -> str:
    return f"{tensor}:switches"


def _prefix(net: Network) -> str:
    """What the names of weights begin with, and no tensor's name does."""
    prefix = "layer"
    while any(name.startswith(prefix) for name in net.shapes):
        prefix += "_"
    return prefix


def _append(
    graph: GraphProto,
    layer: Layer,
    prefix: str,
    dtype: np.dtype[Any],
    switches: bool,
    beside: dict[str, Array] | None,
) -> None:
    def constant(role: str, value: Array) -> str:
        name, value = f"{prefix}:{role}", np.ascontiguousarray(value)
        if beside is None or value.dtype != dtype or value.size < LARGE:
            graph.initializer.append(numpy_helper.from_array(value, name))
            return name
        beside[name] = value
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        graph.initializer.append(
            TensorProto(name=name, data_type=kind, dims=value.shape, data_location=TensorProto.EXTERNAL)
        )
        # Any name will do: nothing is read from there.
        graph.initializer[-1].external_data.add(key="location", value=name)
        return name

    def weight(role: str, value: npt.ArrayLike) -> str:
        return constant(role, np.asarray(value).astype(dtype, copy=False))

    def whole(role: str, *values: int) -> str:
        return constant(role, np.array(values, np.int64))

    def append(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        # The output names the node: onnxruntime refuses two of one name, and the file's may repeat.
        graph.node.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))

    def node(op: str, *constants: str, **attributes: Any) -> None:
        outputs = [layer.output, switches_of(layer.output)] if switches else [layer.output]
        append(op, [*layer.inputs, *constants], outputs, **attributes)

    if isinstance(layer, Dense):
        node("Gemm", weight("weight", layer.weight), weight("bias", layer.bias))
    elif isinstance(layer, Conv):
        parameters = [weight("weight", layer.weight), weight("bias", layer.bias)]
        geometry = _geometry(layer.window)
        del geometry["kernel_shape"]
        node("Conv", *parameters, group=layer.groups, **geometry)
    elif isinstance(layer, MaxPool):
        node("MaxPool", ceil_mode=int(layer.ceil_mode), **_geometry(layer.window))
    elif isinstance(layer, AveragePool):
        modes = {"ceil_mode": int(layer.ceil_mode), "count_include_pad": int(layer.count_include_pad)}
        node("AveragePool", **modes, **_geometry(layer.window))
    elif isinstance(layer, GlobalAveragePool):
        node("GlobalAveragePool")
    elif isinstance(layer, Affine):
        scaled = f"{prefix}:scaled"
        append("Mul", [layer.input, weight("scale", layer.scale[None])], [scaled])
        append("Add", [scaled, weight("shift", layer.shift[None])], [layer.output])
    elif isinstance(layer, Add):
        node("Sum")
    elif isinstance(layer, Concat):
        node("Concat", axis=layer.axis)
    elif isinstance(layer, Slice):
        axes = whole("axes", *range(1, len(layer.begin) + 1))
        node("Slice", whole("begin", *layer.begin), whole("end", *layer.end), axes)
    elif isinstance(layer, Pad):
        node("Pad", whole("pads", 0, *layer.begin, 0, *layer.end), weight("value", layer.value))
    elif isinstance(layer, Reshape):
        node("Reshape", whole("shape", -1, *layer.out_shape))
    elif isinstance(layer, Transpose):
        node("Transpose", perm=layer.perm)
    elif isinstance(layer, Activation) and layer.function == "Swish":
        # x · sigmoid(alpha x)
        scaled, gate = f"{prefix}:scaled", f"{prefix}:gate"
        append("Mul", [layer.input, weight("alpha", layer.options.get("alpha", 1.0))], [scaled])
        append("Sigmoid", [scaled], [gate])
        append("Mul", [layer.input, gate], [layer.output])
    elif isinstance(layer, Activation) and layer.function == "Clip":
        bounds = (layer.options.get("min", -np.inf), layer.options.get("max", np.inf))
        node("Clip", weight("min", bounds[0]), weight("max", bounds[1]))
    elif isinstance(layer, Activation):
        slope = () if layer.slope is None else [weight("slope", layer.slope)]
        node(layer.function, *slope, **layer.options)
    else:
        raise unknown_kind(layer, "the writer of ONNX models")


def _geometry(window: Window) -> dict[str, tuple[int, ...]]:
    return {
        "kernel_shape": window.kernel,
        "strides": window.strides,
        "pads": window.begin + window.end,
        "dilations": window.dilations,
    }
