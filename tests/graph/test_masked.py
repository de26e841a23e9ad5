"""Where by a mask that is computed, with zeros on one side: as the product with the mask."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.layers import Gate
from tests.graph.sketch import Sketch

PLACES, CHANNELS, SAMPLES = 6, 3, 40
RNG = np.random.default_rng(8)
X = RNG.standard_normal((SAMPLES, CHANNELS, PLACES)).astype(np.float32)
MASK = np.arange(PLACES) < RNG.integers(2, PLACES + 1, (SAMPLES, 1))


def network(form: str) -> ModelProto:
    """A convolution whose map is zeroed behind the end of each sample."""
    sketch = Sketch(CHANNELS, PLACES)
    floating = form == "product"
    kind = TensorProto.FLOAT if floating else TensorProto.INT64
    sketch.inputs.append(helper.make_tensor_value_info("mask", kind, ["N", PLACES]))
    rows = sketch.node("Tanh", sketch.conv("x", CHANNELS, 4, (3,), pads=[1, 1]), out="rows")
    wide = sketch.node("Unsqueeze", "mask", sketch.ints(1))
    if floating:
        masked = sketch.node("Mul", rows, wide)
    else:
        zero = sketch.const(0.0)
        if form == "a Constant":
            zero = sketch.node("Constant", value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
        asked = sketch.node("Equal", wide, sketch.const(np.int64(form == "kept first")))
        masked = sketch.node("Where", asked, *((rows, zero) if form == "kept first" else (zero, rows)))
    total = sketch.node("ReduceSum", masked, sketch.ints(2), keepdims=0)
    return sketch.model(sketch.dense(total, 4, 2), check=False)


@pytest.mark.parametrize("form", ["kept first", "zeros first", "a Constant"])
def test_signals_are_those_of_the_product(form: str) -> None:
    results = []
    for one, dtype in ((form, np.int64), ("product", np.float32)):
        net = mr.load(network(one), input="x")
        assert not net.blocked
        assert [layer.inputs[0] for layer in net.layers if isinstance(layer, Gate)] == ["rows"]
        data = {"x": X, "mask": MASK.astype(dtype)}
        results.append(mr.fit(net, data, 1, at="rows").attribute(data))
    masked, product = results
    np.testing.assert_allclose(masked.output, product.output, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(masked.attribution, product.attribution, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(masked.source, product.source, rtol=1e-6, atol=1e-7)
    assert not np.any(masked.attribution[np.broadcast_to(~MASK[:, None], masked.attribution.shape)])


@pytest.mark.parametrize("fill", [1.0, np.zeros(PLACES)], ids=["ones", "several zeros"])
def test_other_values_are_no_product(fill: float) -> None:
    """They stay what they were: run as they stand."""
    sketch = Sketch(CHANNELS, PLACES)
    rows = sketch.conv("x", CHANNELS, 4, (3,), pads=[1, 1], out="rows")
    put = sketch.node("Where", sketch.node("Greater", rows, sketch.const(0.0)), rows, sketch.const(fill), out="put")
    end = sketch.conv(put, 4, 2, (PLACES,), out="end")
    net = mr.load(sketch.model(sketch.node("Flatten", end), check=False))
    assert "Where 'the_put'" in str(net.blocked["rows"])
