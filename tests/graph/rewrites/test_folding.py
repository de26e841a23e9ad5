"""Constants, batch norms and paddings dissolve into a neighbouring layer where they may; else they stay layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.rewrites.affines import scaled_output
from mipin_ref.layers import Affine, Conv, MaxPool, Norm
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

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


@pytest.mark.parametrize("side", range(4))
def test_shift_before_a_padded_conv_stays(side: int) -> None:
    """Padded on one side, the last one as a stride of two with SAME_UPPER has it."""
    sketch, pads = Sketch(2, 5, 5), [0, 0, 0, 0]
    pads[side] = 1
    normed = sketch.batch_norm("x", 2, out="normed")
    net = assert_keeps_values(sketch.model(sketch.conv(normed, 2, 3, pads=pads)))
    assert kinds(net) == ["Affine", "Conv"]
    assert net.tensor("normed") == "normed"


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
        # Where x is close to zero its reciprocal has no digits to compare.
        model = sketch.model(sketch.node("Div", inputs[0], sketch.node("Exp", source)))
        assert "Reciprocal" in [layer.describe() for layer in mr.load(model).layers]
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


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("before", [False, True])
def test_constant_per_location_stays(op: str, before: bool) -> None:
    sketch = Sketch(2, 4, 4)
    source = "x" if before else sketch.conv("x", 2, 3, out="mixed")
    out = sketch.node(op, source, sketch.positive(1, *((4, 4) if before else (2, 2))), out="changed")
    net = assert_keeps_values(sketch.model(sketch.conv(out, 2, 3) if before else out))
    assert kinds(net) == (["Affine", "Conv"] if before else ["Conv", "Affine"])
    assert not net.folded


def test_constant_given_for_every_location_but_the_same_in_each_folds() -> None:
    sketch = Sketch(2, 4, 4)
    shift = np.broadcast_to(sketch.rng.standard_normal((3, 1, 1)), (3, 2, 2))
    assert kinds(
        assert_keeps_values(sketch.model(sketch.node("Add", sketch.conv("x", 2, 3), sketch.const(shift))))
    ) == ["Conv"]


def test_constants_without_a_neighbour_stay() -> None:
    """Those in a row become one."""
    sketch = Sketch(2, 4, 4)
    out = sketch.node("Relu", "x")
    for name, op in (("m", "Mul"), ("a", "Add")):
        out = sketch.node(op, out, sketch.positive(2, 1, 1), out=name)
    out = sketch.node("Relu", sketch.batch_norm(sketch.node("Relu", out), 2, out="bn"))
    net = assert_keeps_values(sketch.model(flat_head(sketch, out, 32)))
    assert kinds(net) == ["Activation", "Affine", "Activation", "Affine", "Activation", "Reshape", "Dense"]
    assert net.folded == {"m"}
    affine = net.layers[1]
    assert isinstance(affine, Affine)
    assert affine.output == "a"
    assert affine.scale.shape == affine.shift.shape == (2, 1, 1)
    assert affine.scale.dtype == affine.shift.dtype == net.dtype
    assert affine.parameters == 4


def test_constant_that_does_not_vary_has_axes_of_length_one() -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.node("Mul", "x", sketch.const(np.full((2, 4, 4), 3.0)))
    affine = assert_keeps_values(sketch.model(sketch.node("Relu", out))).layers[0]
    assert isinstance(affine, Affine)
    assert affine.scale.shape == affine.shift.shape == (1, 1, 1)


def test_constant_that_is_not_finite_is_refused() -> None:
    sketch = Sketch(4)
    out = sketch.node("Add", sketch.dense("x", 4, 3), sketch.const([1.0, np.inf, 0.0], "infinite"), out="sum")
    with pytest.raises(mr.UnsupportedModel, match=r"the_sum.*'infinite' holds NaN or Inf"):
        load_whole(sketch.model(out))


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


def test_pad_with_another_constant_stays() -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1), sketch.const(np.float32(0.5)))
    assert kinds(assert_keeps_values(sketch.model(sketch.conv(padded, 2, 3)))) == ["Pad", "Conv"]


def test_pad_with_minus_infinity_dissolves_into_a_max_pool() -> None:
    """TensorFlow's SAME, as NASNet has it."""
    sketch = Sketch(2, 5, 6)
    lowest = sketch.const(np.float32(-np.inf))
    padded = sketch.node("Pad", sketch.conv("x", 2, 3), sketch.ints(0, 0, 0, 1, 0, 0, 1, 2), lowest, out="padded")
    pooled = sketch.node("MaxPool", padded, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 0])
    net = assert_keeps_values(sketch.model(sketch.conv(pooled, 3, 2, (1, 1))))
    assert kinds(net) == ["Conv", "MaxPool", "Conv"]
    pool = net.layers[1]
    assert isinstance(pool, MaxPool)
    assert (pool.window.begin, pool.window.end) == ((1, 1), (1, 2))
    assert net.folded == {"padded"}


