"""Small networks quantised by onnxruntime's own tools, and what their integers stand for, apart from the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from tests.graph.sketch import Array, Sketch, tensors_of

SAMPLES = 48
STEPS_OF_BYTE = 255
FORMATS = {"operators": QuantFormat.QOperator, "pairs": QuantFormat.QDQ}
TYPES = {"unsigned": QuantType.QUInt8, "signed": QuantType.QInt8}


@cache
def saturates() -> bool:
    """Whether onnxruntime's sums of eight-bit products overflow here, as on processors without VNNI.

    Where they do, weights have seven bits in tests: what a file of eight says is not what it computes.
    """
    sketch = Sketch(4, dtype=onnx.TensorProto.UINT8)
    model = sketch.model(sketch.node("MatMulInteger", "x", sketch.const(np.full((4, 1), 127, np.int8))))
    runtime = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = runtime.run(None, {"x": np.full((1, 4), 255, np.uint8)})
    return int(made[0, 0]) != 4 * 255 * 127


def weight_levels() -> int:
    """How many steps the range of a weight has."""
    return 127 if saturates() else STEPS_OF_BYTE


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: Array) -> None:
        self._batches: Iterator[dict[str, Array]] = iter([{"x": x}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def chain() -> ModelProto:
    """Conv, Relu, MaxPool, Conv, Relu, Gemm, Relu, Gemm."""
    sketch = Sketch(2, 8, 8)
    one = sketch.node("Relu", sketch.conv("x", 2, 4, pads=[1, 1, 1, 1]))
    pooled = sketch.node("MaxPool", one, kernel_shape=[2, 2], strides=[2, 2])
    two = sketch.node("Relu", sketch.conv(pooled, 4, 3))
    hidden = sketch.node("Relu", sketch.dense(sketch.node("Flatten", two), 12, 6))
    return sketch.model(sketch.dense(hidden, 6, 4))


def residual() -> ModelProto:
    """A shortcut around a convolution, a mean over the map, and a Softmax."""
    sketch = Sketch(3, 6, 6, seed=1)
    one = sketch.node("Relu", sketch.conv("x", 3, 5))
    two = sketch.node("Add", sketch.conv(one, 5, 5, pads=[1, 1, 1, 1]), one)
    mean = sketch.node("GlobalAveragePool", sketch.node("Relu", two))
    return sketch.model(sketch.node("Softmax", sketch.dense(sketch.node("Flatten", mean), 5, 3), axis=1))


def joined() -> ModelProto:
    """A depthwise convolution, Clip, LeakyRelu, two branches side by side, AveragePool."""
    sketch = Sketch(4, 6, 6, seed=2)
    deep = sketch.conv("x", 4, 4, group=4, pads=[1, 1, 1, 1])
    six = sketch.node("Clip", deep, sketch.const(0.0), sketch.const(6.0))
    # A slope as small as usual makes small numbers, of which many are rounded to zero.
    left = sketch.node("LeakyRelu", sketch.conv(six, 4, 2, (1, 1)), alpha=0.5)
    right = sketch.node("Sigmoid", sketch.conv(six, 4, 3, (1, 1)))
    both = sketch.node("Concat", left, right, axis=1)
    pooled = sketch.node("AveragePool", both, kernel_shape=[2, 2], strides=[2, 2])
    return sketch.model(sketch.dense(sketch.node("Flatten", pooled), 45, 3))


def tokens() -> ModelProto:
    """Products of [N, T, C] with matrices, a product by constants, and the mean of the tokens."""
    sketch = Sketch(4, 6, seed=3)
    one = sketch.node("Relu", sketch.node("MatMul", "x", sketch.normal(6, 5)))
    two = sketch.node("Mul", sketch.node("MatMul", one, sketch.normal(5, 6)), sketch.positive(6))
    both = sketch.node("Sigmoid", sketch.node("Add", two, sketch.normal(6)))
    return sketch.model(sketch.dense(sketch.node("ReduceMean", both, axes=[1], keepdims=0), 6, 3))


NETWORKS: dict[str, Callable[[], ModelProto]] = {
    "chain": chain,
    "residual": residual,
    "joined": joined,
    "tokens": tokens,
}


def samples(model: ModelProto, seed: int = 5, count: int = SAMPLES) -> Array:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def static(model: ModelProto, folder: Path, style: str, x: Array | None = None, **options: Any) -> ModelProto:
    """style: of FORMATS; x: what ranges are taken of."""
    source, made = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model, source)
    reader = _Reader(samples(model) if x is None else x)
    options = {"reduce_range": saturates(), **options}
    quantize_static(source, made, reader, quant_format=FORMATS[style], **options)
    return onnx.load(made)


def dynamic(model: ModelProto, folder: Path, **options: Any) -> ModelProto:
    source, made = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model, source)
    quantize_dynamic(source, made, **{"reduce_range": saturates(), **options})
    return onnx.load(made)


def dequantised_weights(model: ModelProto, name: str, scale: str, zero: str, axis: int) -> Array:
    """(integer - zero) · scale by hand."""
    known = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    integers, scales, zeros = (known[one].astype(np.float64) for one in (name, scale, zero))
    shape = [1] * integers.ndim
    if scales.size > 1:
        shape[axis] = -1
    return np.asarray(
        (integers - zeros.reshape(shape if zeros.size > 1 else ())) * scales.reshape(shape if scales.size > 1 else ())
    )


OUTPUT_STEPS = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7, "QLinearAdd": 6, "QLinearMul": 6}
OUTPUT_STEPS |= {"QLinearGlobalAveragePool": 3, "QLinearAveragePool": 3, "QLinearSigmoid": 3, "QLinearLeakyRelu": 3}
OUTPUT_STEPS |= {"QLinearSoftmax": 3, "QLinearConcat": 0}
"""Where an operator that makes integers holds the scale of its output, and behind it the zero point."""


def dequantised_values(model: ModelProto, x: Array) -> dict[str, Array]:
    """The values of every tensor of the file, integers as what they stand for.

    What a QuantizeLinear reads has the value that is left of it behind it.
    """
    open_ = ModelProto()
    open_.CopyFrom(model)
    steps: dict[str, tuple[str, str]] = {}
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        place = OUTPUT_STEPS.get(node.op_type)
        if place is not None:
            steps[node.output[0]] = node.input[place], node.input[place + 1]
        elif node.input and node.input[0] in steps and node.op_type != "DequantizeLinear":
            steps[node.output[0]] = steps[node.input[0]]
        if node.op_type == "QuantizeLinear":
            rounded.setdefault(node.input[0], node.output[0])
    domains = {node.domain for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for name, step in steps.items():
        added = helper.make_node("DequantizeLinear", [name, *step], [f"{name}?float"], domain=max({"", *domains}))
        open_.graph.node.append(added)
    values = tensors_of(open_, x)
    values.update({name: values[f"{name}?float"] for name in steps})
    for name, made in rounded.items():
        # Where a Relu was merged into the step, what it reads is left as it is.
        if name == "x" or name not in values or not (values[name].min() < 0 <= values[f"{made}?float"].min()):
            values[name] = values[f"{made}?float"]
    return values
