"""The networks of spec.py as ONNX files, and onnxruntime's values of all their tensors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from tests.oracles.export_recurrent import recurrent_nodes
from tests.oracles.spec import (
    GRU,
    LRN,
    LSTM,
    Activation,
    Add,
    Array,
    Attention,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Difference,
    Extremum,
    Gate,
    Gather,
    GlobalAveragePool,
    MaxPool,
    Negative,
    Norm,
    Op,
    Pad,
    Part,
    Reduce,
    Reshape,
    Resize,
    Scores,
    Shape,
    Slice,
    SoftmaxWeights,
    TokenDense,
    Transpose,
    Where,
    Window,
    Written,
    aligned,
    input_name,
    output_name,
    tensor_shapes,
)
from tests.oracles.spellings import SPELLINGS


def _attributes(geometry: Window) -> dict[str, Shape]:
    return {
        "kernel_shape": geometry.kernel,
        "strides": geometry.strides,
        "pads": geometry.begins + geometry.ends,
    }


def _nodes(op: Op, shape: Shape, constants: dict[str, npt.NDArray[np.generic]]) -> list[onnx.NodeProto]:
    """The op's nodes; their initializers are added to constants. shape: the output's, per sample."""

    def constant(suffix: str, value: npt.NDArray[np.generic]) -> str:
        name = f"{op.output}.{suffix}"
        constants[name] = value
        return name

    def weight(suffix: str, value: npt.ArrayLike) -> str:
        return constant(suffix, np.asarray(value, dtype=np.float32))

    inputs = list(op.inputs)
    kind: str = type(op).__name__
    attributes: dict[str, Any] = {}
    if op.inputs[0].endswith(":steps"):
        return []  # Written with the LSTM or GRU whose output this is a part of.
    match op:
        case LSTM() | GRU():
            return recurrent_nodes(op, shape[0] - op.last, constant, weight)
        case Conv():
            attributes = {**_attributes(op.window), "dilations": op.window.dilations, "group": op.groups}
            inputs.append(weight("weight", op.weight))
            if op.bias is not None:
                inputs.append(weight("bias", op.bias))
        case ConvTranspose():
            attributes = {**_attributes(op.window), "dilations": op.window.dilations, "group": op.groups}
            if op.more:
                attributes["output_padding"] = op.more
            inputs.append(weight("weight", op.weight))
            if op.bias is not None:
                inputs.append(weight("bias", op.bias))
        case Resize():
            attributes = {"mode": op.mode, "coordinate_transformation_mode": op.coordinates}
            attributes["nearest_mode"] = op.rounding
            whole, batch = f"{op.output}.whole", f"{op.output}.batch"
            sizes = f"{op.output}.sizes"
            return [
                helper.make_node("Shape", inputs, [whole]),
                helper.make_node("Gather", [whole, constant("first", np.asarray([0]))], [batch]),
                helper.make_node("Concat", [batch, constant("rest", np.asarray(shape))], [sizes], axis=0),
                helper.make_node(kind, [*inputs, "", "", sizes], [op.output], name=op.output, **attributes),
            ]
        case Gather():
            chosen = [axis for axis, pick in enumerate(op.picks) if pick is not None]
            nodes = []
            for axis in chosen:
                output = op.output if axis == chosen[-1] else f"{op.output}.{axis}"
                index = constant(f"index{axis}", np.asarray(op.picks[axis], dtype=np.int64))
                nodes.append(helper.make_node(kind, [inputs[0], index], [output], name=output, axis=axis + 1))
                inputs = [output]
            return nodes
        case Where():
            other = inputs[1] if len(inputs) > 1 else weight("fill", op.fill)
            inputs = [constant("mask", op.mask[None]), inputs[0], other]
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
            if any(d != 1 for d in op.dilations):
                attributes["dilations"] = op.dilations
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
        case LRN():
            attributes = {"size": op.size, "alpha": op.alpha, "beta": op.beta, "bias": op.bias}
        case Slice():
            axes = np.arange(1, len(op.begin) + 1, dtype=np.int64)
            inputs += [constant("begin", np.asarray(op.begin)), constant("end", np.asarray(op.end))]
            inputs.append(constant("axes", axes))
        case Pad():
            inputs += [constant("pads", np.asarray([0, *op.begin, 0, *op.end])), weight("value", op.value)]
        case ChannelAffine():
            if op.scale.ndim == op.shift.ndim == 1:
                # BatchNormalization with mean 0 and variance 1 is exactly scale · x + shift.
                kind, attributes = "BatchNormalization", {"epsilon": 0.0}
                zeros = np.zeros(len(op.scale))
                inputs += [weight("scale", op.scale), weight("shift", op.shift)]
                inputs += [weight("mean", zeros), weight("variance", zeros + 1)]
            else:
                scaled = f"{op.output}.scaled"
                first = helper.make_node("Mul", [*inputs, weight("scale", aligned(op.scale, shape))], [scaled])
                inputs, kind = [scaled, weight("shift", aligned(op.shift, shape))], "Add"
                return [first, helper.make_node(kind, inputs, [op.output], name=op.output)]
        case TokenDense():
            rank = len(shape)
            product = f"{op.output}.product"
            operands = [inputs[0], weight("weight", op.weight)]
            if op.axis == rank - 1:
                operands = [weight("transposed", op.weight.T), inputs[0]]
            elif op.axis < rank:
                raise ValueError("a product along an axis in front of the last two")
            bias = weight("bias", op.bias.reshape(-1, *(1,) * (rank - op.axis)))
            return [
                helper.make_node("MatMul", operands, [product], name=product),
                helper.make_node("Add", [product, bias], [op.output], name=op.output),
            ]
        case Norm():
            return _norm_nodes(op, shape, constant, weight)
        case Reduce():
            # ReduceSum takes its axes as an input since opset 13, ReduceMean since 18.
            kind, attributes = "ReduceMean", {"axes": op.axes, "keepdims": 1}
            if op.total:
                kind, attributes = "ReduceSum", {"keepdims": 1}
                inputs.append(constant("axes", np.asarray(op.axes, dtype=np.int64)))
        case Gate():
            kind = op.function
            inputs = inputs[::-1] if op.swapped else inputs
        case Attention():
            return _attention_nodes(op, shape, constant)
        case SoftmaxWeights():
            kind, attributes = "Softmax", {"axis": op.axis}
        case Scores():
            kind = "MatMul"
        case Extremum():
            kind = op.function
        case Negative():
            kind = "Neg"
        case Difference():
            kind = "Sub"
        case Written():
            return _written(op, constant)
        case Part():
            raise TypeError(f"{op.output!r} stands for several ops")
        case GlobalAveragePool():
            pass
    return [helper.make_node(kind, inputs, [op.output], name=op.output, **attributes)]


def _attention_nodes(op: Attention, shape: Shape, constant: Any) -> list[onnx.NodeProto]:
    """The product of one head, or of several between the moves that take them apart and put them together."""
    content, weights = op.inputs
    if op.heads == 1 and len(shape) == 2:
        flat = f"{op.output}.flat"
        one = constant("one", np.asarray([1], dtype=np.int64))
        return [
            helper.make_node("Squeeze", [weights, one], [flat], name=flat),
            helper.make_node("MatMul", [flat, content], [op.output], name=op.output),
        ]
    nodes, rank = list[onnx.NodeProto](), len(shape) + 2
    perm = (*range(rank - 3), rank - 2, rank - 3, rank - 1)

    def node(kind: str, suffix: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.output}.{suffix}" if suffix else op.output
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    parts = np.asarray([0] * (rank - 2) + [op.heads, shape[-1] // op.heads], dtype=np.int64)
    parted = node("Reshape", "parted", content, constant("parts", parts))
    mixed = node("MatMul", "mixed", weights, node("Transpose", "apart", parted, perm=perm))
    turned = node("Transpose", "turned", mixed, perm=perm)
    node("Reshape", "", turned, constant("joined", np.asarray([0] * (rank - 2) + [-1], dtype=np.int64)))
    return nodes


def _norm_nodes(op: Norm, shape: Shape, constant: Any, weight: Any) -> list[onnx.NodeProto]:
    """Written out as torch's exporter does; in groups with a Reshape on either side."""
    nodes: list[onnx.NodeProto] = []

    def node(kind: str, suffix: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.output}.{suffix}" if suffix else op.output
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    x, axes = op.inputs[0], list(op.axes)
    if op.groups:
        x, axes = node("Reshape", "grouped", x, constant("groups", np.asarray([0, op.groups, -1]))), [2]
    z = node("Sub", "centred", x, node("ReduceMean", "mean", x, axes=axes, keepdims=1)) if op.centred else x
    square = node("Pow", "square", z, weight("two", 2.0))
    variance = node("ReduceMean", "variance", square, axes=axes, keepdims=1)
    root = node("Sqrt", "root", node("Add", "lifted", variance, weight("epsilon", op.epsilon)))
    normed = node("Div", "normed", z, root)
    if op.groups:
        normed = node("Reshape", "ungrouped", normed, constant("shape", np.asarray([0, *shape])))
    scaled = node("Mul", "scaled", normed, weight("scale", op.scale))
    node("Add", "", scaled, weight("shift", op.shift))
    return nodes


