"""Files whose input has no axis of samples: sizes of all its axes say that it is one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import Sketch


def build(shape: Sequence[int | str], end: Callable[[Sketch], str], *, kind: int = TensorProto.FLOAT) -> ModelProto:
    sketch = Sketch(1)
    sketch.inputs = [helper.make_tensor_value_info("x", kind, [*shape])]
    return sketch.model(end(sketch))


def features(s: Sketch) -> str:
    hidden = s.node("Relu", s.node("Add", s.node("MatMul", "x", s.normal(6, 8)), s.normal(8)))
    return s.node("Softmax", s.node("Add", s.node("MatMul", hidden, s.normal(8, 3)), s.normal(3)), axis=-1)


def picture(s: Sketch) -> str:
    mean = s.node("GlobalAveragePool", s.node("Relu", s.conv(s.node("Unsqueeze", "x", s.ints(0)), 3, 4)))
    return s.node("Squeeze", s.dense(s.node("Flatten", mean), 4, 3), s.ints(0))


def picture_channels_last(s: Sketch) -> str:
    """Scaled, as files are that take pictures as they are."""
    scaled = s.node("Div", s.node("Sub", "x", s.const([0.4, 0.5, 0.6])), s.const(0.25))
    front = s.node("Unsqueeze", s.node("Transpose", scaled, perm=[2, 0, 1]), s.ints(0))
    mean = s.node("GlobalAveragePool", s.node("Relu", s.conv(front, 3, 4)))
    return s.dense(s.node("Flatten", mean), 4, 3)


def sequence(s: Sketch) -> str:
    steps = s.node("Unsqueeze", "x", s.ints(1))
    y = s.node("LSTM", steps, s.normal(1, 16, 6), s.normal(1, 16, 4), outputs=3, hidden_size=4)
    return s.dense(s.node("Squeeze", f"{y}_1", s.ints(0)), 4, 3)


def wave(s: Sketch) -> str:
    front = s.node("Unsqueeze", "x", s.ints(0, 1))
    return s.dense(s.node("ReduceMean", s.node("Relu", s.conv(front, 1, 4, (5,))), axes=[2], keepdims=0), 4, 3)


def wave_twice(s: Sketch) -> str:
    front = s.node("Unsqueeze", s.node("Unsqueeze", "x", s.ints(0)), s.ints(0))
    return s.dense(s.node("ReduceMean", s.node("Relu", s.conv(front, 1, 4, (5,))), axes=[2], keepdims=0), 4, 3)


def rows(s: Sketch) -> str:
    hidden = s.node("Relu", s.dense("x", 6, 8))
    turned = s.node("Gemm", hidden, s.normal(3, 8), s.normal(3), transB=1)
    return s.node("ReduceMean", turned, axes=[0], keepdims=0)


def frames(s: Sketch) -> str:
    """Windows of a recording, each taken apart by convolutions as one of a batch, then one step of a sequence."""
    front = s.node("Pad", "x", s.ints(0, 0, 0, 2), mode="reflect")
    made = s.node("Relu", s.conv(s.node("Unsqueeze", front, s.ints(1)), 1, 4, (4,), strides=[2]))
    pooled = s.node("MaxPool", made, kernel_shape=[2], strides=[2])
    steps = s.node("Transpose", s.node("ReduceMean", pooled, axes=[2], keepdims=1), perm=[0, 2, 1])
    y = s.node("LSTM", steps, s.normal(1, 12, 4), s.normal(1, 12, 3), outputs=3, hidden_size=3)
    row = s.node("Transpose", s.node("Relu", s.node("Squeeze", y, s.ints(1))), perm=[1, 2, 0])
    return s.node("Reshape", s.node("Sigmoid", s.conv(row, 3, 1, (1,))), s.ints(-1))


def both_ways(s: Sketch) -> str:
    """A layer forward and one over the steps turned around, put side by side; the batch is dropped behind each."""
    ends = s.ints(-1), s.ints(-(2**31)), s.ints(0), s.ints(-1)

    def layer(name: str) -> str:
        steps = s.node("Unsqueeze", name, s.ints(1))
        y = s.node("GRU", steps, s.normal(1, 9, 6), s.normal(1, 9, 3), outputs=2, hidden_size=3, linear_before_reset=1)
        return s.node("Squeeze", s.node("Squeeze", y, s.ints(2)), s.ints(1))

    back = s.node("Slice", layer(s.node("Slice", "x", *ends)), *ends)
    return s.node("MatMul", s.node("Concat", layer("x"), back, axis=1), s.normal(6, 2))


def picture_and_back(s: Sketch) -> str:
    """A convolution for which an axis is made and taken away again; sizes of the rest are computed."""
    front = s.node("Transpose", s.node("Unsqueeze", "x", s.ints(0, -1)), perm=[0, 3, 1, 2])
    made = s.node("Transpose", s.node("Elu", s.conv(front, 1, 3, pads=[1, 1, 1, 1])), perm=[0, 2, 3, 1])
    rows_ = s.node("Squeeze", made, s.ints(0))
    first = s.node("Gather", s.node("Shape", rows_), s.ints(0), axis=0)
    flat = s.node("Reshape", rows_, s.node("Concat", first, s.ints(-1), axis=0))
    return s.node("Squeeze", s.node("MatMul", flat, s.normal(24, 1)))


def flattened_rows(s: Sketch) -> str:
    front = s.node("Unsqueeze", "x", s.ints(1))
    scaled = s.node("BatchNormalization", front, *(s.positive(1) for _ in range(4)))
    return s.dense(s.node("Flatten", s.node("Relu", s.conv(scaled, 1, 2, (3,)))), 8, 3)


def slopes_of_rows(s: Sketch) -> str:
    """Each row has a slope of its own."""
    bent = s.node("PRelu", "x", s.positive(5, 1))
    y = s.node(
        "LSTM", s.node("Unsqueeze", bent, s.ints(1)), s.normal(1, 12, 6), s.normal(1, 12, 3), outputs=3, hidden_size=3
    )
    last = s.node("Squeeze", f"{y}_1", s.ints(0, 1))
    return s.node("MatMul", last, s.normal(3, 2))


def mean_of_all(s: Sketch) -> str:
    """An empty list of axes stands for all of them."""
    s.opset = 18
    hidden = s.node("Relu", s.node("MatMul", "x", s.normal(6, 8)))
    mean = s.node("ReduceMean", hidden, s.const(np.zeros(0, np.int64)), keepdims=1)
    return s.node("MatMul", mean, s.normal(1, 2))


NETWORKS: dict[str, tuple[Callable[[Sketch], str], tuple[int | str, ...], tuple[int, ...]]] = {
    "features": (features, (6,), (6,)),
    "picture": (picture, (3, 8, 8), (3, 8, 8)),
    "picture of any size": (picture, (3, "h", "w"), (3, 8, 8)),
    "picture, channels last": (picture_channels_last, (8, 8, 3), (8, 8, 3)),
    "sequence": (sequence, ("T", 6), (9, 6)),
    "wave": (wave, ("samples",), (40,)),
    "wave, an axis after the other": (wave_twice, (40,), (40,)),
    "rows": (rows, (5, 6), (5, 6)),
    "frames": (frames, ("frames", 16), (7, 16)),
    "both ways": (both_ways, ("T", 6), (5, 6)),
    "picture and back": (picture_and_back, ("frames", "bands"), (5, 8)),
    "flattened rows": (flattened_rows, (5, 6), (5, 6)),
    "slopes of rows": (slopes_of_rows, (5, 6), (5, 6)),
    "mean of all": (mean_of_all, ("T", 6), (5, 6)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_sample_is_what_the_file_makes_of_it(name: str) -> None:
    end, shape, sizes = NETWORKS[name]
    model = build(shape, end)
    net = mr.load(model, input_shape={"x": sizes})
    assert (net.input_shape, net.blocked) == (sizes, {})
    x = np.random.default_rng(3).standard_normal((20, *sizes), np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.stack([np.asarray(session.run(None, {"x": one})[0]).reshape(-1) for one in x])
    made, logits = net.predict(x)
    # Sums of at most 4 · 75 products in float32.
    np.testing.assert_allclose(made if net.head else logits, expected, rtol=1e-4, atol=1e-5)
    target = tuple(min(1, length - 1) for length in net.target_shape)
    result = mr.fit(net, x, target=target).attribute(x[:4])
    assert result.attribution.shape == (4, *sizes)
    assert np.all(np.abs(result.attribution).max(axis=tuple(range(1, result.attribution.ndim))) > 0)


@pytest.mark.parametrize("opset", [7, 11, 13, 21])
def test_rows_in_every_spelling_of_axes(opset: int) -> None:
    """Axes are an attribute up to opset 12. The output is of no told type."""
    rng = np.random.default_rng(0)
    axes: dict[str, Any] = {"axes": [1]} if opset < 13 else {}
    told = [] if axes else ["one"]
    nodes = [
        helper.make_node("Unsqueeze", ["x", *told], ["u"], **axes),
        helper.make_node("Conv", ["u", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[2], keepdims=0)
        if opset < 18
        else helper.make_node("ReduceMean", ["c", "two"], ["m"], keepdims=0),
        helper.make_node("Unsqueeze", ["m", *told], ["steps"], **axes),
        helper.make_node("LSTM", ["steps", "W", "R"], ["y"], hidden_size=3, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "rows"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["out"]),
    ]
    shapes = {"w": (4, 1, 3), "W": (2, 12, 4), "R": (2, 12, 3), "v": (6, 2)}
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    whole = {"one": [1], "two": [2], "rows": [0, -1]}
    held = [numpy_helper.from_array(value, name) for name, value in made.items()]
    held += [numpy_helper.from_array(np.array(value), name) for name, value in whole.items()]
    read = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 8])
    graph = helper.make_graph(nodes, "g", [read], [ValueInfoProto(name="out")], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    net, x = mr.load(model, input_shape={"x": (5, 8)}), rng.standard_normal((9, 5, 8)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.stack([session.run(None, {"x": one})[0].reshape(-1) for one in x])
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=1e-4, atol=1e-5)


def test_a_picture_is_explained_as_by_the_file_that_has_the_axis() -> None:
    def with_axis(s: Sketch) -> str:
        mean = s.node("GlobalAveragePool", s.node("Relu", s.conv(s.node("Identity", "x"), 3, 4)))
        return s.dense(s.node("Flatten", mean), 4, 3)

    def one(s: Sketch) -> str:
        mean = s.node(
            "GlobalAveragePool",
            s.node("Relu", s.conv(s.node("Unsqueeze", "x", s.const(np.zeros(1, np.int64), "axis")), 3, 4)),
        )
        return s.dense(s.node("Flatten", mean), 4, 3)

    x = np.random.default_rng(3).standard_normal((20, 3, 8, 8), np.float32)
    nets = [mr.load(build((3, 8, 8), one), input_shape={"x": (3, 8, 8)}), mr.load(build(("N", 3, 8, 8), with_axis))]
    first, second = (mr.fit(net, x, target=1).attribute(x) for net in nets)
    np.testing.assert_array_equal(first.source, second.source)
    np.testing.assert_array_equal(first.attribution, second.attribution)


def test_ids_of_one_text_are_looked_up_for_each() -> None:
    def text(s: Sketch) -> str:
        looked = s.node("Gather", s.normal(20, 6), "x")
        return s.dense(s.node("Unsqueeze", s.node("ReduceMean", looked, axes=[0], keepdims=0), s.ints(0)), 6, 3)

    net = mr.load(build(("T",), text, kind=TensorProto.INT64), input_shape={"x": (7,)})
    x = np.random.default_rng(3).integers(0, 20, (9, 7))
    assert mr.fit(net, x, target=1).attribute(x).attribution.shape == (9, 7, 6)


def test_what_is_not_followed_is_told_with_what_to_do() -> None:
    model = build((6,), lambda s: s.node("CumSum", "x", s.const(np.array(0, np.int64))))
    with pytest.raises(
        mr.InvalidData, match=r"no axis of samples, and CumSum 'the_cumsum0' is not followed there: export"
    ):
        mr.load(model, input_shape={"x": (6,)})


def test_without_the_sizes_the_message_tells_the_option() -> None:
    for name in ("features", "picture"):
        end, shape, _ = NETWORKS[name]
        with pytest.raises(mr.UnsupportedModel, match="option 'input_shape' with the sizes of all"):
            mr.load(build(shape, end))


@pytest.mark.parametrize("sizes", [(1, 6), (5, 7), (0, 6), (5.0, 6)])
def test_sizes_that_are_none_of_one_sample(sizes: tuple[int, ...]) -> None:
    with pytest.raises(mr.InvalidData, match="input_shape of 'x'"):
        mr.load(build(("T", 6), rows), input_shape={"x": sizes})


def with_states(sketch: Sketch) -> ModelProto:
    """A sequence [T, 6] and the state that it begins with [4], of which the network hands on the last."""
    kinds: dict[str, list[str | int | None]] = {"x": ["T", 6], "h": [4], "c": [4]}
    sketch.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in kinds.items()]
    h, c = (sketch.node("Unsqueeze", name, sketch.ints(0, 1)) for name in ("h", "c"))
    weights = sketch.normal(1, 16, 6), sketch.normal(1, 16, 4)
    steps = sketch.node("Unsqueeze", "x", sketch.ints(1))
    y = sketch.node("LSTM", steps, *weights, "", "", h, c, outputs=3, hidden_size=4)
    rows_ = sketch.node("Squeeze", y, sketch.ints(1, 2))
    model = sketch.model(sketch.node("Sigmoid", sketch.dense(rows_, 4, 1)))
    model.graph.output.append(helper.make_empty_tensor_value_info(f"{y}_2"))
    return model


def test_other_inputs_are_bound() -> None:
    model, zeros = with_states(Sketch(1)), np.zeros(4, np.float32)
    given, output = {"h": zeros, "c": zeros}, model.graph.output[0].name
    net = mr.load(model, input_shape={"x": (5, 6)}, given=given, output=output)
    x = np.random.default_rng(3).standard_normal((20, 5, 6), np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.stack([session.run([output], {"x": one, **given})[0].reshape(-1) for one in x])
    np.testing.assert_allclose(net.predict(x)[0], expected, rtol=1e-4, atol=1e-5)
    assert mr.fit(net, x, target=1).attribute(x[:4]).attribution.shape == (4, 5, 6)
    again = mr.load(model.SerializeToString(), input_shape={"x": (5, 6)}, given={"h": 0, "c": 0}, output=output)
    assert again.sha256 == net.sha256


def test_what_other_inputs_are_bound_to_is_part_of_the_network() -> None:
    sketch = Sketch(1)
    sketch.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [6]) for name in ("x", "y")]
    model = sketch.model(sketch.node("MatMul", sketch.node("Mul", "x", "y"), sketch.normal(6, 2)))
    nets = [mr.load(model, input_shape={"x": (6,)}, given={"y": np.full(6, k, np.float32)}) for k in (1, 2)]
    assert nets[0].sha256 != nets[1].sha256
    x = np.random.default_rng(3).standard_normal((9, 6), np.float32)
    np.testing.assert_allclose(nets[1].predict(x)[1], 2 * nets[0].predict(x)[1], rtol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_what_is_made_of_given_values_alone_is_a_constant(kind: int) -> None:
    """A matrix that is cut out of what is given; sizes are NumPy's integers; metadata stay."""
    sketch = Sketch(1, dtype=kind)
    sketch.inputs = [helper.make_tensor_value_info("x", kind, ["T", 6])]
    sketch.inputs.append(helper.make_tensor_value_info("both", kind, [2, 6, 3]))
    matrix = sketch.node("Gather", "both", sketch.const(np.array(1)), axis=0)
    mean = sketch.node("ReduceMean", sketch.node("Relu", sketch.node("MatMul", "x", matrix)), axes=[0], keepdims=0)
    model = sketch.model(mean)
    model.metadata_props.add(key="names", value="['a', 'b', 'c']")
    both = np.random.default_rng(4).standard_normal((2, 6, 3))
    sizes: Any = (np.int64(5), np.int32(6))
    net = mr.load(model, input_shape={"x": sizes}, given={"both": both})
    assert net.metadata["names"] == "['a', 'b', 'c']"
    x = np.random.default_rng(3).standard_normal((9, 5, 6))
    expected = np.maximum(x @ both[1], 0).mean(axis=1)
    eps = 2.0 ** -{int(TensorProto.FLOAT): 23, int(TensorProto.DOUBLE): 52}.get(kind, 10)
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=0, atol=30 * eps * np.abs(expected).max())


