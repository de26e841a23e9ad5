"""Static int8: read as the float network of the dequantised weights, run as the file that it is."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.ops.test_fused import optimised
from tests.graph.quantising import (
    FORMATS,
    NETWORKS,
    STEPS_OF_BYTE,
    TYPES,
    chain,
    dequantised_values,
    dequantised_weights,
    samples,
    static,
)
from tests.graph.sketch import Sketch
from tests.inverse.test_graphs import TOLERANCE
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of

CASES = list(product(NETWORKS, FORMATS, (False, True), TYPES))


def quantised(name: str, style: str, per_channel: bool, kind: str, folder: Path) -> tuple[ModelProto, ModelProto]:
    model = NETWORKS[name]()
    options = {"per_channel": per_channel, "activation_type": TYPES[kind], "weight_type": TYPES["signed"]}
    return model, static(model, folder, style, **options)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("name", "style", "per_channel", "kind"), CASES)
def test_signals_are_those_of_the_dequantised_network(
    name: str, style: str, per_channel: bool, kind: str, tmp_path: Path
) -> None:
    """By brute force, given what onnxruntime's own integers stand for."""
    model, file = quantised(name, style, per_channel, kind, tmp_path)
    net, x = mr.load(file), samples(model, 9)
    values = dequantised_values(file, x)
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    for tensor in net.shapes.keys() & values.keys():
        assert np.array_equal(recorded[tensor], values[tensor].reshape(recorded[tensor].shape)), tensor
    fresh = net.shapes.keys() - values.keys() - {net.input}
    assert all(":" in tensor for tensor in fresh)
    # What has no name in the file is computed of what has one.
    assert any(layer.output in values for layer in net.layers)
    inverse = mr.fit(net, x, target=1)
    result = inverse.attribute(x)
    expected = mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        whole = theirs[net.input]
        assert float(np.max(np.abs(mine - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


@pytest.mark.parametrize(("name", "style", "per_channel", "kind"), CASES)
def test_signals_are_near_those_of_the_float_file(
    name: str, style: str, per_channel: bool, kind: str, tmp_path: Path
) -> None:
    """A value within half a step of zero is masked in one network and not in the other. Of a range of six standard
    deviations that is a share of 6 · 0.4 / 255 a tensor, whose root is its part in the norm of signals; fits double it.
    """
    model, file = quantised(name, style, per_channel, kind, tmp_path)
    x = samples(model)
    plain, net = mr.load(model), mr.load(file)
    allowed = 2 * np.sqrt(6 * 0.4 * len(plain.layers) / STEPS_OF_BYTE)
    assert allowed < 0.65
    expected, result = (mr.fit(one, x, target=1).attribute(x) for one in (plain, net))
    assert relative(result.output, expected.output) <= 6 * len(plain.layers) / STEPS_OF_BYTE / 2
    assert relative(result.source, expected.source) <= allowed
    assert relative(result.attribution, expected.attribution) <= allowed


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_are_dequantised(per_channel: bool, tmp_path: Path) -> None:
    for style in FORMATS:
        file = static(chain(), tmp_path, style, per_channel=per_channel, weight_type=TYPES["signed"])
        told = {one.name for one in file.graph.initializer}
        net = mr.load(file)
        (first, *_) = [layer for layer in net.layers if layer.kind == "Conv"]
        name = next(one for one in told if one.endswith("_quantized") and one.startswith("c0"))
        stem = name.removesuffix("_quantized")
        weight = dequantised_weights(file, name, f"{stem}_scale", f"{stem}_zero_point", 0)
        assert np.allclose(first.arrays["weight"], weight, rtol=2**-22, atol=0)


@pytest.mark.parametrize("style", FORMATS)
def test_the_forward_pass_is_the_files_own(style: str, tmp_path: Path) -> None:
    file = static(NETWORKS["chain"](), tmp_path, style)
    net, x = mr.load(file), samples(file, 3, 7)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file.SerializeToString(), options)
    (expected,) = session.run(None, {"x": x})
    assert np.array_equal(net.predict(x)[1], expected)


def test_a_relu_that_a_step_swallowed_is_an_activation(tmp_path: Path) -> None:
    """Quantising takes a Relu away whose zero is the first integer; gradients must not go through what it cut."""
    for style in FORMATS:
        file = static(chain(), tmp_path, style)
        assert "Relu" not in {node.op_type for node in file.graph.node}
        net, x = mr.load(file), samples(file)
        assert [layer.kind for layer in net.layers].count("Activation") == 3
        plain = mr.attribute(mr.load(chain()), x, target=0, method="gradient").attribution
        gradient = mr.attribute(net, x, target=0, method="gradient").attribution
        assert relative(gradient, plain) < 0.25


def _broken(file: ModelProto, change: str) -> ModelProto:
    scales = [one for one in file.graph.initializer if one.name.endswith("_scale")]
    weight = next(one for one in scales if one.name.startswith("c0"))
    value = numpy_helper.to_array(weight).copy()
    if change == "zero scale":
        value[...] = 0
    zeros = next(one for one in file.graph.initializer if one.name == weight.name.replace("_scale", "_zero_point"))
    if change == "zero points":
        zeros.CopyFrom(numpy_helper.from_array(np.zeros(3, np.int8), zeros.name))
        value = np.ravel(value)[:1].repeat(4)
    if change == "no constant":
        file.graph.initializer.remove(weight)
        file.graph.input.append(helper.make_tensor_value_info(weight.name, 1, ["channels"]))
        return file
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    return file


@pytest.mark.parametrize(
    ("change", "said"),
    [("zero scale", "its scale is not a positive number"), ("zero points", "3 zero points for 4 scales")],
)
@pytest.mark.parametrize("style", FORMATS)
def test_broken_scales_are_told(change: str, said: str, style: str, tmp_path: Path) -> None:
    file = _broken(static(chain(), tmp_path, style, per_channel=True, weight_type=TYPES["signed"]), change)
    with pytest.raises(mr.MipinError) as told:
        mr.fit(mr.load(file), samples(chain()), target=0)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_scale_that_is_no_constant_is_told() -> None:
    """The scale of the last product is computed of the input."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["scale"], axes=[1], keepdims=0),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["out"]),
    ]
    made = [
        numpy_helper.from_array(np.zeros((), np.uint8), "zero"),
        numpy_helper.from_array(np.ones((3, 2), np.float32), "w"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 3])],
        [helper.make_tensor_value_info("out", 1, ["N", 2])],
        made,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(mr.UnsupportedModel, match="is no constant of the file: quantised: use the float file"):
        mr.fit(mr.load(model), np.ones((4, 3), np.float32), target=0)


@pytest.mark.parametrize(("style", "kind"), list(product(FORMATS, TYPES)))
def test_a_layer_that_is_read_wrong_is_noticed(
    style: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-check compares layer by layer: one in which the weights are turned around is refused."""
    from mipin_ref.graph.ops import HANDLERS

    right = HANDLERS["Conv"]

    def turned(node, draft):  # type: ignore[no-untyped-def]
        weight = draft.constants[node.inputs[1]]
        draft.constants[node.inputs[1]] = weight[..., ::-1].copy()
        right(node, draft)

    file = static(chain(), tmp_path, style, activation_type=TYPES[kind])
    monkeypatch.setitem(HANDLERS, "Conv", turned)
    with pytest.raises(mr.UnsupportedModel, match=r"differs from the quantised file .*: it is read wrong"):
        mr.load(file)


def test_values_that_take_little_of_a_range() -> None:
    """A product is quantised by what louder samples made, a bias follows: it is off by half of that step."""
    rng = np.random.default_rng(0)
    wide = np.float32(0.5)
    made = {
        "scale": np.float32(1 / 128),
        "zero": np.uint8(0),
        "wide": wide,
        "middle": np.uint8(128),
        "w": rng.standard_normal((6, 5)).astype(np.float32),
        "bias": rng.standard_normal(5).astype(np.float32),
        "v": rng.standard_normal((5, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["held"]),
        helper.make_node("MatMul", ["held", "w"], ["product"]),
        helper.make_node("QuantizeLinear", ["product", "wide", "middle"], ["coarse"]),
        helper.make_node("DequantizeLinear", ["coarse", "wide", "middle"], ["rounded"]),
        helper.make_node("Add", ["rounded", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["fired"]),
        helper.make_node("MatMul", ["fired", "v"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 6])],
        [helper.make_tensor_value_info("out", 1, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in made.items()],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    net, x = mr.load(file), rng.uniform(0, 2, (20, 6)).astype(np.float32)
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    (dense, *_) = net.layers
    off = np.max(np.abs(recorded[dense.input] @ made["w"] + made["bias"] - recorded[dense.output]))
    assert 0.1 * wide < off <= wide / 2 * (1 + 16 * np.finfo(np.float32).eps)
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    whole = expected.source[net.input]
    assert float(np.max(np.abs(result.source - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


@pytest.mark.slow
def test_networks_that_come_with_the_package(tmp_path: Path) -> None:
    model = onnx.load("models_onnx/mnist_mlp/model.onnx")
    with np.load("models_onnx/mnist_mlp/calibration.npz") as data:
        x = (data["x"][:80] / 255).astype(np.float32)
    model.graph.input[0].name, source = "x", model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["x" if name == source else name for name in node.input]
    file = static(model, tmp_path, "pairs", x)
    plain, net = mr.load(model), mr.load(file)
    expected, result = (mr.fit(one, x, target=3).attribute(x[:9]) for one in (plain, net))
    assert relative(result.source, expected.source) <= 6 * len(plain.layers) / STEPS_OF_BYTE


@pytest.mark.parametrize("style", FORMATS)
def test_a_batch_that_the_file_fixes_is_free(style: str, tmp_path: Path) -> None:
    """The file, which can be run on one sample alone, is run so; the network takes any number."""
    free = static(chain(), tmp_path, style)
    fixed = ModelProto()
    fixed.CopyFrom(free)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for node in fixed.graph.node:
        if node.op_type == "Flatten":
            node.op_type = "Reshape"
            del node.attribute[:]
            node.input.append("sizes")
    fixed.graph.initializer.append(numpy_helper.from_array(np.array([1, 12]), "sizes"))
    del fixed.graph.value_info[:]
    one, other = mr.load(free), mr.load(fixed)
    assert other.file is not None
    assert other.file.apart == 1
    x = samples(free)
    results = [mr.fit(net, x, target=0).attribute(x[:5]) for net in (one, other)]
    assert np.array_equal(results[0].source, results[1].source)


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_that_onnxruntime_saved_as_operators(name: str, level: str, tmp_path: Path) -> None:
    """Its optimiser makes QLinear operators of pairs, which compute the same to a step."""
    model = NETWORKS[name]()
    pairs = static(model, tmp_path, "pairs", weight_type=TYPES["signed"], activation_type=TYPES["signed"])
    made = optimised(pairs, tmp_path, getattr(onnxruntime.GraphOptimizationLevel, level))
    assert any(node.op_type.startswith(("QLinear", "QGemm", "MatMulIntegerToFloat")) for node in made.graph.node)
    one, other, x = mr.load(pairs), mr.load(made), samples(model)
    step = max(float(np.ptp(one.predict(x)[1])), 1.0) / STEPS_OF_BYTE
    assert np.max(np.abs(one.predict(x)[1] - other.predict(x)[1])) <= len(one.layers) * step
    results = [mr.fit(net, x, target=1).attribute(x) for net in (one, other)]
    assert relative(results[1].source, results[0].source) <= 2 * np.sqrt(6 * 0.4 * len(one.layers) / STEPS_OF_BYTE)


@pytest.mark.parametrize("opset", [17, 21])
def test_sixteen_bits_are_nearer(opset: int, tmp_path: Path) -> None:
    """Activations of 16 bits, by onnxruntime's own operators before opset 21: 256 times as fine."""
    model = chain()
    model.opset_import[0].version = opset
    model.ir_version = 10
    file = static(model, tmp_path, "pairs", activation_type=QuantType.QUInt16, weight_type=TYPES["signed"])
    plain, net, x = mr.load(model), mr.load(file), samples(model)
    # The weights have 8 bits as before; what they are off does not mask anything.
    values = dequantised_values(file, x)
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    for tensor in net.shapes.keys() & values.keys():
        assert np.array_equal(recorded[tensor], values[tensor].reshape(recorded[tensor].shape)), tensor
    results = [mr.fit(one, x, target=1).attribute(x) for one in (plain, net)]
    assert relative(results[1].source, results[0].source) <= 6 * len(plain.layers) / STEPS_OF_BYTE


def class_token(sketch: Sketch) -> str:
    """A token that the file repeats for each sample, beside its rows; a bias of its own behind the product, a Relu."""
    wanted = sketch.node("Concat", sketch.node("Shape", "x", start=0, end=1), sketch.ints(1, 6), axis=0)
    token = sketch.node("Expand", sketch.normal(1, 1, 6), wanted)
    rows = sketch.node("Concat", token, "x", axis=1)
    fired = sketch.node("Relu", sketch.node("Add", sketch.node("MatMul", rows, sketch.normal(6, 5)), sketch.normal(5)))
    return sketch.dense(sketch.node("Flatten", fired), 25, 3)


@pytest.mark.parametrize("style", FORMATS)
def test_a_class_token(style: str, tmp_path: Path) -> None:
    """By brute force, given what onnxruntime's own integers stand for. Steps between product and bias are gone."""
    sketch = Sketch(4, 6)
    model = sketch.model(class_token(sketch))
    file = static(model, tmp_path, style, per_channel=False, activation_type=TYPES["unsigned"])
    net, x = mr.load(file), samples(model, 9)
    assert not net.blocked
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        whole = theirs[net.input]
        assert float(np.max(np.abs(mine - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


def test_rows_that_are_folded_into_the_batch(tmp_path: Path) -> None:
    """Pairs around products on [N · T, C]: by brute force, given what onnxruntime's own integers stand for."""
    sketch = Sketch(4, 6)
    rows = sketch.node("Reshape", "x", sketch.ints(-1, 6))
    fired = sketch.node("Relu", sketch.node("MatMul", rows, sketch.normal(6, 5)))
    mixed = sketch.node("Tanh", sketch.node("MatMul", fired, sketch.normal(5, 5)))
    model = sketch.model(sketch.dense(sketch.node("Reshape", mixed, sketch.ints(-1, 20)), 20, 3))
    net, x = mr.load(static(model, tmp_path, "pairs", per_channel=False)), samples(model, 9)
    assert not net.blocked
    assert len(net.file.tensors if net.file else ()) > 4
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        whole = theirs[net.input]
        assert float(np.max(np.abs(mine - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))
