"""The folding of nodes whose inputs are all known, within what a model may ask for."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.computed import SIZES, computed
from mipin_ref.graph.draft import BATCH, Refused
from mipin_ref.graph.limits import CONSTANT, Spent, TooLarge
from mipin_ref.graph.node import Node
from mipin_ref.graph.quantised import check_steps
from mipin_ref.layers import HostArray

BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Where", "Expand"}
BROADCASTING |= {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Mod"}

HANDING_ON = {"Constant", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split"}
"""What makes no more values than it is given, and mostly shares them."""

FOLDABLE = BROADCASTING | HANDING_ON | {"ConstantOfShape", "Cast", "Shape", "Size", "Range", "MatMul", "Gemm"}
FOLDABLE |= {"Gather", "Concat", "Neg", "Sqrt", "Reciprocal", "Exp", "Log", "Abs", "Floor", "Ceil", "Not"}
FOLDABLE |= {
    "Trilu",
    "ScatterND",
    "GatherND",
    "GatherElements",
    "Relu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "Sign",
    "Sin",
    "Cos",
}
FOLDABLE |= {"ReduceProd", "ReduceSum", "ReduceMean", "ReduceL2", "QuantizeLinear", "DequantizeLinear", *SIZES}
"""What exporters leave to be computed of shapes and weights."""

SIZED_BY_VALUE = {"ConstantOfShape": (0,), "Expand": (1,), "Range": (0, 1, 2), "Tile": (1,), "Resize": (3,)}
"""Inputs whose values say how many elements there will be."""

SLOW = 64
"""How much longer NumPy takes for a multiplication in a type for which it has no BLAS."""

ELEMENT = 4
"""Multiplications of a product that take as long as an element of anything else."""


def fold(node: Node, inputs: list[HostArray | None], opset: int, spent: Spent) -> list[HostArray]:
    """The outputs of a node whose inputs are known, by the operator's reference implementation.

    inputs: one array an input, None where it is left out. Raises TooLarge before anything large is allocated, Refused
    where it cannot be computed.
    """
    try:
        _check_values(node, inputs)
        _spend(node, inputs, spent)
        values = _evaluated(node, inputs, opset)
        for value in values:
            if not any(np.may_share_memory(value, given) for given in inputs if given is not None):
                # The file holds what a Constant says, and that was counted.
                spent.compute(0 if node.op == "Constant" else value.nbytes)
    except (Refused, TooLarge):
        raise
    except UnsupportedModel as error:
        raise Refused(f"a constant that cannot be computed: {error}") from error
    except Exception as error:  # Reference implementations raise what comes.
        raise Refused(f"a constant that cannot be computed: {type(error).__name__}") from error
    return values


def _evaluated(node: Node, inputs: list[HostArray | None], opset: int) -> list[HostArray]:
    if node.op == "GatherElements" and inputs[0] is not None and inputs[1] is not None:
        return [_elements(inputs[0], inputs[1], int(node.attributes.get("axis", 0)))]
    if node.op in SIZES:
        return computed(node, inputs, opset)
    given = {name: value for name, value in zip(node.inputs, inputs, strict=True) if value is not None}
    graph = helper.make_graph(
        [node.proto],
        "constant",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.outputs],
    )
    # onnx computes these two from opset 19 on; what they mean is older.
    opset = max(opset, 21) if node.op in ("QuantizeLinear", "DequantizeLinear") else opset
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    values = [np.asarray(out) for out in ReferenceEvaluator(model).run(None, given)]
    if len(values) != len(node.outputs) or any(value.dtype == object for value in values):
        raise Refused("a constant that is no array of numbers")
    return values


def _elements(values: HostArray, places: HostArray, axis: int) -> HostArray:
    """What GatherElements picks: onnx's own takes no more than 64 to choose from."""
    axis %= values.ndim
    along = [slice(None) if a == axis else slice(length) for a, length in enumerate(places.shape)]
    picked: HostArray = np.take_along_axis(values[tuple(along)], places, axis)
    return picked


