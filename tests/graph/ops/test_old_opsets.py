"""Files of opset 7 and 8: what they write otherwise than later ones, as onnxruntime reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import Sketch, assert_keeps_values


def pooled(sketch: Sketch, source: str, channels: int) -> str:
    flat = sketch.node("Flatten", sketch.node("GlobalAveragePool", source))
    return sketch.dense(flat, channels, 3)


def by_place(sketch: Sketch) -> str:
    """A normalisation with numbers of its own for every place, which opset 9 gave up."""
    gamma, beta, mean, variance = (
        make(2, 3, 3) for make in (sketch.positive, sketch.normal, sketch.normal, sketch.positive)
    )
    scaled = sketch.node("BatchNormalization", sketch.node("Relu", "x"), gamma, beta, mean, variance, spatial=0)
    return pooled(sketch, sketch.node("Relu", scaled), 2)


def reshaped(sketch: Sketch) -> str:
    """To sizes of which the batch's is computed."""
    batch = sketch.node("Gather", sketch.node("Shape", "x"), sketch.const(np.array(0)))
    shape = sketch.node("Concat", sketch.node("Unsqueeze", batch, axes=[0]), sketch.ints(-1), axis=0)
    return sketch.dense(sketch.node("Reshape", sketch.node("Relu", "x"), shape), 18, 3)


FILES: dict[str, tuple[tuple[int, ...], Callable[[Sketch], str], list[str]]] = {
    "Upsample": (
        (2, 4, 4),
        lambda s: pooled(s, s.node("Upsample", s.conv("x", 2, 4), mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]), 4),
        ["Conv", "Resize"],
    ),
    "BatchNormalization": (
        (2, 3, 3),
        lambda s: pooled(s, s.node("Relu", s.batch_norm(s.node("Relu", "x"), 2, spatial=1)), 2),
        ["Activation", "Affine"],
    ),
    "BatchNormalization by place": ((2, 3, 3), by_place, ["Activation", "Affine"]),
    "Dropout": ((4,), lambda s: s.dense(s.node("Dropout", s.dense("x", 4, 5), ratio=0.5), 5, 3), ["Dense", "Dense"]),
    "Cast": ((4,), lambda s: s.dense(s.node("Cast", s.node("Cast", "x", to=10), to=1), 4, 3), ["Dense"]),
    "Reshape": ((2, 3, 3), reshaped, ["Activation", "Reshape", "Dense"]),
    "Softmax": ((4,), lambda s: s.node("Softmax", s.dense("x", 4, 5), axis=1), ["Dense"]),
    "Clip": (
        (4,),
        lambda s: s.dense(s.node("Clip", s.dense("x", 4, 5), min=0.0, max=1.0), 5, 3),
        ["Dense", "Activation"],
    ),
    "Sum": ((4,), lambda s: s.dense(s.node("Sum", s.node("Relu", "x"), s.node("Tanh", "x")), 4, 3), ["Activation"]),
    "Pad": (
        (2, 4, 4),
        lambda s: pooled(s, s.node("Pad", s.node("Relu", "x"), pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"), 2),
        ["Activation", "Gather"],
    ),
    "Slice": (
        (5,),
        lambda s: s.dense(s.node("Slice", s.node("Relu", "x"), starts=[1], ends=[4], axes=[1]), 3, 3),
        ["Activation", "Slice"],
    ),
    "Squeeze": (
        (2, 3, 3),
        lambda s: s.dense(s.node("Squeeze", s.node("GlobalAveragePool", s.node("Relu", "x")), axes=[2, 3]), 2, 3),
        ["Activation", "GlobalAveragePool"],
    ),
    "Gemm": ((4,), lambda s: s.node("Gemm", "x", s.normal(3, 4), s.normal(3), transB=1, alpha=0.5), ["Dense"]),
    "Tile": (
        (2, 3, 3),
        lambda s: pooled(s, s.node("Tile", s.node("Relu", "x"), s.ints(1, 1, 2, 2)), 2),
        ["Activation", "Gather"],
    ),
}


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize("name", FILES)
def test_operators(name: str, opset: int) -> None:
    shape, build, kinds = FILES[name]
    sketch = Sketch(*shape, opset=opset, ir=4)
    net = assert_keeps_values(sketch.model(build(sketch)), tolerance=1e-3 if name == "Cast" else 1e-5)
    assert [layer.kind for layer in net.layers][: len(kinds)] == kinds


def test_a_normalisation_by_place_with_numbers_a_channel_is_refused() -> None:
    sketch = Sketch(2, 3, 3, opset=8, ir=4)
    scaled = sketch.batch_norm("x", 2, spatial=0)
    with pytest.raises(mr.UnsupportedModel, match=r"do not fit \[N, 2, 3, 3\]"):
        mr.load(sketch.model(pooled(sketch, scaled, 2), check=False))


@pytest.mark.parametrize("to", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("opset", [13, 17])
def test_weights_of_another_precision(to: int, opset: int) -> None:
    """Stored in fewer or more bits, and cast when they are read."""
    from onnx import helper

    sketch = Sketch(4, opset=opset)
    values: Any = sketch.rng.standard_normal((4, 3)).astype(helper.tensor_dtype_to_np_dtype(to))
    sketch.initializers.append(numpy_helper.from_array(values, "w"))
    out = sketch.node("MatMul", "x", sketch.node("Cast", "w", to=TensorProto.FLOAT))
    net = assert_keeps_values(sketch.model(out))
    np.testing.assert_array_equal(net.layers[0].arrays["weight"], values.astype(np.float32))