def test_an_output_that_nobody_asks_for_stops_nothing() -> None:
    sketch = Sketch(1)
    sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 6])]
    out = sketch.node("MatMul", "x", sketch.normal(6, 2))
    model = sketch.model(out)
    model.graph.node.append(helper.make_node("NonZero", ["x"], ["places"]))
    model.graph.output.append(ValueInfoProto(name="places"))
    with pytest.raises(mr.InvalidData, match=r"NonZero .* is not followed there"):
        mr.load(model, input_shape={"x": (4, 6)})
    assert mr.load(model, input_shape={"x": (4, 6)}, output=out).target_shape == (4, 2)


def test_sizes_that_depend_on_values_are_no_constants() -> None:
    """The number of values that are not zero, which the file takes the size of."""

    def end(s: Sketch) -> str:
        count = s.node("Gather", s.node("Shape", s.node("NonZero", "x")), s.ints(1), axis=0)
        return s.node("MatMul", s.node("Add", "x", s.node("Cast", count, to=TensorProto.FLOAT)), s.normal(6, 2))

    with pytest.raises(mr.InvalidData, match=r"NonZero .* is not followed there"):
        mr.load(build((6,), end), input_shape={"x": (6,)})


def test_a_value_takes_the_place_of_the_default() -> None:
    sketch = Sketch(1)
    sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 6])]
    sketch.inputs.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [2]))
    out = sketch.node("Add", sketch.node("MatMul", "x", sketch.normal(6, 2)), "b")
    model = sketch.model(sketch.node("Relu", out))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "b"))
    given, x = np.array([3, 5], np.float32), np.random.default_rng(3).standard_normal((9, 4, 6), np.float32)
    net = mr.load(model, input_shape={"x": (4, 6)}, given={"b": given})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.stack([session.run(None, {"x": one, "b": given})[0].reshape(-1) for one in x])
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=1e-4, atol=1e-5)


