"""Constants, batch norms and paddings dissolve into a neighbouring layer, or the file is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.layer import Conv
from tests.graph.sketch import Sketch, assert_keeps_values

OPERATORS = ["Add", "Sub", "Mul", "Div"]


def kinds(net: mr.Network) -> list[str]:
    return [layer.kind for layer in net.layers]


def flat_head(sketch: Sketch, source: str, features: int) -> str:
    return sketch.dense(sketch.node("Flatten", source, out="flat"), features, 3)


def test_batch_norm_after_conv() -> None:
    sketch = Sketch(2, 5, 5)
    normed = sketch.batch_norm(sketch.conv("x", 2, 3, pads=[1, 1, 1, 1], out="mixed"), 3, out="normed")
    net = assert_keeps_values(sketch.model(sketch.node("Relu", normed)))
    assert kinds(net) == ["Conv", "Activation"]
    assert net.layers[0].output == "normed"
    with pytest.raises(mr.InvalidData, match="'mixed' was folded"):
        net.tensor("mixed")


def test_batch_norm_after_grouped_conv() -> None:
    sketch = Sketch(4, 5, 5)
    out = sketch.batch_norm(sketch.conv("x", 4, 6, group=2), 6)
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Conv"]


def test_batch_norm_after_dense() -> None:
    sketch = Sketch(4)
    out = sketch.batch_norm(sketch.dense("x", 4, 3), 3)
    assert kinds(assert_keeps_values(sketch.model(out))) == ["Dense"]


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_before_conv(groups: int) -> None:
    sketch = Sketch(4, 5, 5)
    normed = sketch.batch_norm(sketch.node("Relu", "x", out="fired"), 4, out="normed")
    net = assert_keeps_values(sketch.model(sketch.conv(normed, 4, 6, group=groups)))
    assert kinds(net) == ["Activation", "Conv"]
    assert "normed" in net.folded
    assert net.tensor("fired") == "fired"


def test_shift_before_a_padded_conv_is_refused() -> None:
    sketch = Sketch(2, 5, 5)
    normed = sketch.batch_norm("x", 2, out="normed")
    model = sketch.model(sketch.conv(normed, 2, 3, pads=[1, 0, 0, 0]))
    with pytest.raises(mr.UnsupportedModel, match="BatchNormalization 'the_normed'"):
        mr.load(model)


def test_scale_before_a_padded_conv_folds() -> None:
    sketch = Sketch(2, 5, 5)
    normed = sketch.batch_norm("x", 2, shifted=False)
    assert kinds(assert_keeps_values(sketch.model(sketch.conv(normed, 2, 3, pads=[1, 1, 1, 1])))) == ["Conv"]


def test_batch_norm_before_dense_through_flatten() -> None:
    sketch = Sketch(2, 3, 3)
    normed = sketch.batch_norm(sketch.node("MaxPool", "x", kernel_shape=[2, 2], out="pooled"), 2, out="normed")
    net = assert_keeps_values(sketch.model(flat_head(sketch, normed, 8)))
    assert kinds(net) == ["MaxPool", "Reshape", "Dense"]
    assert {"normed", "flat"} <= net.folded


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("constant_first", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_constant_beside_conv(op: str, shape: tuple[int, ...], constant_first: bool, before: bool) -> None:
    sketch = Sketch(3, 4, 4)
    source = "x" if before else sketch.conv("x", 3, 3)
    inputs = [source, sketch.positive(*shape)][:: -1 if constant_first else 1]
    out = sketch.node(op, *inputs)
    model = sketch.model(sketch.conv(out, 3, 2) if before else out)
    if op == "Div" and constant_first:
        with pytest.raises(mr.UnsupportedModel, match=f"the_{out}.*divides a constant"):
            mr.load(model)
    else:
        assert kinds(assert_keeps_values(model)) == ["Conv"]


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("shape", [(), (4,), (1, 4)])
@pytest.mark.parametrize("before", [False, True])
def test_constant_beside_dense(op: str, shape: tuple[int, ...], before: bool) -> None:
    sketch = Sketch(4)
    out = sketch.node(op, "x" if before else sketch.dense("x", 4, 4), sketch.positive(*shape))
    net = assert_keeps_values(sketch.model(sketch.dense(out, 4, 2) if before else out))
    assert kinds(net) == ["Dense"]


@pytest.mark.parametrize("before", [False, True])
def test_constants_in_nhwc_through_transpose(before: bool) -> None:
    sketch = Sketch(4, 5, 3)
    scaled = sketch.node("Add", sketch.node("Mul", "x", sketch.positive(3)), sketch.normal(3)) if before else "x"
    first = sketch.conv(sketch.node("Transpose", scaled, perm=[0, 3, 1, 2], out="nchw"), 3, 2, (2, 2))
    last = sketch.node("Transpose", first, perm=[0, 2, 3, 1], out="nhwc")
    if not before:
        last = sketch.node("Add", sketch.node("Mul", last, sketch.positive(2), out="scaled"), sketch.normal(2))
    net = assert_keeps_values(sketch.model(sketch.node("Relu", last)))
    assert kinds(net) == ["Transpose", "Conv", "Transpose", "Activation"]
    assert ("nchw" if before else "nhwc") in net.folded


def test_preprocessing_at_the_input() -> None:
    """x / 255, minus the mean, over the deviation: the network then starts at the raw pixels."""
    sketch = Sketch(3, 5, 5)
    unit = sketch.node("Div", "x", sketch.const(np.float32(255)), out="unit")
    centred = sketch.node("Sub", unit, sketch.const([[[0.485]], [[0.456]], [[0.406]]]), out="centred")
    scaled = sketch.node("Div", centred, sketch.const([[[0.229]], [[0.224]], [[0.225]]]), out="scaled")
    net = assert_keeps_values(sketch.model(flat_head(sketch, sketch.conv(scaled, 3, 2), 18)))
    assert kinds(net) == ["Conv", "Reshape", "Dense"]
    assert {"unit", "centred", "scaled"} <= net.folded


def test_consecutive_constants_after_conv() -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.conv("x", 2, 3)
    for op in ("Mul", "Add", "Div", "Sub", "Mul"):
        out = sketch.node(op, out, sketch.positive(3, 1, 1))
    out = sketch.batch_norm(out, 3)
    net = assert_keeps_values(sketch.model(out))
    assert kinds(net) == ["Conv"]
    assert net.layers[0].output == out


def test_constant_per_location_has_no_place_in_a_conv() -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.node("Add", sketch.conv("x", 2, 3), sketch.normal(1, 2, 2), out="map_bias")
    with pytest.raises(mr.UnsupportedModel, match="Add 'the_map_bias'"):
        mr.load(sketch.model(out))


def test_every_unfoldable_constant_is_listed() -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.node("Relu", "x")
    for name, op in (("m", "Mul"), ("a", "Add")):
        out = sketch.node(op, out, sketch.positive(2, 1, 1), out=name)
    out = sketch.node("Relu", sketch.batch_norm(sketch.node("Relu", out), 2, out="bn"))
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(sketch.model(flat_head(sketch, out, 32)))
    assert [entry.split(" (")[0] for entry in caught.value.nodes] == [
        "Mul 'the_m'",
        "Add 'the_a'",
        "BatchNormalization 'the_bn'",
    ]


def test_constant_that_is_not_finite_is_refused() -> None:
    sketch = Sketch(4)
    out = sketch.node("Add", sketch.dense("x", 4, 3), sketch.const([1.0, np.inf, 0.0], "infinite"), out="sum")
    with pytest.raises(mr.UnsupportedModel, match=r"the_sum.*'infinite' holds NaN or Inf"):
        mr.load(sketch.model(out))


# --- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 18])
def test_pad_dissolves_into_conv(opset: int) -> None:
    sketch = Sketch(2, 4, 5, opset=opset)
    pads = [0, 0, 1, 2, 0, 0, 0, 1]
    padded = (
        sketch.node("Pad", "x", pads=pads, out="padded")
        if opset < 11
        else sketch.node("Pad", "x", sketch.ints(*pads), out="padded")
    )
    net = assert_keeps_values(sketch.model(sketch.conv(padded, 2, 3, pads=[1, 0, 0, 0])))
    layer = net.layers[0]
    assert isinstance(layer, Conv)
    assert (layer.window.begin, layer.window.end) == ((2, 2), (0, 1))
    assert net.folded == {"padded"}


def test_pad_with_axes() -> None:
    sketch = Sketch(2, 4, 5, opset=18)
    padded = sketch.node("Pad", "x", sketch.ints(2, 1, 0, 1), sketch.const(np.float32(0)), sketch.ints(-1, 2))
    net = assert_keeps_values(sketch.model(sketch.conv(padded, 2, 3)))
    layer = net.layers[0]
    assert isinstance(layer, Conv)
    assert (layer.window.begin, layer.window.end) == ((1, 2), (1, 0))


def test_pads_in_a_row() -> None:
    sketch = Sketch(2, 4, 4)
    once = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 0, 0, 0, 0, 0))
    twice = sketch.node("Pad", once, sketch.ints(0, 0, 1, 0, 0, 0, 0, 2))
    assert kinds(assert_keeps_values(sketch.model(sketch.conv(twice, 2, 3)))) == ["Conv"]


def test_pad_through_an_nhwc_transpose() -> None:
    sketch = Sketch(4, 5, 2)
    padded = sketch.node("Pad", "x", sketch.ints(0, 1, 2, 0, 0, 0, 1, 0), out="padded")
    turned = sketch.node("Transpose", padded, perm=[0, 3, 1, 2], out="turned")
    net = assert_keeps_values(sketch.model(sketch.conv(turned, 2, 3)))
    assert kinds(net) == ["Transpose", "Conv"]
    assert {"padded", "turned"} <= net.folded


def test_constant_between_pad_and_conv() -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1))
    net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Mul", padded, sketch.positive(2, 1, 1)), 2, 3)))
    assert kinds(net) == ["Conv"]


def test_shift_between_pad_and_conv_keeps_its_value_in_the_padding() -> None:
    """The padding is shifted too, so the bias takes the shift and the Pad stays plain."""
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1))
    net = assert_keeps_values(sketch.model(sketch.conv(sketch.node("Add", padded, sketch.normal(2, 1, 1)), 2, 3)))
    assert kinds(net) == ["Conv"]


def test_pad_of_nothing_is_an_alias() -> None:
    sketch = Sketch(2, 4, 4)
    same = sketch.node("Pad", "x", sketch.ints(*[0] * 8), out="same")
    assert assert_keeps_values(sketch.model(sketch.conv(same, 2, 3))).tensor("same") == "x"


@pytest.mark.parametrize("options", [{"mode": "reflect"}, {"mode": "edge"}])
def test_other_padding_is_refused(options: dict[str, Any]) -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1), out="odd", **options)
    with pytest.raises(mr.UnsupportedModel, match=r"Pad 'the_odd'.*only padding with zeros"):
        mr.load(sketch.model(sketch.conv(padded, 2, 3)))
