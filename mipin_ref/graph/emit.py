"""Network -> ONNX: the canonical model, cut down to what the wanted tensors need; each layer writes itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.fired import Fired, emit_fired, fired_of
from mipin_ref.graph.layer_list import LayerList, leading_to
from mipin_ref.layers import HostArray, Layer

OPSET, IR_VERSION = 20, 9
"""The oldest opset that has every activation we accept as one operator; Swish (opset 24) is spelt out."""

MAX_BYTES = (1 << 31) - (1 << 20)
"""Weights that a serialised model can hold: protobuf ends at 2 GB, and the nodes want some room."""


LARGE = 1 << 16
"""Elements of a weight that is handed to onnxruntime beside the model."""


def emit(
    net: LayerList,
    wanted: Sequence[str],
    switches: Collection[str] = (),
    fired: Collection[Fired] = (),
    *,
    beside: dict[str, HostArray] | None = None,
) -> ModelProto:
    """A model whose outputs are the tensors `wanted`, for each max-pool output in `switches` its Indices, and for each
    tensor in `fired` which of its values fired, as booleans. None of `fired` is what the layers start from.

    Nodes that no wanted tensor needs are left out. The output that holds the switches of tensor t is switches_of(t),
    that of what fired fired_of. beside: takes the large weights by name, of which the model then has name and shape
    alone.
    Raises UnsupportedModel where the weights are too large for one model that holds them.
    """
    # Switches are a layer's own, whoever made its value.
    known = {*net.starts} - {*switches}
    flagged = {tensor for tensor, _ in fired}
    layers = leading_to([layer for layer in net.layers if layer.output not in known], {*wanted, *switches, *flagged})
    size = sum(layer.parameters for layer in layers) * net.dtype.itemsize
    if size > MAX_BYTES and beside is None:
        raise UnsupportedModel(
            f"the network has {size:,} bytes of weights; only {MAX_BYTES:,} fit into one model for onnxruntime"
        )
    made, read = {layer.output for layer in layers}, {name for layer in layers for name in layer.inputs}
    element = helper.np_dtype_to_tensor_dtype(net.dtype)
    starts = [name for name in net.starts if name in {*wanted, *read} - made]
    outputs = [helper.make_tensor_value_info(t, element, ("N", *net.shapes[t])) for t in wanted if t not in net.starts]
    outputs += [
        helper.make_tensor_value_info(switches_of(t), TensorProto.INT64, ("N", *net.shapes[t])) for t in switches
    ]
    outputs += [
        helper.make_tensor_value_info(fired_of(one), TensorProto.BOOL, ("N", *net.shapes[one[0]])) for one in fired
    ]
    given = [helper.make_tensor_value_info(t, element, ("N", *net.shapes[t])) for t in starts]
    model = helper.make_model(
        helper.make_graph([], "canonical", given, outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    prefix = _prefix(net)
    for number, layer in enumerate(layers):
        # Into the model itself: a graph given to make_model would hold all weights twice.
        layer.emit(_Writer(model.graph, layer, f"{prefix}{number}", net.dtype, layer.output in switches, beside))
    emit_fired(model.graph, fired, np.zeros((), net.dtype), f"{prefix}:zero")
    return model


def switches_of(tensor: str) -> str:
    return f"{tensor}:switches"


def _prefix(net: LayerList) -> str:
    """What the names of weights begin with, and no tensor's name does."""
    prefix = "layer"
    while any(name.startswith(prefix) for name in net.shapes):
        prefix += "_"
    return prefix


@dataclass(frozen=True, eq=False)
class _Writer:
    """Takes one layer into a graph. switches: whether its switches are an output too."""

    graph: GraphProto
    layer: Layer
    prefix: str
    dtype: np.dtype[Any]
    switches: bool
    beside: dict[str, HostArray] | None

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        return self._constant(role, np.asarray(value).astype(self.dtype, copy=False))

    def whole(self, role: str, *values: int) -> str:
        return self._constant(role, np.array(values, np.int64))

    def inner(self, role: str) -> str:
        return f"{self.prefix}:{role}"

    def append(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._append(operator, inputs, [output], attributes)

    def several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self._append(operator, inputs, outputs, attributes)

    def node(self, operator: str, *constants: str, **attributes: Any) -> None:
        output = self.layer.output
        outputs = [output, switches_of(output)] if self.switches else [output]
        self._append(operator, [*self.layer.inputs, *constants], outputs, attributes)

    def _append(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]) -> None:
        # The output names the node: onnxruntime refuses two of one name, and the file's may repeat.
        self.graph.node.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    def _constant(self, role: str, value: HostArray) -> str:
        name, value = f"{self.prefix}:{role}", np.ascontiguousarray(value)
        if self.beside is None or value.dtype != self.dtype or value.size < LARGE:
            self.graph.initializer.append(numpy_helper.from_array(value, name))
            return name
        self.beside[name] = value
        self.graph.initializer.append(placeholder(name, value))
        return name


def placeholder(name: str, value: HostArray) -> TensorProto:
    """Name and shape of a weight that onnxruntime is handed beside the model."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    tensor = TensorProto(name=name, data_type=kind, dims=value.shape, data_location=TensorProto.EXTERNAL)
    # Any name will do: nothing is read from there.
    tensor.external_data.add(key="location", value=name)
    return tensor
