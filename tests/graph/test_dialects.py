"""Old and new opsets, where weights may stand, softmax ends, element types, functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder, logits
from mipin_ref.layers import Dense
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole, tensors_of


def small_cnn(sketch: Sketch) -> str:
    normed = sketch.batch_norm(sketch.conv("x", 2, 3, out="mixed"), 3)
    pooled = sketch.node("MaxPool", sketch.node("Relu", normed), kernel_shape=[2, 2], strides=[2, 2])
    return sketch.dense(sketch.node("Flatten", pooled), 12, 3)


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 20, 26])
def test_opsets(opset: int) -> None:
    sketch = Sketch(2, 6, 6, opset=opset, ir=10)
    assert_keeps_values(sketch.model(small_cnn(sketch)))


@pytest.mark.parametrize("ir", [4, 6, 8, 10, 12, 13])
def test_ir_versions(ir: int) -> None:
    sketch = Sketch(2, 6, 6, opset=13, ir=ir)
    assert_keeps_values(sketch.model(small_cnn(sketch)))


def test_ir_3_lists_initializers_as_inputs() -> None:
    sketch = Sketch(2, 6, 6, opset=9, ir=3)
    out = small_cnn(sketch)
    sketch.inputs.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in sketch.initializers)
    net = assert_keeps_values(sketch.model(out))
    assert net.input == "x"


@pytest.mark.parametrize("opset", [9, 13, 20])
def test_weights_as_constant_nodes(opset: int) -> None:
    sketch = Sketch(2, 6, 6, opset=opset)
    model = sketch.model(small_cnn(sketch))
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor, name=f"const_{tensor.name}")
        for tensor in model.graph.initializer
    ]
    nodes = [*constants, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    assert_keeps_values(model)


def test_constant_attribute_forms() -> None:
    sketch = Sketch(4)
    bias = sketch.node("Constant", value_floats=[0.5, -1.0, 2.0])
    scale = sketch.node("Constant", value_float=0.25)
    target = sketch.node("Constant", value_ints=[0, -1])
    flat = sketch.node("Reshape", "x", target)
    assert_keeps_values(sketch.model(sketch.node("Mul", sketch.node("Gemm", flat, sketch.normal(4, 3), bias), scale)))


def test_constant_of_shape() -> None:
    sketch = Sketch(4)
    fill = numpy_helper.from_array(np.array([0.3], np.float32))
    weight = sketch.node("ConstantOfShape", sketch.ints(4, 3), value=fill)
    bias = sketch.node("Expand", sketch.const([0.5]), sketch.ints(3))
    assert_keeps_values(sketch.model(sketch.node("Gemm", "x", weight, bias)))


def test_sparse_initializer_is_named() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3), out="product"))
    weight = model.graph.initializer.pop()
    values = numpy_helper.from_array(np.ones(1, np.float32), weight.name)
    indices = numpy_helper.from_array(np.array([2], np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3]))
    with pytest.raises(mr.UnsupportedModel, match="the_product"):
        load_whole(model)


# --- softmax ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "axis"), [(9, None), (9, 1), (13, None), (13, -1), (13, 1)])
@pytest.mark.parametrize("behind", [None, "Identity", "Reshape"])
def test_final_softmax_is_removed(op: str, opset: int, axis: int | None, behind: str | None) -> None:
    sketch = Sketch(4, opset=opset)
    scores = sketch.dense("x", 4, 3)
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    out = sketch.node(op, scores, **options)
    if behind == "Identity":
        out = sketch.node("Identity", out)
    elif behind == "Reshape":
        out = sketch.node("Reshape", out, sketch.ints(-1, 3, 1))
    net = assert_keeps_values(sketch.model(out))
    assert net.head == "softmax"
    assert net.tensor(scores) == scores
    assert net.output == out
    with pytest.raises(mr.InvalidData, match="folded"):
        net.tensor(out)


@pytest.mark.parametrize("opset", [9, 13])
def test_softmax_over_channels_of_a_single_location(opset: int) -> None:
    """Networks without a dense layer end in [N, classes, 1, 1]; the classes become the only axis."""
    sketch = Sketch(2, 4, 4, opset=opset)
    pooled = sketch.node("GlobalAveragePool", sketch.conv("x", 2, 5, (1, 1)), out="pooled")
    net = assert_keeps_values(sketch.model(sketch.node("Softmax", pooled, axis=1)))
    assert [layer.kind for layer in net.layers] == ["Conv", "GlobalAveragePool", "Reshape"]
    assert net.logits == "pooled:classes"
    assert net.shapes[net.logits] == (5,)
    assert net.classes == 5
    assert net.check_target(4) == 4
    assert net.tensor("pooled") == "pooled"


def test_logits_of_a_map_keep_their_shape() -> None:
    sketch = Sketch(2, 4, 4)
    net = assert_keeps_values(sketch.model(sketch.conv("x", 2, 5, (1, 1))))
    assert net.shapes[net.logits] == (5, 4, 4)
    with pytest.raises(mr.InvalidData, match=r"target 0 has 1 indices; output 'conv0' \[N, 5×4×4\] needs 3"):
        net.check_target(0)
    assert net.check_target((2, 1, 3)) == 2 * 16 + 1 * 4 + 3
    assert net.target(39) == (2, 1, 3)


@pytest.mark.parametrize("behind", [None, "Identity", "Reshape", "Transpose"])
def test_final_softmax_behind_branches(behind: str | None) -> None:
    sketch = Sketch(4)
    hidden = sketch.node("Relu", sketch.dense("x", 4, 5))
    scores = sketch.node("Sum", sketch.dense(hidden, 5, 3), sketch.dense(hidden, 5, 3), out="scores")
    out = sketch.node("Softmax", scores, out="chances")
    if behind == "Identity":
        out = sketch.node("Identity", out)
    elif behind == "Reshape":
        out = sketch.node("Reshape", out, sketch.ints(0, 1, 3))
    elif behind == "Transpose":
        out = sketch.node("Transpose", sketch.node("Unsqueeze", out, sketch.ints(1)), perm=[0, 2, 1])
    net = assert_keeps_values(sketch.model(out))
    assert net.head == "softmax"
    assert net.tensor("scores") == "scores"
    assert net.shapes[net.logits] == (3,)
    assert "chances" in net.folded


def test_two_softmaxes_that_are_added_are_refused() -> None:
    sketch = Sketch(4)
    a, b = (sketch.node("Softmax", sketch.dense("x", 4, 3), out=name) for name in ("first", "second"))
    with pytest.raises(mr.UnsupportedModel, match=r"2 Softmax, first 'the_first' \(before the end"):
        load_whole(sketch.model(sketch.node("Add", a, b)))


def test_one_minus_p_in_the_middle_is_arithmetic() -> None:
    """[1 - p, p] is a two-class softmax at the end alone, and only where nothing else reads p."""
    for last in (True, False):
        sketch = Sketch(4)
        p = sketch.node("Sigmoid", sketch.dense("x", 4, 1), out="p")
        both = sketch.node("Concat", sketch.node("Sub", sketch.const([1.0]), p), p, axis=1)
        other = sketch.dense(p, 1, 2)
        out = sketch.node("Add", both, other) if last else sketch.dense(both, 2, 3)
        net = assert_keeps_values(sketch.model(out))
        assert net.head is None
        assert [layer.kind for layer in net.layers[:4]] == ["Dense", "Activation", "Affine", "Concat"]


def test_one_minus_p_whose_shape_is_asked() -> None:
    sketch = Sketch(4)
    p = sketch.node("Sigmoid", sketch.dense("x", 4, 1))
    both = sketch.node("Concat", sketch.node("Sub", sketch.const([1.0]), p), p, axis=1)
    rows = sketch.node("Gather", sketch.node("Shape", p), sketch.ints(0), axis=0)
    out = sketch.node("Reshape", both, sketch.node("Concat", rows, sketch.ints(1, 2), axis=0))
    net = mr.load(sketch.model(out))
    assert net.head == "sigmoid"
    assert net.classes == 2


def test_softmax_of_a_map_spans_all_axes_before_opset_13() -> None:
    sketch = Sketch(2, 4, 4, opset=9)
    pooled = sketch.conv("x", 2, 5, (4, 4))
    net = assert_keeps_values(sketch.model(sketch.node("Softmax", pooled)))
    assert net.head == "softmax"


@pytest.mark.parametrize(("opset", "axis"), [(9, 2), (13, 2)])
def test_softmax_of_each_place(opset: int, axis: int) -> None:
    """Classes along one axis, places along the other: a head all the same, whose probabilities are of each place."""
    sketch = Sketch(3, 4, opset=opset)
    model = sketch.model(sketch.node("Softmax", sketch.node("Tanh", "x"), axis=axis, out="part"))
    net = mr.load(model)
    x = np.random.default_rng(4).standard_normal((5, 3, 4), np.float32)
    probabilities, logits = net.predict(x)
    assert net.head == "softmax"
    np.testing.assert_allclose(logits, np.tanh(x).reshape(5, 12), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probabilities.reshape(5, 3, 4), tensors_of(model, x)["part"], rtol=1e-5, atol=1e-7)


def test_softmax_over_several_of_the_axes_is_refused() -> None:
    sketch = Sketch(3, 4, 5, opset=9)
    with pytest.raises(mr.UnsupportedModel, match=r"the_part.*not over all classes"):
        load_whole(sketch.model(sketch.node("Softmax", "x", axis=2, out="part")))


# --- element types ----------------------------------------------------------------------------------------------------


def test_float64_model() -> None:
    sketch = Sketch(4, dtype=TensorProto.DOUBLE)
    out = sketch.dense(sketch.node("Relu", sketch.dense("x", 4, 6)), 6, 3)
    net = assert_keeps_values(sketch.model(out), tolerance=1e-14)
    assert net.dtype == np.float64


def test_float16_model_runs_in_float32() -> None:
    sketch = Sketch(2, 6, 6, dtype=TensorProto.FLOAT16)
    net = assert_keeps_values(sketch.model(small_cnn(sketch)), tolerance=5e-3)
    assert net.dtype == np.float32
    assert {layer.weight.dtype for layer in net.layers if hasattr(layer, "weight")} == {np.dtype(np.float32)}


def test_float16_weights_behind_a_cast() -> None:
    sketch = Sketch(4)
    half = sketch.node("Cast", "x", to=TensorProto.FLOAT16)
    weight = sketch.node("Cast", sketch.normal(4, 3), to=TensorProto.FLOAT16)
    out = sketch.node("Cast", sketch.node("MatMul", half, weight), to=TensorProto.FLOAT)
    layer = mr.load(sketch.model(out), check=False).layers[0]
    assert isinstance(layer, Dense)
    assert layer.weight.dtype == np.float32


@pytest.mark.parametrize("table", ["initializer", "Constant", "cast"])
def test_a_table_of_float16_tells_that_ids_are_computed_with_in_half_precision(table: str) -> None:
    """Each of many products is rounded to eleven bits, which is far from what float32 would be allowed."""
    sketch = Sketch(5, dtype=TensorProto.INT64)
    rng = np.random.default_rng(0)

    def half(*shape: int) -> str:
        value = rng.standard_normal(shape).astype(np.float32 if table == "cast" else np.float16)
        if table == "Constant":
            return sketch.node("Constant", value=numpy_helper.from_array(value))
        name = f"table{len(sketch.initializers)}"
        sketch.initializers.append(numpy_helper.from_array(value, name))
        return sketch.node("Cast", name, to=TensorProto.FLOAT16) if table == "cast" else name

    rows = sketch.node("Gather", half(9, 64), "x")
    for _ in range(3):
        rows = sketch.node("MatMul", rows, half(64, 64))
    out = sketch.node("MatMul", sketch.node("ReduceMean", rows, axes=[1], keepdims=0), half(64, 3))
    model = sketch.model(sketch.node("Cast", out, to=TensorProto.FLOAT), check=False)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    net = mr.load(model)
    assert net.dtype == np.float32
    assert len(net.embeddings) == 1


# --- functions and unused parts ---------------------------------------------------------------------------------------


def test_local_functions_are_inlined() -> None:
    sketch = Sketch(4)
    hidden = sketch.node("Block", "x", sketch.normal(4, 5), domain="local", out="hidden")
    model = sketch.model(sketch.dense(hidden, 5, 3), check=False)
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("MatMul", ["a", "w"], ["p"]), helper.make_node("Relu", ["p"], ["r"])]
    model.functions.append(helper.make_function("local", "Block", ["a", "w"], ["r"], body, opsets))
    net = mr.load(model)
    assert [layer.kind for layer in net.layers] == ["Dense", "Activation", "Dense"]
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = runtime.run([net.output], {"x": x})
    np.testing.assert_allclose(logits(net, x), expected, rtol=1e-4, atol=1e-6)


def test_unused_branches_are_pruned() -> None:
    """Neither a custom operator nor a second input matters where the chosen output does not need it."""
    sketch = Sketch(4)
    scores = sketch.dense("x", 4, 3)
    sketch.inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2]))
    odd = sketch.node("Mystery", scores, "y", domain="somewhere")
    model = sketch.model(scores, odd)
    net = mr.load(model, output=scores)
    assert [layer.kind for layer in net.layers] == ["Dense"]
    assert net.output_names == (scores, odd)


def test_layers_that_do_not_lead_to_the_logits_are_dropped() -> None:
    """Here a tensor of which only the shape is asked."""
    sketch = Sketch(2, 3, 3)
    fired = sketch.node("Relu", "x", out="fired")
    asked = sketch.node("Tanh", sketch.node("MaxPool", "x", kernel_shape=[1, 1], out="pooled"), out="asked")
    same = sketch.node("Identity", asked, out="same")
    batch = sketch.node("Gather", sketch.node("Shape", same), sketch.ints(0), axis=0)
    flat = sketch.node("Reshape", fired, sketch.node("Concat", batch, sketch.ints(-1), axis=0))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, 18, 3)))
    assert [layer.kind for layer in net.layers] == ["Activation", "Reshape", "Dense"]
    for name in ("pooled", "asked", "same"):
        with pytest.raises(mr.InvalidData, match="is not on the way"):
            net.tensor(name)


def test_other_names_on_branches() -> None:
    sketch = Sketch(4)
    hidden = sketch.dense("x", 4, 4)
    dropped = sketch.node("Dropout", hidden, out="dropped")
    cast = sketch.node("Cast", hidden, to=TensorProto.FLOAT, out="cast")
    same = sketch.node("Identity", "x", out="same")
    net = assert_keeps_values(sketch.model(sketch.node("Sum", dropped, sketch.node("Relu", cast), same)))
    assert net.aliases == {"dropped": hidden, "cast": hidden, "same": "x"}
    assert net.layers[-1].inputs == (hidden, net.layers[1].output, "x")


def test_nodes_of_one_name() -> None:
    """onnxruntime would refuse them; the canonical network does not repeat names."""
    sketch = Sketch(4)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Relu", sketch.dense("x", 4, 4)), 4, 3)))
    twins = replace(net, layers=tuple(replace(layer, name="twin") for layer in net.layers))
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(logits(twins, x), logits(net, x))


@pytest.mark.parametrize("output", ["a", "b"])
def test_one_of_two_outputs(output: str) -> None:
    sketch = Sketch(4)
    sketch.node("Gemm", "x", sketch.normal(4, 3), out="a")
    sketch.node("Gemm", "x", sketch.normal(4, 5), out="b")
    net = mr.load(sketch.model("a", "b"), output=output)
    assert net.logits == output
    assert net.classes == (3 if output == "a" else 5)


def test_an_inner_output_may_be_explained() -> None:
    sketch = Sketch(4)
    hidden = sketch.node("Relu", sketch.dense("x", 4, 6), out="hidden")
    model = sketch.model(sketch.dense(hidden, 6, 3), "hidden")
    assert [layer.kind for layer in mr.load(model, output="hidden").layers] == ["Dense", "Activation"]


# --- external data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("attribute", [True, False])
def test_external_data(tmp_path: Path, one_file: bool, attribute: bool) -> None:
    sketch = Sketch(2, 6, 6)
    model = sketch.model(small_cnn(sketch))
    inline = mr.load(model)
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="weights.bin" if one_file else None,
        size_threshold=0,
        convert_attribute=attribute,
    )
    net = mr.load(path)
    x = np.random.default_rng(0).standard_normal((3, 2, 6, 6)).astype(np.float32)
    a, b = (Recorder(n, [n.logits])(x).values[n.logits] for n in (inline, net))
    np.testing.assert_array_equal(a, b)
    assert net.sha256 == mr.load(str(path)).sha256
    if one_file:
        weights = tmp_path / "weights.bin"
        data = bytearray(weights.read_bytes())
        data[2] ^= 1
        weights.write_bytes(data)
        assert mr.load(path).sha256 != net.sha256


def test_softmax_of_the_logits_is_the_file_output() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("Softmax", sketch.dense("x", 4, 3), out="p"))
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(softmax(logits(mr.load(model), x), axis=1), runtime.run(["p"], {"x": x})[0], rtol=1e-5)
