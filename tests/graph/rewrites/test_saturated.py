"""Heads far from zero: the logits and their gradients are there, and a mistake in them is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.graph.verify import verify
from mipin_ref.layers import Dense
from tests.graph.rewrites.ended import Ended, X, run
from tests.graph.sketch import Sketch


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax"])
@pytest.mark.parametrize("tail", [(), ("Log",)])
def test_probabilities_in_half_precision(op: str, tail: tuple[str, ...]) -> None:
    """The probabilities are as coarse as the file writes them, the logits before them are not."""
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    half = sketch.node("Cast", ended.behind(sketch.node(op, ended.logits[0]), *tail), to=TensorProto.FLOAT16)
    for model in (sketch.model(half), sketch.model(sketch.node("Cast", half, to=TensorProto.FLOAT))):
        net = mr.load(model)
        assert net.head == op.lower()
        np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)
        wrong = [
            replace(layer, weight=layer.weight * np.float32(1.001)) if isinstance(layer, Dense) else layer
            for layer in net.layers
        ]
        with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
            verify(replace(net, layers=tuple(wrong)), model, half={half, "cast"})


@pytest.mark.parametrize("tail", [(), ("Clip",), ("Log",)])
@pytest.mark.parametrize("parts", [(3,), (1, 2)])
def test_a_wrong_weight_behind_a_saturated_sigmoid_is_seen(tail: tuple[str, ...], parts: tuple[int, ...]) -> None:
    sketch = Sketch(4)
    ends = [
        sketch.node("Sigmoid", sketch.node("MatMul", "x", sketch.const(1000 * sketch.rng.standard_normal((4, n)))))
        for n in parts
    ]
    out = ends[0] if len(ends) == 1 else sketch.node("Concat", *ends, axis=1)
    for op in tail:
        bounds = [sketch.const(1e-6), sketch.const(1.0)] if op == "Clip" else []
        out = sketch.node(op, out, *bounds)
    model = sketch.model(out)
    net = mr.load(model)
    assert verify(net, model) < 1e-5
    wrong = [
        replace(layer, weight=layer.weight * np.float32(1.01)) if isinstance(layer, Dense) else layer
        for layer in net.layers
    ]
    with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
        verify(replace(net, layers=tuple(wrong)), model)


def test_saturated_logits_have_gradients_and_probabilities() -> None:
    sketch = Sketch(4)
    weight = np.array([[60.0], [0], [0], [0]])
    z = sketch.node("MatMul", "x", sketch.const(weight))
    net = mr.load(sketch.model(sketch.node("Sigmoid", z)))
    x = np.eye(4, dtype=np.float32)[:1]
    for sign in (1, -1):
        np.testing.assert_allclose(mr.attribute(net, sign * x, 0, "gradient").attribution, weight.T)
        chances, scores = net.predict(sign * x)
        assert scores.item() == sign * 60
        assert chances.item() == pytest.approx(1 / (1 + np.exp(-sign * 60)), rel=1e-12)


@pytest.mark.parametrize("tail", [(), ("Log",), ("Clip",), ("Cast",), ("Half",)])
@pytest.mark.parametrize("level", [-15.0, -60.0, -1000.0, 60.0])
def test_logits_that_are_all_far_from_zero(level: float, tail: tuple[str, ...]) -> None:
    """onnxruntime's Sigmoid ends at some 1e-8, the probability does not."""
    sketch = Sketch(4)
    z = sketch.node("Gemm", "x", sketch.normal(4, 3), sketch.const(np.full(3, level)), out="z")
    out = sketch.node("Sigmoid", z)
    if tail == ("Half",):
        out = sketch.node("Cast", out, to=TensorProto.FLOAT16)
    elif tail:
        bounds = [sketch.const(1e-7), sketch.const(1.0)] if tail == ("Clip",) else []
        options: dict[str, Any] = {"to": TensorProto.DOUBLE} if tail == ("Cast",) else {}
        out = sketch.node(tail[0], out, *bounds, **options)
    model = sketch.model(out)
    net = mr.load(model)
    assert net.head == "sigmoid"
    x = np.eye(4, dtype=np.float32)
    (dense,) = net.layers
    assert isinstance(dense, Dense)
    np.testing.assert_allclose(net.predict(x)[1], x @ dense.weight + level, rtol=1e-6)
    assert np.abs(mr.attribute(net, x, 0, "gradient").attribution).max() > 0.1
