"""The networks of spec.py as ONNX files, and onnxruntime's values of all their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Reshape,
    Shape,
    Transpose,
    Window,
    input_name,
    output_name,
    tensor_shapes,
)


def _attributes(geometry: Window) -> dict[str, Shape]:
    return {
        "kernel_shape": geometry.kernel,
        "strides": geometry.strides,
        "pads": geometry.begins + geometry.ends,
    }


def _node(op: Op, constants: dict[str, npt.NDArray[np.generic]]) -> onnx.NodeProto:
    """The op's node; its initializers are added to constants."""

    def constant(suffix: str, value: npt.NDArray[np.generic]) -> str:
        name = f"{op.output}.{suffix}"
        constants[name] = value
        return name

    def weight(suffix: str, value: npt.ArrayLike) -> str:
        return constant(suffix, np.asarray(value, dtype=np.float32))

    inputs = list(op.inputs)
    kind: str = type(op).__name__
    attributes: dict[str, Any] = {}
    match op:
        case Conv():
            attributes = {**_attributes(op.window), "dilations": op.window.dilations, "group": op.groups}
            inputs.append(weight("weight", op.weight))
            if op.bias is not None:
                inputs.append(weight("bias", op.bias))
        case Dense():
            kind = "MatMul" if op.bias is None else "Gemm"
            inputs.append(weight("weight", op.weight))
            if op.bias is not None:
                inputs.append(weight("bias", op.bias))
        case MaxPool():
            attributes = {
                **_attributes(op.window),
                "dilations": op.window.dilations,
                "ceil_mode": int(op.ceil_mode),
            }
        case AveragePool():
            attributes = {
                **_attributes(op.window),
                "ceil_mode": int(op.ceil_mode),
                "count_include_pad": int(op.count_include_pad),
            }
        case Activation():
            kind = op.kind
            if op.alpha is not None:
                attributes = {"alpha": op.alpha}
            if op.kind == "Clip":
                inputs += [weight("low", op.low), weight("high", op.high)]
        case Reshape():
            if len(op.shape) == 1:
                kind, attributes = "Flatten", {"axis": 1}
            else:
                inputs.append(constant("shape", np.asarray([0, *op.shape], dtype=np.int64)))
        case Transpose():
            attributes = {"perm": op.perm}
        case Concat():
            attributes = {"axis": op.axis}
        case Add():
            kind = "Add" if len(inputs) == 2 else "Sum"
        case ChannelAffine():
            # BatchNormalization with mean 0 and variance 1 is exactly scale · x + shift.
            kind, attributes = "BatchNormalization", {"epsilon": 0.0}
            zeros = np.zeros(len(op.scale))
            inputs += [weight("scale", op.scale), weight("shift", op.shift)]
            inputs += [weight("mean", zeros), weight("variance", zeros + 1)]
        case GlobalAveragePool():
            pass
    return helper.make_node(kind, inputs, [op.output], name=op.output, **attributes)


def to_onnx(
    ops: Sequence[Op],
    input_shape: Shape,
    *,
    opset: int = 17,
    fixed_batch: bool = False,
    all_outputs: bool = False,
) -> onnx.ModelProto:
    """The network as a float32 ONNX model, tensor names kept.

    input_shape: per sample; opset: >= 14; fixed_batch: the batch axis is 1 in place of a symbol; all_outputs: every
    tensor is a graph output, the network's own output first.
    """
    shapes = tensor_shapes(ops, input_shape)
    batch: int | str = 1 if fixed_batch else "N"

    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shapes[name]])

    source, output = input_name(ops), output_name(ops)
    constants: dict[str, npt.NDArray[np.generic]] = {}
    nodes = [_node(op, constants) for op in ops]
    outputs = [output, *(op.output for op in ops if all_outputs and op.output != output)]
    graph = helper.make_graph(
        nodes,
        "network",
        [info(source)],
        [info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def onnx_values(ops: Sequence[Op], x: npt.ArrayLike) -> dict[str, Array]:
    """onnxruntime's float32 value of every tensor, unoptimised graph, cast to float64: `values` of the oracle.

    x: [N, *input].
    """
    data = np.asarray(x, dtype=np.float32)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = to_onnx(ops, data.shape[1:], all_outputs=True)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    results: Mapping[str, Array] = dict(
        zip(names, session.run(names, {input_name(ops): data}), strict=True),
    )
    return {name: np.asarray(value, dtype=np.float64) for name, value in {input_name(ops): data, **results}.items()}