def test_a_squeeze_of_nothing_and_an_output_of_truth_values() -> None:
    read = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 6])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["made"]),
        helper.make_node("Squeeze", ["made"], ["out"]),
        helper.make_node("Greater", ["out", "zero"], ["positive"]),
    ]
    weight = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    held = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    graph = helper.make_graph(nodes, "g", [read], [ValueInfoProto(name=name) for name in ("out", "positive")], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    net = mr.load(model, input_shape={"x": (4, 6)}, output="out")
    x = np.random.default_rng(3).standard_normal((9, 4, 6), np.float32)
    np.testing.assert_allclose(net.predict(x)[1], (x @ weight).reshape(9, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"h": np.ones(4, np.float32), "c": np.zeros(4, np.float32)}, "LSTM .* is not followed there"),
        ({"h": np.zeros(5, np.float32), "c": np.zeros(4, np.float32)}, r"given 'h' has shape \[5\]"),
        ({"h": np.zeros(4, np.float32)}, "bind all other inputs to values, option 'given'"),
        ({"h": np.zeros(4, np.float32), "c": np.zeros(4, np.float32), "d": 1.0}, "no input 'd'"),
    ],
)
def test_values_of_other_inputs_that_do_not_do(given: dict[str, object], said: str) -> None:
    model = with_states(Sketch(1))
    with pytest.raises(mr.InvalidData, match=said):
        mr.load(model, input_shape={"x": (5, 6)}, given=given, output=model.graph.output[0].name)


def test_sizes_that_the_file_cannot_take_are_told_first() -> None:
    model = build(("T", "F"), lambda s: s.node("CumSum", s.node("MatMul", "x", s.normal(6, 2)), s.const(np.array(0))))
    with pytest.raises(
        mr.UnsupportedModel, match="cannot run the file on one sample of 5×7, which option 'input_shape'"
    ):
        mr.load(model, input_shape={"x": (5, 7)})


def test_of_several_inputs_none_lacks_the_axis_of_samples() -> None:
    sketch = Sketch(1)
    sketch.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", 6]) for name in ("x", "y")]
    model = sketch.model(sketch.dense(sketch.node("Add", "x", "y"), 6, 2))
    with pytest.raises(
        mr.InvalidData, match="input_shape of 'x' has 2 sizes, as many as the input has axes: leave out"
    ):
        mr.load(model, input_shape={"x": (5, 6)}, input="x")