def _written(op: Written, constant: Callable[[str, npt.NDArray[np.generic]], str]) -> list[onnx.NodeProto]:
    nodes = SPELLINGS[op.spelling].nodes
    names = [*(f"{op.output}.{number}" for number in range(len(nodes) - 1)), op.output]
    made = []
    for node, output in zip(nodes, names, strict=True):
        inputs = []
        for place, operand in enumerate(node.operands):
            if operand == "x":
                inputs.append(op.inputs[0])
            elif isinstance(operand, int):
                inputs.append(names[operand])
            else:
                inputs.append(constant(f"{output}.{place}", np.array(operand, np.float32)))
        made.append(helper.make_node(node.operator, inputs, [output], name=output, **node.attributes))
    return made


def tiled_axis(group: Sequence[Slice], shape: Shape) -> int | None:
    """The axis of a batched tensor, of per-sample shape `shape`, that two or more Slices cut without gap or overlap."""
    for axis, length in enumerate(shape):
        bounds = [0, *sorted(part.end[axis] for part in group)]
        tiles = [
            (*((0, n) for n in shape[:axis]), tile, *((0, n) for n in shape[axis + 1 :]))
            for tile in itertools.pairwise(bounds)
        ]
        boxes = sorted(tuple(zip(part.begin, part.end, strict=True)) for part in group)
        if len(group) > 1 and bounds[-1] == length and boxes == tiles:
            return axis + 1
    return None