@pytest.mark.parametrize("case", ["read twice", "as wide as the kernel", "in front of a Conv"])
def test_other_pads_with_minus_infinity_block(case: str) -> None:
    sketch = Sketch(2, 5, 6)
    lowest, behind = sketch.const(np.float32(-np.inf)), 3 if case == "as wide as the kernel" else 1
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 0, 0, 0, 0, 0, behind), lowest, out="padded")
    if case == "in front of a Conv":
        made = sketch.node("Clip", sketch.conv(padded, 2, 2, (1, 1)), sketch.const(-9.0))
    else:
        made = sketch.node("MaxPool", padded, kernel_shape=[3, 3])
    if case == "read twice":
        most = sketch.node("GlobalMaxPool", sketch.node("Clip", padded, sketch.const(-9.0)))
        made = sketch.node("Add", made, most)
    model = sketch.model(sketch.conv(made, 2, 2, (1, 1)), check=False)
    net = mr.load(model, check=False)
    (problem,) = net.blocked["x"]
    assert "the_padded" in str(problem)
    assert "pads with -inf" in str(problem)
    if case != "in front of a Conv":
        with pytest.raises(mr.UnsupportedModel, match=r"hold NaN or Inf: Pad 'the_padded' \(it pads with -inf"):
            mr.load(model)


def test_pad_of_channels_stays() -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 1, 0, 0, 0, 0, 0, 0))
    assert kinds(assert_keeps_values(sketch.model(sketch.conv(padded, 3, 3)))) == ["Pad", "Conv"]


def test_pad_of_channels_through_a_transpose() -> None:
    """What is a channel before the Transpose is a location behind it."""
    sketch = Sketch(4, 5, 2)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 0, 1, 0, 2, 0, 0), out="padded")
    turned = sketch.node("Transpose", padded, perm=[0, 2, 1, 3], out="turned")
    net = assert_keeps_values(sketch.model(sketch.conv(turned, 5, 3)))
    assert kinds(net) == ["Transpose", "Conv"]
    conv = net.layers[1]
    assert isinstance(conv, Conv)
    assert (conv.window.begin, conv.window.end) == ((0, 1), (2, 0))


# --- tensors that several layers read ---------------------------------------------------------------------------------


def test_batch_norm_of_a_conv_that_another_layer_reads_stays() -> None:
    sketch = Sketch(2, 5, 5)
    mixed = sketch.conv("x", 2, 3, out="mixed")
    normed = sketch.batch_norm(mixed, 3, out="normed")
    net = assert_keeps_values(sketch.model(sketch.node("Add", mixed, normed)))
    assert kinds(net) == ["Conv", "Affine", "Add"]
    assert not net.folded


def test_batch_norm_that_two_layers_read_folds_up() -> None:
    sketch = Sketch(2, 5, 5)
    normed = sketch.batch_norm(sketch.conv("x", 2, 3, out="mixed"), 3, out="normed")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.node("Relu", normed), normed)))
    assert kinds(net) == ["Conv", "Activation", "Add"]
    assert net.folded == {"mixed"}
    assert [layer.inputs for layer in net.layers[1:]] == [("normed",), (net.layers[1].output, "normed")]


def test_batch_norm_that_a_layer_reads_twice_folds_up() -> None:
    sketch = Sketch(2, 5, 5)
    normed = sketch.batch_norm(sketch.conv("x", 2, 3), 3, out="normed")
    net = assert_keeps_values(sketch.model(sketch.node("Add", normed, normed)))
    assert [layer.inputs for layer in net.layers] == [("x",), ("normed", "normed")]


def test_conv_that_the_batch_norm_and_a_join_read() -> None:
    """Once directly, once by another name."""
    sketch = Sketch(2, 5, 5)
    mixed = sketch.conv("x", 2, 3, out="mixed")
    same = sketch.node("Identity", mixed, out="same")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.batch_norm(mixed, 3), same)))
    assert kinds(net) == ["Conv", "Affine", "Add"]
    assert net.tensor("same") == "mixed"


def test_name_of_a_folded_tensor_is_folded_too() -> None:
    sketch = Sketch(2, 5, 5)
    same = sketch.node("Identity", sketch.conv("x", 2, 3, out="mixed"), out="same")
    normed = sketch.node("Identity", sketch.batch_norm(same, 3, out="normed"), out="other")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.node("Relu", normed), normed)))
    assert net.folded == {"mixed", "same"}
    assert net.tensor("other") == "normed"


