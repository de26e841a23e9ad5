"""Sums of tensors, in every way to write them, with constants among them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.layers import Add, Affine, Extremum
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole


def kinds(net: mr.Network) -> list[str]:
    return [layer.kind for layer in net.layers]


@pytest.mark.parametrize("op", ["Add", "Sum"])
@pytest.mark.parametrize("opset", [9, 13, 20])
def test_two_tensors(op: str, opset: int) -> None:
    sketch = Sketch(3, 4, 4, opset=opset)
    left, right = sketch.conv("x", 3, 3, (1, 1), out="left"), sketch.node("Relu", "x", out="right")
    net = assert_keeps_values(sketch.model(sketch.node(op, left, right, out="join")))
    join = net.layers[-1]
    assert isinstance(join, Add)
    assert join.inputs == ("left", "right")
    assert net.branches


@pytest.mark.parametrize("count", [3, 5])
def test_sum_of_many(count: int) -> None:
    sketch = Sketch(4)
    branches = [sketch.dense("x", 4, 3) for _ in range(count)]
    net = assert_keeps_values(sketch.model(sketch.node("Sum", *branches)))
    assert net.layers[-1].inputs == tuple(branches)


def test_the_same_tensor_twice() -> None:
    sketch = Sketch(4)
    hidden = sketch.dense("x", 4, 3)
    again = sketch.node("Identity", hidden)
    net = assert_keeps_values(sketch.model(sketch.node("Sum", hidden, hidden, again)))
    assert net.layers[-1].inputs == (hidden,) * 3
    assert net.consumers[hidden] == tuple((net.layers[-1], slot) for slot in range(3))


@pytest.mark.parametrize("constants", [1, 2])
def test_constants_of_a_sum_follow_it(constants: int) -> None:
    sketch = Sketch(3, 4, 4)
    fired = sketch.node("Relu", "x")
    values = [sketch.normal(3, 1, 1), sketch.normal(1, 1, 4)][:constants]
    net = assert_keeps_values(sketch.model(sketch.node("Sum", values[0], "x", *values[1:], fired, out="join")))
    assert kinds(net) == ["Activation", "Add", "Affine"]
    affine = net.layers[-1]
    assert isinstance(affine, Affine)
    assert affine.output == "join"
    assert affine.shift.shape == ((3, 1, 1) if constants == 1 else (3, 1, 4))
    assert affine.scale.shape == (1, 1, 1)


def test_sum_of_one_tensor_and_constants() -> None:
    sketch = Sketch(4)
    out = sketch.node("Sum", sketch.normal(3), sketch.dense("x", 4, 3), sketch.normal(1, 3))
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Dense"]


def test_sum_of_one_tensor_is_an_alias() -> None:
    sketch = Sketch(4)
    same = sketch.node("Sum", "x", out="same")
    assert assert_keeps_values(sketch.model(sketch.dense(same, 4, 3))).tensor("same") == "x"


def test_sum_where_the_batch_is_not_first() -> None:
    sketch = Sketch(4)
    turned = sketch.node("Transpose", "x", perm=[1, 0])
    total = sketch.node("Add", turned, sketch.node("Relu", turned))
    out = sketch.dense(sketch.node("Transpose", total, perm=[1, 0]), 4, 3)
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Activation", "Add", "Dense"]


def test_tensors_that_broadcast_over_the_batch_are_refused() -> None:
    sketch = Sketch(3, 3, batch=3)
    out = sketch.node("Add", "x", sketch.node("Transpose", "x", perm=[1, 0, 2]), out="join")
    with pytest.raises(mr.UnsupportedModel, match=r"the_join.*broadcasts"):
        load_whole(sketch.model(out))


def test_residual_block() -> None:
    """Conv, batch norm and Relu on both sides: everything folds, and both branches keep their names."""
    sketch = Sketch(3, 6, 6)
    stem = sketch.node("Relu", sketch.batch_norm(sketch.conv("x", 3, 4), 4), out="stem")
    left = sketch.batch_norm(sketch.conv(stem, 4, 4, pads=[1] * 4, out="mixed"), 4, out="left")
    right = sketch.batch_norm(sketch.conv(stem, 4, 4, (1, 1)), 4, out="right")
    total = sketch.node("Relu", sketch.node("Add", left, right), out="total")
    pooled = sketch.node("Flatten", sketch.node("GlobalAveragePool", total))
    net = assert_keeps_values(sketch.model(sketch.dense(pooled, 4, 3)))
    assert kinds(net) == [
        *("Conv", "Activation", "Conv", "Conv", "Add", "Activation", "GlobalAveragePool", "Reshape", "Dense")
    ]
    assert {"stem", "left", "right", "total"} <= set(net.shapes)
    assert "mixed" in net.folded


def test_preprocessing_at_an_input_that_branches() -> None:
    sketch = Sketch(3, 4, 4)
    centred = sketch.node("Sub", "x", sketch.normal(3, 1, 1), out="centred")
    scaled = sketch.node("Div", centred, sketch.positive(1, 3, 1, 1), out="scaled")
    out = sketch.node("Add", sketch.conv(scaled, 3, 3, pads=[1] * 4), scaled)
    net = assert_keeps_values(sketch.model(out))
    assert kinds(net) == ["Affine", "Conv", "Add"]
    assert net.layers[0].output == "scaled"
    assert net.folded == {"centred"}


def test_difference_of_two_tensors() -> None:
    sketch = Sketch(4)
    out = sketch.node("Sub", sketch.dense("x", 4, 3), sketch.dense("x", 4, 3))
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Dense", "Dense", "Difference"]


def test_negative() -> None:
    sketch = Sketch(4)
    out = sketch.node("Neg", sketch.node("Relu", sketch.dense("x", 4, 3)))
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Dense", "Activation", "Negative"]


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("count", [2, 3])
def test_extremes_of_tensors(op: str, count: int) -> None:
    sketch = Sketch(4)
    parts = [sketch.dense("x", 4, 3) for _ in range(count)]
    net = assert_keeps_values(sketch.model(sketch.node(op, *parts)))
    layer = net.layers[-1]
    assert isinstance(layer, Extremum)
    assert (layer.function, layer.inputs) == (op, tuple(parts))


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 4, 4)])
def test_extremes_with_constants_are_activations(op: str, shape: tuple[int, ...]) -> None:
    """On either side, and behind that of several tensors."""
    sketch = Sketch(3, 4, 4)
    first = sketch.node(op, sketch.normal(*shape), sketch.conv("x", 3, 3, (1, 1)), out="first")
    second = sketch.node(op, first, sketch.conv("x", 3, 3, (1, 1)), sketch.normal(*shape), out="second")
    net = assert_keeps_values(sketch.model(second))
    assert kinds(net) == ["Conv", "Activation", "Conv", "Extremum", "Activation"]


def test_extremes_that_broadcast_are_refused() -> None:
    sketch = Sketch(3, 4, 4)
    out = sketch.node("Max", "x", sketch.node("GlobalAveragePool", "x"), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd' \(it broadcasts \[N, 3, 1, 1\] and \[N, 3, 4, 4\]"):
        load_whole(sketch.model(out))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_operands_that_broadcast(op: str) -> None:
    """Also one with fewer axes, whose samples lie on the same axis from the right."""
    sketch = Sketch(3, 4, 4)
    hidden = sketch.conv("x", 3, 3, (1, 1))
    pooled = sketch.node("Exp", sketch.node("GlobalAveragePool", hidden))
    net = assert_keeps_values(sketch.model(sketch.node(op, hidden, pooled, out="joined")))
    assert net.layers[-1].in_shapes == ((3, 4, 4), (3, 1, 1))


def test_samples_on_different_axes_are_refused() -> None:
    sketch = Sketch(3, 5)
    turned = sketch.node("Transpose", "x", perm=[1, 0, 2])
    with pytest.raises(mr.UnsupportedModel, match="whose samples are on different axes"):
        load_whole(sketch.model(sketch.node("Add", "x", turned, out="odd")))


def test_exponent_that_is_no_one_number_is_refused() -> None:
    sketch = Sketch(4)
    with pytest.raises(mr.UnsupportedModel, match="its exponent differs from place to place"):
        load_whole(sketch.model(sketch.node("Pow", "x", sketch.const([1.0, 2.0, 3.0, 4.0]))))
    sketch = Sketch(4)
    with pytest.raises(mr.UnsupportedModel, match="its exponent depends on the input"):
        load_whole(sketch.model(sketch.node("Pow", sketch.const(2.0), "x")))


def test_constant_that_repeats_the_samples_is_refused() -> None:
    sketch = Sketch(3, 1, 1)
    out = sketch.node("Add", "x", sketch.const(np.ones((2, 3, 1, 1))), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*does not fit one sample"):
        load_whole(sketch.model(out))


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div", "Sub from", "Div by"])
def test_a_constant_that_is_wider_repeats_the_signal(op: str) -> None:
    """As a table of a row a number, in transformers of columns: what comes back is that of the Expand written out."""
    results = []
    for written in (True, False):
        sketch = Sketch(4)
        x = sketch.node("Unsqueeze", sketch.node("Sigmoid", sketch.dense("x", 4, 4), out="fired"), sketch.ints(2))
        table = sketch.positive(4, 3)
        if written:
            x = sketch.node("Expand", x, sketch.ints(1, 4, 3))
        operator, turned = op.split(" ")[0], " " in op
        wide = sketch.node(operator, *((table, x) if turned else (x, table)), out="wide")
        net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", wide), 12, 3)))
        assert not net.blocked
        data = np.random.default_rng(4).standard_normal((30, 4)).astype(np.float32)
        results.append(mr.fit(net, data, 1).attribute(data))
    np.testing.assert_allclose(results[0].source, results[1].source, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[0].attribution, results[1].attribution, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,)])
def test_zeros_times_a_mask_are_no_way_to_it(shape: tuple[int, ...]) -> None:
    """What a mask keeps of a state of zeros, in the first step of a recurrent layer that is written out."""
    sketch = Sketch(4)
    asked = sketch.node("Not", sketch.node("Greater", "x", sketch.const(np.float32(0))))
    mask = sketch.node("Cast", asked, to=TensorProto.FLOAT)
    kept = sketch.node("Mul", mask, sketch.const(np.zeros(shape, np.float32)))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Add", sketch.node("Tanh", "x"), kept), 4, 2)))
    assert not net.blocked
    assert [layer.kind for layer in net.layers] == ["Activation", "Dense"]


def test_ones_times_a_mask_are_a_way_to_it() -> None:
    sketch = Sketch(4)
    mask = sketch.node("Cast", sketch.node("Not", sketch.node("Greater", "x", sketch.const(np.float32(0)))), to=1)
    kept = sketch.node("Mul", mask, sketch.const(np.ones(4, np.float32)))
    net = mr.load(sketch.model(sketch.dense(sketch.node("Add", sketch.node("Tanh", "x"), kept), 4, 2)))
    assert "x" in net.blocked