def _split(group: Sequence[Slice], axis: int, constants: dict[str, npt.NDArray[np.generic]]) -> onnx.NodeProto:
    parts = sorted(group, key=lambda part: part.begin[axis - 1])
    lengths = f"{parts[0].output}.lengths"
    constants[lengths] = np.asarray([part.end[axis - 1] - part.begin[axis - 1] for part in parts])
    outputs = [part.output for part in parts]
    return helper.make_node("Split", [parts[0].inputs[0], lengths], outputs, name=outputs[0], axis=axis)


def to_onnx(
    ops: Sequence[Op],
    input_shape: Shape,
    *,
    opset: int = 17,
    fixed_batch: bool = False,
    all_outputs: bool = False,
    split: bool = False,
) -> onnx.ModelProto:
    """The network as a float32 ONNX model, tensor names kept.

    input_shape: per sample; opset: >= 14, with dilated AveragePools >= 19; fixed_batch: the batch axis is 1 in place of
    a symbol; all_outputs: every tensor is a graph output, the network's own output first; split: Slices of one tensor
    that together tile one of its axes become a Split.
    """
    shapes = tensor_shapes(ops, input_shape)
    batch: int | str = 1 if fixed_batch else "N"

    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shapes[name]])

    source, output = input_name(ops), output_name(ops)
    constants: dict[str, npt.NDArray[np.generic]] = {}
    nodes: list[onnx.NodeProto] = []
    written: set[str] = set()
    for op in ops:
        if op.output in written:
            continue
        group = [other for other in ops if isinstance(other, Slice) and other.inputs == op.inputs]
        axis = tiled_axis(group, shapes[op.inputs[0]]) if split and op in group else None
        if axis is None:
            nodes += _nodes(op, shapes[op.output], constants)
        else:
            nodes.append(_split(group, axis, constants))
            written.update(other.output for other in group)
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


def onnx_values(ops: Sequence[Op], x: npt.ArrayLike, *, opset: int = 20, split: bool = False) -> dict[str, Array]:
    """onnxruntime's float32 value of every tensor, unoptimised graph, cast to float64: `values` of the oracle.

    x: [N, *input]; opset, split: see to_onnx. onnxruntime's AveragePool of opset 19 and later rounds differently from
    the older one: values are equal to the last bit only at opsets on one side of it.
    """
    data = np.asarray(x, dtype=np.float32)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = to_onnx(ops, data.shape[1:], opset=opset, all_outputs=True, split=split)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    results: Mapping[str, Array] = dict(
        zip(names, session.run(names, {input_name(ops): data}), strict=True),
    )
    return {name: np.asarray(value, dtype=np.float64) for name, value in {input_name(ops): data, **results}.items()}