@pytest.mark.parametrize("between", ["Transpose", "Reshape"])
def test_shape_layer_that_another_layer_reads_keeps_a_constant_from_folding(between: str) -> None:
    """Up and down alike: the values of the tensor between would change for both."""
    for up in (True, False):
        sketch = Sketch(2, 4, 4)
        options: dict[str, Any] = {"perm": [0, 1, 3, 2]} if between == "Transpose" else {}
        shape = [] if between == "Transpose" else [sketch.ints(0, 2, 8, 2)]
        if up:
            moved = sketch.node(between, sketch.conv("x", 2, 2, (1, 1)), *shape, **options)
            out = sketch.node("Add", sketch.node("Relu", moved), sketch.batch_norm(moved, 2))
        else:
            moved = sketch.node(between, sketch.batch_norm(sketch.node("Relu", "x"), 2), *shape, **options)
            out = sketch.node("Add", sketch.node("Relu", moved), sketch.conv(moved, 2, 2, (1, 1)))
        net = assert_keeps_values(sketch.model(out))
        assert "Affine" in kinds(net)
        assert not net.folded


def test_constant_before_a_conv_that_another_layer_reads_stays() -> None:
    sketch = Sketch(2, 5, 5)
    scaled = sketch.node("Mul", "x", sketch.positive(2, 1, 1), out="scaled")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.conv(scaled, 2, 2, (1, 1)), scaled)))
    assert kinds(net) == ["Affine", "Conv", "Add"]
    assert not net.folded


def test_constants_in_a_row_of_which_the_first_has_another_reader() -> None:
    sketch = Sketch(2, 5, 5)
    first = sketch.node("Mul", "x", sketch.positive(2, 1, 1), out="first")
    second = sketch.node("Add", first, sketch.normal(2, 1, 1), out="second")
    net = assert_keeps_values(sketch.model(sketch.node("Sum", first, second, sketch.node("Relu", second))))
    assert kinds(net) == ["Affine", "Affine", "Activation", "Add"]


def test_pad_that_two_convs_read_stays() -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1), out="padded")
    out = sketch.node("Add", sketch.conv(padded, 2, 3), sketch.conv(padded, 2, 3))
    net = assert_keeps_values(sketch.model(out))
    assert kinds(net) == ["Pad", "Conv", "Conv", "Add"]
    assert net.tensor("padded") == "padded"


def test_pad_behind_a_transpose_that_two_layers_read_stays() -> None:
    sketch = Sketch(4, 5, 2)
    padded = sketch.node("Pad", "x", sketch.ints(0, 1, 2, 0, 0, 0, 1, 0), out="padded")
    turned = sketch.node("Transpose", padded, perm=[0, 3, 1, 2], out="turned")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.conv(turned, 2, 2, (1, 1)), turned)))
    assert kinds(net) == ["Pad", "Transpose", "Conv", "Add"]
    assert not net.folded


def test_pad_of_a_tensor_that_another_layer_reads_dissolves() -> None:
    sketch = Sketch(2, 4, 4)
    fired = sketch.node("Relu", "x", out="fired")
    padded = sketch.node("Pad", fired, sketch.ints(0, 0, 1, 1, 0, 0, 1, 1), out="padded")
    net = assert_keeps_values(sketch.model(sketch.node("Add", sketch.conv(padded, 2, 2, (3, 3)), fired)))
    assert kinds(net) == ["Activation", "Conv", "Add"]
    assert net.folded == {"padded"}


def test_names_that_rewrites_give_are_new() -> None:
    """The file already has the names that the tensors around a folded constant would get."""
    sketch = Sketch(4, 5, 3)
    sketch.node("Relu", "x", out="turned:unscaled")
    scaled = sketch.node("Mul", "turned:unscaled", sketch.positive(3), out="scaled")
    turned = sketch.node("Transpose", scaled, perm=[0, 3, 1, 2], out="turned")
    net = assert_keeps_values(sketch.model(sketch.conv(turned, 3, 2)))
    assert kinds(net) == ["Activation", "Transpose", "Conv"]
    assert [layer.output for layer in net.layers[:2]] == ["turned:unscaled", "turned:unscaled'"]
    assert net.folded == {"scaled", "turned"}


@pytest.mark.parametrize(
    ("own", "over", "by", "axis"),
    [
        ((1, 1), (2,), (4, 1), 1),  # normalised over one axis, scaled along the other: an InstanceNorm
        ((1, 1), (2,), (1, 5), 2),
        ((1, 5), (2,), (4, 1), 2),  # a LayerNorm that has a scale of its own stays one
        ((1, 1), (1, 2), (4, 1), 2),
        ((1, 1), (2,), (4, 5), 2),
    ],
)
def test_the_channels_of_a_norm_that_is_scaled(
    own: tuple[int, ...], over: tuple[int, ...], by: tuple[int, ...], axis: int
) -> None:
    rng = np.random.default_rng(0)
    norm = Norm(
        name="norm",
        inputs=("x",),
        output="y",
        in_shapes=((4, 5),),
        out_shape=(4, 5),
        split=(4, 5),
        over=over,
        centred=True,
        axis=2,
        scale=rng.random(own) + 1,
        shift=np.zeros(own),
    )
    scaled = scaled_output(norm, rng.random(by) + 1, np.zeros(by))
    assert isinstance(scaled, Norm)
    assert scaled.axis == axis
