"""Every activation, with its options, clipping in its old and new forms, and local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.layers import Activation, ResponseNorm
from mipin_ref.layers.activation import FUNCTIONS
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

OPSET = {"Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20, "Swish": 24}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "LeakyRelu": [{"alpha": 0.3}],
    "ThresholdedRelu": [{"alpha": 0.4}],
    "Elu": [{"alpha": 0.5}],
    "Selu": [{"alpha": 1.2, "gamma": 1.1}],
    "Celu": [{"alpha": 0.7}],
    "HardSigmoid": [{"alpha": 0.3, "beta": 0.4}],
    "Gelu": [{"approximate": "tanh"}],
    "Swish": [{"alpha": 1.7}],
    "Pow": [{"exponent": 3.0}, {"exponent": 0.5}],
}
CASES = [(name, options) for name in sorted({*FUNCTIONS} - {"Clip"}) for options in [{}, *OPTIONS.get(name, [])]]


def activated(name: str, opset: int, options: dict[str, Any], inputs: tuple[str, ...] = ()) -> mr.Network:
    sketch = Sketch(3, 4, 4, opset=opset, ir=10)
    slope = [sketch.const([[[0.2]], [[-0.5]], [[1.5]]])] if name == "PRelu" else []
    if name == "Pow":
        slope = [sketch.const(options.pop("exponent", 2.0))]
    # Sqrt, Log and powers that are no whole numbers have values above zero alone.
    hidden = sketch.node("Softplus", sketch.conv("x", 3, 3))
    fired = sketch.node(name, hidden, *slope, *inputs, out="fired", **options)
    # At the end a Sigmoid would be a head.
    return assert_keeps_values(sketch.model(sketch.node("Relu", fired)))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_activation(name: str, options: dict[str, Any]) -> None:
    net = activated(name, OPSET.get(name, 17), options)
    layer = net.layers[2]
    assert isinstance(layer, Activation)
    assert layer.function == name


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - {"Clip", "Log", "Reciprocal"}))
def test_keeps_zero_is_true(name: str) -> None:
    """The table's claim about f(0), against the operator itself."""
    sketch = Sketch(3, 4, opset=OPSET.get(name, 17), ir=10)
    slope = [sketch.const([[0.2], [-0.5], [1.5]])] if name == "PRelu" else []
    slope = [sketch.const(1.0)] if name == "Pow" else slope
    net = mr.load(sketch.model(sketch.node("Relu", sketch.node(name, "x", *slope, out="fired"))), check=False)
    at_zero = Recorder(net, ["fired"])(np.zeros((1, 3, 4), np.float32)).values["fired"]
    assert np.all(at_zero == 0) == FUNCTIONS[name].keeps_zero({})


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-0.5, 0.5), (0.1, None), (None, 0.2), (None, None)])
@pytest.mark.parametrize("opset", [9, 11, 13])
def test_clip(low: float | None, high: float | None, opset: int) -> None:
    sketch = Sketch(3, 4, 4, opset=opset)
    hidden = sketch.conv("x", 3, 3)
    given: dict[str, Any] = {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    if opset < 11:
        out = sketch.node("Clip", hidden, **given)
    else:
        bounds = ["" if v is None else sketch.const(np.float32(v)) for v in (low, high)]
        while bounds and not bounds[-1]:
            bounds.pop()
        out = sketch.node("Clip", hidden, *bounds)
    layer = assert_keeps_values(sketch.model(out)).layers[1]
    assert isinstance(layer, Activation)
    assert layer.options == pytest.approx(given)
    assert layer.keeps_zero == (given.get("min", 0) <= 0 <= given.get("max", 0))


def test_prelu_slope_per_feature() -> None:
    sketch = Sketch(6)
    hidden = sketch.dense("x", 6, 4)
    fired = sketch.node("PRelu", hidden, sketch.normal(4))
    assert_keeps_values(sketch.model(sketch.dense(fired, 4, 2)))


@pytest.mark.parametrize("opset", [9, 13, 20])
@pytest.mark.parametrize("given", [{"size": 3}, {"size": 5, "alpha": 0.9, "beta": 0.6, "bias": 2.0}, {"size": 1}])
def test_local_response_normalisation(opset: int, given: dict[str, Any]) -> None:
    sketch = Sketch(6, 4, 4, opset=opset)
    layer = assert_keeps_values(sketch.model(sketch.node("LRN", sketch.conv("x", 6, 6), **given))).layers[1]
    assert isinstance(layer, ResponseNorm)
    assert layer.keeps_zero
    assert layer.options == pytest.approx({"alpha": 1e-4, "beta": 0.75, "bias": 1.0} | given)
    assert isinstance(layer.options["size"], int)


@pytest.mark.parametrize(("shape", "size"), [((6, 4, 4), 2), ((6, 4), 3), ((6, 4, 4, 4), 3)])
def test_local_response_normalisation_that_onnxruntime_does_not_run(shape: tuple[int, ...], size: int) -> None:
    sketch = Sketch(*shape)
    with pytest.raises(mr.UnsupportedModel, match=r"LRN 'the_lrn' \(size"):
        load_whole(sketch.model(sketch.node("LRN", "x", size=size, out="lrn")))