def _check_values(node: Node, inputs: list[HostArray | None]) -> None:
    if any(value is not None and value.dtype.kind not in "biufV" for value in inputs):
        raise Refused("it computes with text")
    if node.op == "Constant" and "sparse_value" in node.attributes:
        raise Refused("its value is sparse")
    if node.op == "Cast" and node.attributes.get("to") == TensorProto.STRING:
        raise Refused("it casts numbers to text")
    if node.op in ("QuantizeLinear", "DequantizeLinear") and len(inputs) > 1 and inputs[1] is not None:
        check_steps(inputs[1], inputs[2] if len(inputs) > 2 else None)
    for place in SIZED_BY_VALUE.get(node.op, ()):
        value = inputs[place] if place < len(inputs) else None
        if value is not None and value.dtype.kind in "iu" and np.any((value != 0) & (value % BATCH == 0)):
            raise Refused("it makes as many values as the batch has samples")


def _spend(node: Node, inputs: list[HostArray | None], spent: Spent) -> None:
    """Raises TooLarge where the result, or the time that it takes, is out of proportion."""
    known = [value for value in inputs if value is not None]
    size = SIZES[node.op](node, inputs) if node.op in SIZES else _result_size(node, known)
    if size > CONSTANT:
        raise TooLarge(f"asks for {size} elements")
    if node.op in ("MatMul", "Gemm") and len(known) >= 2:
        slow = 1 if all(value.dtype in (np.float32, np.float64) for value in known) else SLOW
        summed = 0 if node.attributes.get("transA", 0) else -1
        spent.multiply(slow * size * (known[0].shape[summed] if known[0].ndim else 1))
    spent.multiply(ELEMENT * size * max(1, len(known)))
    if node.op not in HANDING_ON:
        spent.check_compute(size * _itemsize(node, known))


def _itemsize(node: Node, known: list[HostArray]) -> int:
    """Bytes of an element of the result, at most."""
    if node.op == "ConstantOfShape":
        told = [attribute.t.data_type for attribute in node.proto.attribute if attribute.name == "value"]
        return int(helper.tensor_dtype_to_np_dtype(told[0] if told else TensorProto.FLOAT).itemsize)
    if node.op == "Cast":
        return int(helper.tensor_dtype_to_np_dtype(node.attributes["to"]).itemsize)
    return max((value.dtype.itemsize for value in known), default=8)


def _result_size(node: Node, known: list[HostArray]) -> int:
    """Elements of the result, an upper bound where it is cheap to have one. Raises ValueError where inputs misfit."""
    if node.op == "ConstantOfShape" and known:
        return prod(int(d) for d in known[0].ravel())
    if node.op == "Expand" and len(known) == 2:
        given, wanted = known[0].shape, [int(d) for d in known[1].ravel()]
        widest = max(len(given), len(wanted))
        left = [1] * (widest - len(given)) + list(given)
        right = [1] * (widest - len(wanted)) + wanted
        return prod(max(a, b) for a, b in zip(left, right, strict=True))
    if node.op == "Range" and len(known) == 3:
        start, limit, step = (float(v.item()) for v in known)
        return int(abs(limit - start) / abs(step)) + 1
    if node.op == "Gather" and len(known) == 2:
        length = int(known[0].shape[int(node.attributes.get("axis", 0))])
        return int(known[1].size) * (int(known[0].size) // max(length, 1))
    if node.op == "GatherND" and len(known) == 2:
        fixed = int(node.attributes.get("batch_dims", 0)) + int(known[1].shape[-1])
        return prod(known[1].shape[:-1]) * prod(known[0].shape[fixed:])
    if node.op == "GatherElements" and len(known) == 2:
        return int(known[1].size)
    if node.op == "MatMul" and len(known) == 2:
        rows, columns = int(known[0].size) // max(int(known[0].shape[-1]), 1), known[1].shape[1:][-1:]
        return int(rows * prod(known[1].shape[:-2]) * prod(columns))
    if node.op == "Gemm" and len(known) > 1:
        rows = known[0].shape[1 if node.attributes.get("transA", 0) else 0]
        return int(rows * known[1].shape[0 if node.attributes.get("transB", 0) else 1])
    if len(known) > 1 and node.op in BROADCASTING:
        return prod(np.broadcast_shapes(*(v.shape for v in known)))
    return sum(int(v.size) for v in known)
