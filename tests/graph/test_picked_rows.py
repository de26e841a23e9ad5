"""Rows that are picked by a number of each sample, in the spellings of both of torch's exporters: a mask and a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.layers import Gate
from tests.graph.sketch import Sketch

ROWS, WIDTH, SAMPLES = 5, 4, 40
RNG = np.random.default_rng(6)
X = RNG.standard_normal((SAMPLES, ROWS, 3)).astype(np.float32)
LAST = RNG.integers(0, ROWS, SAMPLES)
MASK = np.eye(ROWS, dtype=np.float32)[LAST]


def flattened(sketch: Sketch, content: str, *, reshape: bool) -> str:
    """[N · T, C], and n · T + number."""
    count = sketch.node("Gather", sketch.node("Shape", content), sketch.const(np.int64(0)))
    places = sketch.node("Range", sketch.const(np.int64(0)), count, sketch.const(np.int64(1)))
    starts = sketch.node("Mul", places, sketch.const(np.int64(ROWS)))
    rows = sketch.node("Reshape", content, sketch.ints(-1, WIDTH)) if reshape else None
    rows = rows or sketch.node("Flatten", content, axis=2)
    return sketch.node("Gather", rows, sketch.node("Add", "last", starts), axis=0)


def in_pairs(sketch: Sketch, content: str) -> str:
    """By (n, number)."""
    count = sketch.node("Gather", sketch.node("Shape", content), sketch.const(np.int64(0)))
    places = sketch.node("Range", sketch.const(np.int64(0)), count, sketch.const(np.int64(1)))
    both = [sketch.node("Unsqueeze", one, sketch.ints(-1)) for one in (places, "last")]
    return sketch.node("GatherND", content, sketch.node("Concat", *both, axis=-1))


def by_elements(sketch: Sketch, content: str) -> str:
    """The number once for each feature."""
    index = sketch.node("Reshape", "last", sketch.ints(-1, 1, 1))
    wide = sketch.node("Expand", index, sketch.ints(1, 1, WIDTH))
    return sketch.node("Squeeze", sketch.node("GatherElements", content, wide, axis=1), sketch.ints(1))


SPELLINGS: dict[str, Any] = {
    "flattened": lambda s, content: flattened(s, content, reshape=False),
    "reshaped": lambda s, content: flattened(s, content, reshape=True),
    "in pairs": in_pairs,
    "by elements": by_elements,
}


def backwards(sketch: Sketch, content: str) -> str:
    """By (N - 1 - n, number)."""
    count = sketch.node("Gather", sketch.node("Shape", content), sketch.const(np.int64(0)))
    last, step = sketch.node("Sub", count, sketch.const(np.int64(1))), sketch.const(np.int64(-1))
    both = [sketch.node("Unsqueeze", one, sketch.ints(-1)) for one in (sketch.node("Range", last, step, step), "last")]
    return sketch.node("GatherND", content, sketch.node("Concat", *both, axis=-1))


def in_part(sketch: Sketch, content: str) -> str:
    """The first features of the row, and as many of the first row."""
    index = sketch.node("Expand", sketch.node("Reshape", "last", sketch.ints(-1, 1, 1)), sketch.ints(1, 1, WIDTH // 2))
    part = sketch.node("Squeeze", sketch.node("GatherElements", content, index, axis=1), sketch.ints(1))
    return sketch.node("Concat", part, part, axis=1)


OTHERS: dict[str, Any] = {"backwards": backwards, "in part": in_part}


def network(spelling: str | None) -> ModelProto:
    """Rows by a Dense of each, one of them picked, and a Dense; without a spelling a mask and a sum."""
    sketch = Sketch(ROWS, 3)
    weight, bias, end = sketch.normal(3, WIDTH), sketch.normal(WIDTH), (sketch.normal(WIDTH, 2), sketch.normal(2))
    rows = sketch.node("Tanh", sketch.node("Add", sketch.node("MatMul", "x", weight), bias), out="rows")
    if spelling is None:
        sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", ROWS]))
        kept = sketch.node("Mul", rows, sketch.node("Unsqueeze", "mask", sketch.ints(2)))
        picked = sketch.node("ReduceSum", kept, sketch.ints(1), keepdims=0)
    else:
        sketch.inputs.append(helper.make_tensor_value_info("last", TensorProto.INT64, ["N"]))
        picked = {**SPELLINGS, **OTHERS}[spelling](sketch, rows)
    return sketch.model(sketch.node("Gemm", picked, *end), check=False)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_signals_are_those_of_a_mask_and_a_sum(spelling: str) -> None:
    results = []
    for name, values in ((spelling, {"last": LAST}), (None, {"mask": MASK})):
        net = mr.load(network(name), input="x")
        assert not net.blocked
        assert [layer.inputs[0] for layer in net.layers if isinstance(layer, Gate)] == ["rows"]
        data = {"x": X, **values}
        results.append(mr.fit(net, data, 1).attribute(data))
    picked, masked = results
    np.testing.assert_allclose(picked.output, masked.output, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(picked.attribution, masked.attribution, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(picked.source, masked.source, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.abs(picked.attribution).max(axis=2) > 0, MASK == 1)


def test_a_number_that_is_a_constant_is_a_selection() -> None:
    """Which has an inverse of its own."""
    sketch = Sketch(ROWS, WIDTH, batch=1)
    index = sketch.node("Expand", sketch.const(np.full((1, 1, 1), 3)), sketch.ints(1, 1, WIDTH))
    picked = sketch.node("GatherElements", sketch.node("Relu", "x"), index, axis=1)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", picked), WIDTH, 2), check=False))
    assert not any(isinstance(layer, Gate) for layer in net.layers)


@pytest.mark.parametrize("spelling", OTHERS)
def test_what_is_no_row_of_each_sample_stays_as_it_is(spelling: str) -> None:
    net = mr.load(network(spelling), input="x")
    assert not any(isinstance(layer, Gate) for layer in net.layers)


@pytest.mark.parametrize("form", ["Gelu", "FusedMatMul", "SkipLayerNormalization"])
def test_rows_behind_an_operator_of_onnxruntime(form: str) -> None:
    """Whose shapes onnx does not infer, as in a file that onnxruntime has optimised."""
    sketch = Sketch(ROWS, 3)
    sketch.inputs.append(helper.make_tensor_value_info("last", TensorProto.INT64, ["N"]))
    own: dict[str, Any] = {"domain": "com.microsoft"}
    rows = sketch.node("MatMul", "x", sketch.normal(3, WIDTH))
    if form == "Gelu":
        rows = sketch.node("Gelu", rows, **own)
    elif form == "FusedMatMul":
        weights = sketch.node("Softmax", sketch.node("FusedMatMul", "x", "x", transB=1, alpha=0.5, **own), axis=-1)
        rows = sketch.node("MatMul", sketch.node("MatMul", weights, "x"), sketch.normal(3, WIDTH))
    else:
        rows = sketch.node("SkipLayerNormalization", rows, rows, sketch.normal(WIDTH), **own)
    picked = flattened(sketch, rows, reshape=False)
    net = mr.load(sketch.model(sketch.dense(picked, WIDTH, 2), check=False), input="x")
    assert not net.blocked
    assert any(isinstance(layer, Gate) for layer in net.layers)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE], ids=["float16", "double"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_rows_of_other_floats(spelling: str, kind: int) -> None:
    sketch = Sketch(ROWS, 3, dtype=kind)
    rows = sketch.node("Tanh", sketch.node("MatMul", "x", sketch.normal(3, WIDTH)), out="rows")
    sketch.inputs.append(helper.make_tensor_value_info("last", TensorProto.INT64, ["N"]))
    out = sketch.dense(SPELLINGS[spelling](sketch, rows), WIDTH, 2)
    net = mr.load(sketch.model(out, check=False), input="x")
    assert not net.blocked
    assert any(isinstance(layer, Gate) for layer in net.layers)
