"""Samples that a file puts in an order, and back: as they came, where nothing else meets them in between."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from tests.graph.sketch import Sketch
from tests.graph.test_sequence_lengths import EPS, run

FEATURES, SAMPLES = 4, 20
NUMBERED = "numbered in between"
RNG = np.random.default_rng(2)
DATA: dict[str, np.ndarray] = {
    "x": RNG.standard_normal((SAMPLES, FEATURES)).astype(np.float32),
    "keys": RNG.permutation(SAMPLES),
}


def network(form: str) -> ModelProto:
    """Two layers, between which samples lie in the order of their keys. form: what else there is."""
    sketch = Sketch(FEATURES)
    sketch.inputs.append(helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"]))
    first, last = (sketch.normal(FEATURES, FEATURES), sketch.normal(FEATURES)), sketch.normal(FEATURES, 2)
    zero, one = sketch.const(np.int64(0)), sketch.const(np.int64(1))
    count = sketch.node("Shape", "keys")
    sketch.node("TopK", "keys", count, out="order", outputs=2)
    places, taken = "order_1", "x"
    if form != "as they came":
        taken = sketch.node("Gather", "x", places, axis=0)
    made = sketch.node("Tanh", sketch.node("Gemm", taken, *first), out="made")
    if form == "met in between":
        made = sketch.node("Add", made, "x")
    if form == "told besides":
        told = sketch.node("Unsqueeze", sketch.node("Cast", places, to=TensorProto.FLOAT), sketch.ints(1))
        made = sketch.node("Add", made, told)
    back = made
    if form != "as they came":
        numbers = sketch.node("Range", zero, sketch.node("Squeeze", count), one)
        if form == "backwards":
            minus = sketch.const(np.int64(-1))
            numbers = sketch.node("Range", sketch.node("Sub", sketch.node("Squeeze", count), one), minus, minus)
        if form == NUMBERED:
            picked = sketch.node("Gather", sketch.node("Cast", numbers, to=TensorProto.FLOAT), places, axis=0)
            made = sketch.node("Add", made, sketch.node("Unsqueeze", picked, sketch.ints(1)))
        empty = sketch.node("ConstantOfShape", count, value=helper.make_tensor("none", TensorProto.INT64, [1], [0]))
        way = sketch.node("ScatterElements", empty, places, numbers, axis=0)
        back = sketch.node("Gather", made, way, axis=0)
        if form == "twice":
            sketch.node("TopK", "keys", count, out="again", outputs=2)
            curved = sketch.node("Tanh", sketch.node("Gather", back, "again_1", axis=0))
            typed = sketch.node("Cast", "again", to=TensorProto.FLOAT)
            curved = sketch.node("Mul", curved, sketch.node("Unsqueeze", typed, sketch.ints(1)))
            second = sketch.node("ScatterElements", empty, "again_1", numbers, axis=0)
            back = sketch.node("Gather", curved, second, axis=0)
    if form == "handed out besides":
        back = sketch.node("Add", back, made)
    return sketch.model(sketch.node("MatMul", back, last), check=False)


def test_signals_are_those_of_samples_as_they_came() -> None:
    """The layers are those of the file that orders nothing."""
    results = []
    for form in ("undone", "as they came"):
        net = mr.load(network(form), input="x")
        assert [layer.kind for layer in net.layers] == ["Dense", "Activation", "Dense"]
        results.append(mr.fit(net, DATA["x"], 1).attribute(DATA["x"]))
    np.testing.assert_array_equal(results[0].source, results[1].source)
    np.testing.assert_array_equal(results[0].attribution, results[1].attribution)


def test_one_order_behind_another() -> None:
    """What is read of the second are samples as they came, as those of the first are, and keys in its order."""
    model = network("twice")
    net = mr.load(model, input="x")
    assert not net.blocked
    np.testing.assert_allclose(net.predict(DATA)[1], run(model, DATA), rtol=0, atol=64 * SAMPLES * EPS)


@pytest.mark.parametrize("form", ["met in between", "told besides", "handed out besides", "backwards", NUMBERED])
def test_an_order_that_something_else_meets_stays(form: str) -> None:
    """Such a file mixes samples: its own picks are refused, which work along the batch."""
    with pytest.raises(mr.UnsupportedModel, match="Gather"):
        mr.fit(mr.load(network(form), input="x"), DATA, 1)
