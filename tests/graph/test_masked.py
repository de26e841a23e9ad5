"""Where by a mask that is computed, with zeros on one side: as the product with the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.errors import InvalidData
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


@pytest.mark.parametrize("fill", [1e6, np.zeros(PLACES)], ids=["a large number", "several zeros"])
def test_other_values_are_no_product(fill: float) -> None:
    """They stay what they were: run as they stand."""
    sketch = Sketch(CHANNELS, PLACES)
    rows = sketch.conv("x", CHANNELS, 4, (3,), pads=[1, 1], out="rows")
    put = sketch.node("Where", sketch.node("Greater", rows, sketch.const(0.0)), rows, sketch.const(fill), out="put")
    end = sketch.conv(put, 4, 2, (PLACES,), out="end")
    net = mr.load(sketch.model(sketch.node("Flatten", end), check=False))
    assert "Where 'the_put'" in str(net.blocked["rows"])


@pytest.mark.parametrize("guarded", ["Log", "Reciprocal"])
def test_what_a_mask_guards_is_no_product(guarded: str) -> None:
    """Zero times Inf is NaN: such a Where is run as it stands."""
    sketch = Sketch(4)
    rows = sketch.node("Relu", sketch.dense("x", 4, 4))
    content = sketch.node(guarded, rows)
    put = sketch.node("Where", sketch.node("Greater", rows, sketch.const(0.0)), content, sketch.const(0.0), out="put")
    net = mr.load(sketch.model(sketch.dense(put, 4, 2)))
    assert not any(isinstance(layer, Gate) for layer in net.layers)


def test_a_zero_that_adds_axes_is_no_product() -> None:
    sketch = Sketch(6)
    rows = sketch.dense("x", 6, 6)
    zero = sketch.const(np.zeros((1, 1, 1)))
    put = sketch.node("Where", sketch.node("Greater", rows, sketch.const(0.0)), rows, zero)
    end = sketch.dense(sketch.node("Squeeze", put, sketch.ints(0)), 6, 2)
    net = mr.load(sketch.model(end, check=False))
    assert not any(isinstance(layer, Gate) for layer in net.layers)


def test_attention_that_a_mask_of_yes_and_no_shuts_is_refused() -> None:
    """As with a mask that is added."""
    sketch = Sketch(PLACES, 4, opset=23, ir=10)
    sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", PLACES]))
    asked = sketch.node("Unsqueeze", sketch.node("Cast", "mask", to=TensorProto.BOOL), sketch.ints(1, 2))
    wide = sketch.node("Expand", asked, sketch.ints(1, 1, PLACES, PLACES))
    parts = [sketch.node("MatMul", "x", sketch.normal(4, 4)) for _ in range(3)]
    mixed = sketch.node("Attention", *parts, wide, q_num_heads=1, kv_num_heads=1)
    total = sketch.node("ReduceMean", mixed, sketch.ints(1), keepdims=0)
    net = mr.load(sketch.model(sketch.dense(total, 4, 2), check=False), input="x")
    assert not net.blocked
    data: dict[str, NDArray[Any]] = {"x": X[:, 0, :, None].repeat(4, axis=2), "mask": MASK.astype(np.int64)}
    assert np.isfinite(net.predict(data)[1]).all()
    data["mask"][3] = 0
    with pytest.raises(InvalidData, match="sample 3"):
        net.predict(data)
