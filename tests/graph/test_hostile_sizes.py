"""Sizes out of all proportion are refused before anyone allocates them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

import mipin_ref as mr
from tests.graph.limited import in_little_memory
from tests.graph.sketch import Sketch, load_whole

HUGE = 1 << 40


def with_bias(sketch: Sketch, bias: str) -> ModelProto:
    return sketch.model(sketch.node("Gemm", "x", sketch.normal(4, 3), bias))


def constant_of_shape() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(sketch, sketch.node("ConstantOfShape", sketch.ints(HUGE)))


def expand() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(sketch, sketch.node("Expand", sketch.normal(3), sketch.ints(HUGE, 3)))


def range_() -> ModelProto:
    sketch = Sketch(4)
    whole = sketch.node("Range", *(sketch.const(np.array(v)) for v in (0, HUGE, 1)))
    return with_bias(sketch, sketch.node("Cast", whole, to=TensorProto.FLOAT))


def outer_product() -> ModelProto:
    sketch = Sketch(4)
    column, row = sketch.const(np.ones((1 << 20, 1))), sketch.const(np.ones((1, 1 << 20)))
    return with_bias(sketch, sketch.node("MatMul", column, row))


def gathered() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(
        sketch,
        sketch.node("Gather", sketch.const(np.ones((1, 1 << 20))), sketch.const(np.zeros(1 << 20, np.int32))),
    )


def reshape() -> ModelProto:
    sketch = Sketch(4)
    return sketch.model(sketch.node("Reshape", "x", sketch.ints(-1, HUGE)))


def conv_pads() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    return sketch.model(sketch.conv("x", 2, 2, pads=[HUGE, 0, HUGE, 0]), check=False)


def pad() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, HUGE, 0, 0, 0, HUGE, 0))
    return sketch.model(sketch.conv(padded, 2, 2, strides=[1 << 38, 1]), check=False)


def pool_window() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0], "dilations": [HUGE, 1]}
    return sketch.model(sketch.node("MaxPool", "x", **options), check=False)


def pool_padding() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0]}
    return sketch.model(sketch.node("MaxPool", "x", **options), check=False)


def average_window() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0], "count_include_pad": 1}
    return sketch.model(sketch.node("AveragePool", "x", **options), check=False)


def doubled() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    out = "x"
    for _ in range(40):
        out = sketch.node("Concat", out, out, axis=1)
    return sketch.model(out, check=False)


def parts() -> ModelProto:
    sketch = Sketch(8, opset=18)
    model = sketch.model(sketch.node("Split", "x", num_outputs=1, axis=1))
    next(a for a in model.graph.node[0].attribute if a.name == "num_outputs").i = 1 << 28
    return model


def claimed_initializer() -> ModelProto:
    sketch = Sketch(4)
    model = with_bias(sketch, sketch.normal(3))
    model.graph.initializer[1].ClearField("raw_data")
    model.graph.initializer[1].dims[:] = [HUGE]
    return model


def claimed_constant() -> ModelProto:
    sketch = Sketch(4)
    bias = sketch.node("Constant", value=TensorProto(data_type=TensorProto.FLOAT, dims=[HUGE]))
    return sketch.model(sketch.node("Gemm", "x", sketch.normal(4, 3), bias), check=False)


def input_size() -> ModelProto:
    return _relu(Sketch(HUGE, 4))


def _relu(sketch: Sketch) -> ModelProto:
    return sketch.model(sketch.node("Relu", "x"))


FOLDED = [constant_of_shape, expand, range_, outer_product, gathered]
ENORMOUS = [
    *FOLDED,
    reshape,
    conv_pads,
    pad,
    pool_window,
    pool_padding,
    average_window,
    doubled,
    parts,
    claimed_initializer,
    claimed_constant,
    input_size,
]


@pytest.mark.parametrize("make", ENORMOUS)
def test_enormous_sizes(make: Callable[[], ModelProto]) -> None:
    model = make()
    with in_little_memory(), pytest.raises(mr.MipinError) as caught:
        mr.load(model)
    assert "\n" not in str(caught.value)
    # Not left to the allocator, which refuses only what no machine has.
    assert make not in FOLDED or "asks for" in str(caught.value)


def test_many_constants_of_moderate_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where none is larger than what it is made of."""
    monkeypatch.setattr("mipin_ref.graph.limits.COMPUTED", 1 << 21)
    for joins in (False, True):
        sketch = Sketch(4)
        grown = sketch.node("ConstantOfShape", sketch.ints(1 << 16), out="grown")
        for number in range(20):
            name = f"grown{number}"
            grown = sketch.node("Concat", grown, out=name, axis=0) if joins else sketch.node("Neg", grown, out=name)
        bias = sketch.node("Mul", sketch.normal(3), sketch.node("ReduceSum", grown, keepdims=1))
        with pytest.raises(mr.UnsupportedModel, match=r"'the_grown\d+' \(asks for .* with all constants up to here"):
            load_whole(with_bias(sketch, bias))


def test_many_constants_that_fit() -> None:
    sketch = Sketch(4)
    bias = sketch.node("ConstantOfShape", sketch.ints(3))
    for _ in range(20):
        bias = sketch.node("Add", bias, sketch.normal(3))
    assert mr.load(with_bias(sketch, bias)).layers
