"""Sums of eight-bit products that overflow on some processors: what is read rightly is explained as it is computed."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnxruntime import InferenceSession

import mipin_ref as mr
from mipin_ref.graph.exact_sums import PLACES, with_exact_sums
from mipin_ref.graph.forward import Recorder
from tests.graph.quantising import NETWORKS, TYPES, dynamic, samples, saturates, static
from tests.graph.sketch import Sketch, tensors_of
from tests.graph.test_dynamic_int8 import alone, recurrent
from tests.inverse.test_graphs import TOLERANCE
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of

BYTES = 1
FLOATS = 0
TERMS = 4
WEIGHT = 127
LARGEST = TERMS * 255 * WEIGHT
SUMS: dict[str, tuple[int, tuple[str, ...], float]] = {
    "ConvInteger": (BYTES, ("x", "w", "none", "zero"), LARGEST),
    "MatMulInteger": (BYTES, ("x", "w", "none", "zero"), LARGEST),
    "MatMulIntegerToFloat": (BYTES, ("x", "w", "one", "one", "none", "zero"), LARGEST),
    "DynamicQuantizeMatMul": (FLOATS, ("x", "w", "one", "zero"), TERMS * WEIGHT),
    "QGemm": (BYTES, ("x", "one", "none", "w", "one", "zero", "", "thousand", "none"), round(LARGEST / 1000)),
    "QLinearConv": (BYTES, ("x", "one", "none", "w", "one", "zero", "thousand", "none"), round(LARGEST / 1000)),
    "QLinearMatMul": (BYTES, ("x", "one", "none", "w", "one", "zero", "thousand", "none"), round(LARGEST / 1000)),
}
"""Operator -> whether its input is of bytes, its inputs by name, and the sum of the largest products by hand."""
UNSIGNED = TYPES["unsigned"]
OTHERS = ("DynamicQuantizeLSTM", "QAttention")
STANDARD = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


def summing(op: str, *, drop_zero: bool = False, constant: bool = False) -> ModelProto:
    """One operator whose products are as large as they can be. constant: weights are of a node."""
    conv = "Conv" in op
    shape = (1, TERMS, 1, 1) if conv else (TERMS, 1)
    weight = np.full(shape, WEIGHT, np.int8)
    named: dict[str, npt.NDArray[np.generic]] = {
        "zero": np.zeros((), np.int8),
        "none": np.zeros((), np.uint8),
        "one": np.ones((), np.float32),
        "thousand": np.full((), 1000, np.float32),
    }
    kind, inputs, _ = SUMS[op]
    read = [name for name in inputs if not (drop_zero and name == "zero")]
    nodes = [helper.make_node(op, read, ["y"], domain="" if op in STANDARD else "com.microsoft")]
    made = [numpy_helper.from_array(value, name) for name, value in named.items()]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)))
    else:
        made.append(numpy_helper.from_array(weight, "w"))
    given = onnx.TensorProto.UINT8 if kind == BYTES else onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", given, [1, TERMS, 1, 1] if conv else [1, TERMS])
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], made)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def computed(model: bytes) -> float:
    """Its one number, of the largest input."""
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = np.full(given.shape, 255, np.uint8) if given.type == "tensor(uint8)" else np.ones(given.shape, np.float32)
    (made,) = session.run(None, {"x": x})
    return float(made.item())


def test_every_operator_is_tested() -> None:
    assert PLACES.keys() == {*SUMS, *OTHERS}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("op", SUMS)
def test_sums_are_exact(op: str, constant: bool) -> None:
    model = summing(op, constant=constant).SerializeToString()
    exact = with_exact_sums(model)
    assert exact != model
    eps = float(np.finfo(np.float32).eps)
    assert computed(exact) == pytest.approx(SUMS[op][2], rel=4 * eps)
    assert with_exact_sums(exact) == exact


@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_a_zero_point_that_is_left_out_is_zero(op: str) -> None:
    assert computed(with_exact_sums(summing(op, drop_zero=True).SerializeToString())) == LARGEST


@pytest.mark.parametrize("op", [name for name in SUMS if name != "DynamicQuantizeMatMul"])
def test_products_of_signed_activations_stay(op: str) -> None:
    """onnxruntime has none by unsigned weights, and no sum of them overflows."""
    model = summing(op)
    for one in model.graph.initializer:
        if one.name == "none":
            one.CopyFrom(numpy_helper.from_array(np.zeros((), np.int8), "none"))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    assert with_exact_sums(model.SerializeToString()) == model.SerializeToString()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_an_lstm_is_the_same_bit_for_bit(direction: str, per_channel: bool, tmp_path: Path) -> None:
    """Of weights of seven bits, whose sums are exact either way."""
    model = recurrent(direction)
    file = dynamic(model, tmp_path, per_channel=per_channel, reduce_range=True)
    exact = ModelProto.FromString(with_exact_sums(file.SerializeToString()))
    (node,) = [node for node in exact.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    kinds = {one.name: one.data_type for one in exact.graph.initializer}
    assert {kinds[node.input[place]] for place in (1, 2, 9, 11)} == {onnx.TensorProto.UINT8}
    x = samples(model, 5)
    output = file.graph.output[0].name
    assert np.array_equal(alone(file, x)[output], alone(exact, x)[output])


def test_an_attention_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    named: dict[str, npt.NDArray[np.generic]] = {
        "w": rng.integers(-63, 64, (4, 12)).astype(np.int8),
        "b": rng.standard_normal(12).astype(np.float32),
        "sx": np.array(0.02, np.float32),
        "sw": np.array(0.01, np.float32),
        "zx": np.array(3, np.uint8),
        "zw": np.array(5, np.int8),
    }
    inputs = ["x", "w", "b", "sx", "sw", "", "zx", "zw"]
    graph = helper.make_graph(
        [helper.make_node("QAttention", inputs, ["y"], domain="com.microsoft", num_heads=2)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [1, 3, 4])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(value, name) for name, value in named.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    exact = with_exact_sums(model)
    assert exact != model
    x = rng.integers(0, 256, (1, 3, 4)).astype(np.uint8)
    one, other = (InferenceSession(made).run(None, {"x": x})[0] for made in (model, exact))
    assert np.array_equal(one, other)


def overflowing(style: str, folder: Path) -> tuple[ModelProto, ModelProto]:
    """A network whose largest products meet, and its quantised file. style: of FORMATS, or dynamic."""
    sketch = Sketch(6, 6)
    hidden = sketch.node("Relu", sketch.node("MatMul", "x", sketch.const(np.full((6, 5), 2.0))))
    model = sketch.model(sketch.dense(sketch.node("ReduceMean", hidden, axes=[1], keepdims=0), 5, 3))
    if style == "dynamic":
        return model, dynamic(model, folder, reduce_range=False)
    return model, static(model, folder, style, np.abs(samples(model)), reduce_range=False, activation_type=UNSIGNED)


@pytest.mark.parametrize("style", ["operators", "dynamic"])
def test_what_is_explained_is_what_is_computed_here(style: str, tmp_path: Path) -> None:
    """And where that is something else than on other processors, a warning says so."""
    model, file = overflowing(style, tmp_path)
    told = pytest.warns(mr.OverflowWarning, match=r"overflow on this processor.* differs from .*reduce_range")
    with told if saturates() else nullcontext():
        net = mr.load(file)
    x = np.abs(samples(model, 9))
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    assert np.array_equal(recorded[net.logits], (alone if style == "dynamic" else tensors_of)(file, x)[net.output])
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        whole = theirs[net.input]
        assert float(np.max(np.abs(mine - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_eight_bits_load(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    for file in (
        static(model, tmp_path, "operators", reduce_range=False),
        dynamic(model, tmp_path, reduce_range=False),
    ):
        with warnings.catch_warnings():
            if saturates():
                warnings.simplefilter("ignore", mr.OverflowWarning)
            assert mr.load(file).file is not None
