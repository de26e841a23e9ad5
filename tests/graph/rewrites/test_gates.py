"""Which operand of a product is the gate, what is an activation written out, and that state blocks nothing."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.graph.explained import automatic
from mipin_ref.layers import Activation, Gate
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole
from tests.networks import to_onnx
from tests.networks.gated import GATED
from tests.oracles import spec
from tests.oracles.spellings import SPELLINGS

X = np.random.default_rng(0).standard_normal((9, 3, 6, 6)).astype(np.float32)


def gate_of(net: mr.Network) -> Gate:
    (gate,) = [layer for layer in net.layers if isinstance(layer, Gate)]
    return gate


@pytest.mark.parametrize("name", GATED)
def test_content_and_gate_are_those_that_were_meant(name: str) -> None:
    network = GATED[name](0)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    found = [(layer.inputs, layer.function) for layer in net.layers if isinstance(layer, Gate)]
    assert found == [(op.inputs, op.function) for op in network.ops if isinstance(op, spec.Gate)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_one_layer_of_its_mask(spelling: str) -> None:
    network = GATED[f"{spelling}, written out"](0)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    assert [layer.kind for layer in net.layers] == [
        *("Conv", "Activation", "Conv", "Activation", "GlobalAveragePool", "Reshape", "Dense")
    ]
    assert net.layers[1].mask == ("positive" if SPELLINGS[spelling].positive else "nonzero")


@pytest.mark.parametrize("beta", [0.05, 1.0, 30.0, -1.0])
def test_silu_of_any_positive_steepness(beta: float) -> None:
    sketch = Sketch(3, 6, 6)
    x = sketch.conv("x", 3, 3)
    gate = sketch.node("Sigmoid", sketch.node("Mul", x, sketch.const(beta)))
    net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Mul", x, gate), 3, 2)))
    assert net.layers[1].mask == ("positive" if beta > 0 else "nonzero")


def test_steepness_that_differs_from_channel_to_channel_counts_as_constant() -> None:
    sketch = Sketch(3, 6, 6)
    x = sketch.conv("x", 3, 3)
    gate = sketch.node("Sigmoid", sketch.node("Mul", x, sketch.positive(3, 1, 1)))
    net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Mul", gate, x), 3, 2)))
    assert isinstance(net.layers[1], Activation)
    assert net.layers[1].named == "SiLU"


@pytest.mark.parametrize(("factor", "layers"), [(0.5, 3), (-0.5, 4)])
@pytest.mark.parametrize("operator", ["HardSwish", "Gelu"])
def test_a_scalar_behind_belongs_to_the_activation_where_it_is_positive(
    operator: str, factor: float, layers: int
) -> None:
    """In front of two readers, so that no other layer takes it up."""
    sketch = Sketch(3, 6, 6, opset=20, ir=10)
    fired = sketch.node(operator, sketch.conv("x", 3, 3))
    scaled = sketch.node("Mul", fired, sketch.const(factor), out="scaled")
    net = assert_keeps_values(sketch.model(sketch.node("Add", scaled, sketch.node("Tanh", scaled))))
    assert len(net.layers) == layers + 1
    assert net.layers[1].mask == "positive"


def test_a_residual_is_no_activation() -> None:
    sketch = Sketch(3, 6, 6)
    x = sketch.conv("x", 3, 3)
    net = assert_keeps_values(sketch.model(sketch.node("Add", x, sketch.node("Tanh", x))))
    assert [layer.kind for layer in net.layers] == ["Conv", "Activation", "Add"]


def test_what_an_activation_is_written_out_in_stays_where_others_read_it() -> None:
    sketch = Sketch(3, 6, 6)
    x = sketch.conv("x", 3, 3)
    gate = sketch.node("Sigmoid", x, out="shared")
    fired = sketch.node("Mul", x, gate, out="fired")
    net = assert_keeps_values(sketch.model(sketch.node("Concat", fired, sketch.conv(gate, 3, 3, pads=[1] * 4), axis=1)))
    assert {"shared", "fired"} <= set(net.shapes)


def test_tensors_inside_an_activation_are_told_to_be_gone() -> None:
    network = GATED["gelu, written out"](0)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    with pytest.raises(mr.InvalidData, match=r"'op1\.1' was folded into a neighbouring layer"):
        net.tensor("op1.1")


def test_the_way_back_to_a_sigmoid_leads_through_scalars_and_reshapes() -> None:
    sketch = Sketch(3, 6, 6)
    pooled = sketch.node("Flatten", sketch.node("GlobalAveragePool", "x"))
    squashed = sketch.node("Mul", sketch.node("Sigmoid", sketch.dense(pooled, 3, 3)), sketch.const(2.0))
    gate = sketch.node("Unsqueeze", squashed, sketch.ints(2, 3), out="gate")
    content = sketch.conv("x", 3, 3, pads=[1] * 4, out="content")
    net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Mul", gate, content), 3, 2)))
    assert gate_of(net).inputs == ("content", "gate")


def test_a_sum_ends_the_way_back() -> None:
    """Behind the Sum nothing of the Sigmoid counts: the Tanh tells."""
    sketch = Sketch(3, 6, 6)
    one, two, three = (sketch.conv("x", 3, 3) for _ in range(3))
    summed = sketch.node("Add", sketch.node("Sigmoid", one), two, out="summed")
    net = assert_keeps_values(sketch.model(sketch.node("Mul", sketch.node("Tanh", three, out="tanh"), summed)))
    assert gate_of(net).inputs == ("summed", "tanh")


@pytest.mark.parametrize("squash", ["Sigmoid", "Tanh", "Relu"])
def test_two_that_nothing_tells_apart_are_refused_by_name(squash: str) -> None:
    sketch = Sketch(3, 6, 6)
    left, right = (sketch.node(squash, sketch.conv("x", 3, 3), out=name) for name in ("left", "right"))
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd' \(it multiplies 'left' and 'right', and nothing tells"):
        load_whole(sketch.model(sketch.conv(sketch.node("Mul", left, right, out="odd"), 3, 2)))


def test_hard_sigmoid_written_out_tells_the_gate() -> None:
    sketch = Sketch(3, 6, 6)
    clipped = sketch.node(
        "Clip", sketch.node("Add", sketch.conv("x", 3, 3), sketch.const(3.0)), sketch.const(0.0), sketch.const(6.0)
    )
    gate = sketch.node("Div", clipped, sketch.const(6.0), out="gate")
    net = assert_keeps_values(sketch.model(sketch.node("Mul", gate, sketch.conv("x", 3, 3, out="content"))))
    assert gate_of(net).inputs == ("content", "gate")


def excited(operator: str) -> ModelProto:
    """A gate behind an operator without an inverse."""
    sketch = Sketch(3, 6, 6)
    content = sketch.node("Relu", sketch.conv("x", 3, 4), out="content")
    pooled = sketch.node("Flatten", sketch.node("GlobalAveragePool", content))
    odd = sketch.node(operator, pooled, out="odd")
    gate = sketch.node("Unsqueeze", sketch.node("Sigmoid", odd), sketch.ints(2, 3), out="gate")
    mixed = sketch.conv(sketch.node("Mul", content, gate, out="gated"), 4, 3, out="mixed")
    return sketch.model(sketch.dense(sketch.node("Flatten", sketch.node("GlobalAveragePool", mixed)), 3, 2))


@pytest.mark.parametrize("operator", ["Sin", "Softmax", "LpNormalization"])
def test_what_feeds_state_alone_blocks_nothing(operator: str) -> None:
    """It is run by onnxruntime as it stands, for samples one by one and together; the input is explained."""
    net = mr.load(excited(operator))
    assert not net.blocked
    inv = mr.fit(net, X, 1)
    res = inv.attribute(X)
    assert res.tensor == "x"
    assert np.abs(res.attribution).max() > 0
    np.testing.assert_allclose(inv.attribute(X[4:5]).attribution[0], res.attribution[4], rtol=0, atol=1e-9)
    assert automatic(net) == "mixed"
    assert "odd" in str(net)


@pytest.mark.parametrize("tensor", ["odd", "gate"])
def test_a_tensor_that_is_state_is_not_explained(tensor: str) -> None:
    net = mr.load(excited("Sin"))
    with pytest.raises(mr.InvalidData, match=f"tensor '{tensor}' is state"):
        mr.fit(net, X, 1, at=tensor)


def test_a_gradient_through_state_of_unknown_derivative_is_refused() -> None:
    net = mr.load(excited("Sin"))
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.attribute(net, X, 1, "gradient")
    assert caught.value.nodes == ("Sin 'the_odd' (no inverse is known for this operator)",)
    assert np.isfinite(mr.attribute(net, X, 1, "gradient", at="gated").attribution).all()
    assert np.isfinite(mr.attribute(net, X, 1, "lrp-epsilon").attribution).all()


def masked(kind: str) -> ModelProto:
    """A map and what it is multiplied with, of the same shape: a mask of another input, or of ids, or that input."""
    sketch = Sketch("T", batch="N")
    sketch.inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 5])]
    rows = sketch.node("Gather", sketch.normal(9, 4), "ids", out="rows")
    content = sketch.node("Relu", sketch.node("MatMul", rows, sketch.normal(4, 4)), out="content")
    if kind == "of ids":
        mask = sketch.node("Not", sketch.node("Equal", "ids", sketch.const(np.int64(0))))
    else:
        element = TensorProto.INT64 if kind == "whole" else TensorProto.FLOAT
        sketch.inputs.append(helper.make_tensor_value_info("mask", element, ["N", 5]))
        mask = "mask"
    wide = sketch.node("Expand", sketch.node("Unsqueeze", mask, sketch.ints(2)), sketch.ints(1, 5, 4))
    gate = sketch.node("Cast", wide, to=TensorProto.FLOAT, out="gate") if kind != "floating" else wide
    total = sketch.node("ReduceSum", sketch.node("Mul", gate, content), sketch.ints(1), keepdims=0)
    return sketch.model(sketch.dense(total, 4, 2))


@pytest.mark.parametrize("kind", ["whole", "floating", "of ids"])
def test_a_mask_is_the_gate(kind: str) -> None:
    """As means over the tokens of a sentence have it: signals come back to the tokens, as what is masked by hand."""
    values = np.random.default_rng(2).integers(1, 9, (9, 5))
    kept = np.array([[1, 1, 1, 0, 0]])
    ids = np.where(kept, values, 0)
    given = {} if kind == "of ids" else {"mask": kept.astype(np.int64 if kind == "whole" else np.float32)}
    net = mr.load(masked(kind), given=given)
    assert gate_of(net).inputs[0] == "content"
    assert automatic(net) == "rows"
    res = mr.fit(net, ids, 1).attribute(ids)
    assert not np.any(res.contribution[:, 3:])
    assert np.all(np.abs(res.contribution[:, :3]).max(axis=2) > 0)


def test_a_map_that_is_scaled_by_its_own_response_is_the_content() -> None:
    """Behind a GELU too, as in ConvNeXt V2, where a norm over the places has no inverse here."""
    sketch = Sketch(3, 6, 6, opset=20, ir=10)
    content = sketch.node("Gelu", sketch.conv("x", 3, 4), out="content")
    norm = sketch.node("ReduceLogSumExp", content, sketch.ints(2, 3))
    mean = sketch.node("ReduceMean", norm, sketch.ints(1))
    response = sketch.node("Div", norm, mean, out="response")
    net = mr.load(sketch.model(sketch.conv(sketch.node("Mul", response, content), 4, 2)))
    assert ("content", "response") in [layer.inputs for layer in net.layers if isinstance(layer, Gate)]
    assert not net.blocked


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64], ids=["cast", "as they are"])
@pytest.mark.parametrize("parts", [1, 2])
def test_rows_that_are_looked_up_are_content(kind: int, parts: int) -> None:
    """Ids that are cast in front of the look-up say nothing about what is looked up."""
    sketch = Sketch(6)
    sketch.inputs = [helper.make_tensor_value_info("ids", kind, ["N", 6])]
    ids = sketch.node("Cast", "ids", to=TensorProto.INT64) if kind == TensorProto.INT32 else "ids"
    rows = sketch.node("Gather", sketch.normal(20, 4), ids, out="rows")
    scores = [sketch.node("MatMul", rows, sketch.normal(4, 4)) for _ in range(parts)]
    gate = sketch.node("Sigmoid", scores[0] if parts == 1 else sketch.node("Add", *scores), out="gate")
    total = sketch.node("ReduceMean", sketch.node("Mul", rows, gate), axes=[1], keepdims=0)
    net = mr.load(sketch.model(sketch.dense(total, 4, 2), check=False))
    assert gate_of(net).inputs == ("rows", "gate")


@pytest.mark.parametrize("operator", ["Relu", "Clip"])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_rectified_is_the_gate_of_what_is_not(operator: str, first: bool) -> None:
    """ReGLU, and StarNet with a ReLU that ends at six: where no rule before tells."""
    sketch = Sketch(3, 6, 6)
    bounds = [sketch.const(0.0), sketch.const(6.0)] if operator == "Clip" else []
    fired = sketch.node(operator, sketch.conv("x", 3, 4), *bounds, out="fired")
    plain = sketch.conv("x", 3, 4, out="plain")
    product = sketch.node("Mul", *((fired, plain) if first else (plain, fired)))
    net = assert_keeps_values(sketch.model(sketch.conv(product, 4, 2)))
    assert gate_of(net).inputs == ("plain", "fired")


def test_a_clip_of_both_signs_tells_nothing() -> None:
    sketch = Sketch(3, 6, 6)
    fired = sketch.node("Clip", sketch.conv("x", 3, 4), sketch.const(-1.0), sketch.const(1.0), out="clipped")
    product = sketch.node("Mul", fired, sketch.conv("x", 3, 4, out="plain"), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"it multiplies 'clipped' and 'plain', and nothing tells"):
        load_whole(sketch.model(sketch.conv(product, 4, 2)))


@pytest.mark.parametrize("operator", ["Expand", "Tile", "nothing"])
def test_a_broadcast_that_is_written_out_tells_the_gate(operator: str) -> None:
    """One query of the whole map times all its keys, as in SwiftFormer: S and A are those of the plain broadcast."""
    results = []
    for form in (operator, "nothing"):
        sketch = Sketch(3, 6, 6)
        keys = sketch.conv("x", 3, 4, out="keys")
        query = sketch.node("GlobalAveragePool", sketch.conv("x", 3, 4), out="query")
        if form != "nothing":
            repeats = sketch.ints(1, 4, 4, 4) if form == "Expand" else sketch.ints(1, 1, 4, 4)
            query = sketch.node(form, query, repeats, out="repeated")
        net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Mul", query, keys), 4, 2, (4, 4))))
        assert gate_of(net).inputs == ("keys", query)
        results.append(mr.fit(net, X, 1).attribute(X))
    written, plain = results
    np.testing.assert_allclose(written.source, plain.source, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(written.attribution, plain.attribution, rtol=1e-5, atol=1e-6)
