"""What stands for a token in curves and baselines: an id that the table holds, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from scipy.special import softmax

import mipin_ref as mr
from mipin_ref.panel.fallback import open_any
from tests.graph.sketch import Sketch

ROWS, WIDTH, TOKENS = 9, 4, 5
IDS = np.array([[3, 0, 6, 2, 5], [1, 1, 4, 6, 0]])
MAPS = np.array([[0.4, -1.0, 2.0, 0.1, 0.3], [1.0, 3.0, -2.0, 0.5, 0.2]])
KINDS = ("table", "constant", "handed on", "floats", "two tables", "clipped", "numbers")


def reading(kind: str) -> ModelProto:
    """The mean of the rows of tokens, behind it a dense layer; kind: how ids get to their table."""
    sketch = Sketch(TOKENS, seed=1)
    if kind != "floats":
        sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", TOKENS])]
    table, ids = sketch.normal(ROWS, WIDTH), "x"
    if kind == "constant":
        value = np.random.default_rng(2).standard_normal((ROWS, WIDTH)).astype(np.float32)
        table = sketch.node("Constant", value=numpy_helper.from_array(value))
    elif kind == "handed on":
        table = sketch.node("Identity", sketch.node("Identity", table))
    elif kind == "floats":
        ids = sketch.node("Cast", "x", to=TensorProto.INT64)
    elif kind == "clipped":
        ids = sketch.node("Clip", "x", sketch.const(np.int64(0)), sketch.const(np.int64(ROWS - 1)))
    if kind == "numbers":
        rows = sketch.node("Cast", "x", to=TensorProto.FLOAT, out="rows")
        return sketch.model(sketch.node("MatMul", rows, sketch.normal(TOKENS, 3)))
    rows = sketch.node("Gather", table, ids, out="rows")
    if kind == "two tables":
        other = sketch.node("Gather", sketch.normal(ROWS + 3, WIDTH), sketch.node("Identity", ids))
        rows = sketch.node("Add", rows, other)
    mean = sketch.node("ReduceMean", rows, axes=[1], keepdims=0)
    return sketch.model(sketch.node("MatMul", mean, sketch.normal(WIDTH, 3)))


@cache
def opened(kind: str) -> Any:
    return open_any(reading(kind))


def given(kind: str) -> Any:
    return IDS.astype(np.float32) if kind == "floats" else IDS


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_the_table_take_the_place_of_tokens(kind: str) -> None:
    net, x = opened(kind), given(kind)
    runtime = ort.InferenceSession(reading(kind).SerializeToString(), providers=["CPUExecutionProvider"])
    for fill in (0, ROWS - 1, np.int64(2), 4.0):
        gone = mr.metrics.deletion(net, x, MAPS, [0, 2], fill=fill)
        back = mr.metrics.insertion(net, x, MAPS, [0, 2], fill=fill)
        for row, (own, order) in enumerate(zip(x, np.argsort(-MAPS, axis=1, kind="stable"), strict=True)):
            for count in range(TOKENS + 1):
                first = np.isin(np.arange(TOKENS), order[:count])
                for curve, place in ((gone, first), (back, ~first)):
                    (scores,) = runtime.run(None, {"x": np.where(place, fill, own)[None].astype(x.dtype)})
                    wanted = softmax(scores[0].astype(np.float64))[[0, 2][row]]
                    assert curve.scores[row, count] == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [-1, ROWS, 1.5, 1e30, "blur"])
def test_anything_else_is_refused_with_the_range(kind: str, fill: Any) -> None:
    net, x = opened(kind), given(kind)
    refused = f"must be an id of the table, from 0 to {ROWS - 1}, not {fill!r}"
    if kind in ("clipped", "numbers"):
        if fill in (-1, ROWS):
            # All integers are read here.
            assert mr.metrics.deletion(net, x, MAPS, 0, fill=fill).scores.shape == (2, TOKENS + 1)
            return
        refused = f"must be integers (int64), which the network reads, not {fill!r}" if fill != "blur" else "a number"
    for measure in (mr.metrics.deletion, mr.metrics.insertion):
        with pytest.raises(mr.InvalidData) as caught:
            measure(net, x, MAPS, 0, fill=fill)
        assert str(caught.value).startswith(f"{measure.__name__}: fill ")
        assert refused in str(caught.value)
    if fill != "blur":
        with pytest.raises(mr.InvalidData) as caught:
            mr.attribute(net, x, 0, "occlusion", baseline=fill)
        assert str(caught.value) == f"baseline {refused}"


def test_the_id_is_named_where_nothing_is_said() -> None:
    """Insertion of images begins blurred, which ids have no meaning for."""
    with pytest.raises(mr.InvalidData, match="fill must be an id of the table, from 0 to 8, not 'blur'"):
        mr.metrics.insertion(opened("table"), IDS, MAPS, 0)
