"""Dynamic int8: the float product of the dequantised weights, run as the file that it is, sample by sample."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.ops.test_fused import optimised
from tests.graph.quantising import NETWORKS, TYPES, chain, dynamic, samples, weight_levels
from tests.graph.sketch import Sketch, tensors_of
from tests.inverse.test_graphs import TOLERANCE
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of

CASES = list(product(NETWORKS, TYPES, (False, True)))


def alone(model: ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """The values of a file whose ranges are taken of all samples of a run, one sample a run."""
    runs = [tensors_of(model, x[i : i + 1]) for i in range(len(x))]
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0] if runs[0][name].ndim}


@pytest.mark.parametrize(("name", "kind", "again"), CASES)
def test_signals_are_those_of_the_dequantised_network(name: str, kind: str, again: bool, tmp_path: Path) -> None:
    """again: as onnxruntime's optimiser saves the quantised file."""
    model = NETWORKS[name]()
    file = dynamic(model, tmp_path, weight_type=TYPES[kind])
    if again:
        file = optimised(file, tmp_path)
    net, x = mr.load(file), samples(model, 9)
    assert net.file is not None
    assert net.file.apart == 1
    values = alone(file, x)
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    compared = net.shapes.keys() & values.keys()
    assert net.logits in compared
    for tensor in compared:
        assert np.array_equal(recorded[tensor], values[tensor].reshape(recorded[tensor].shape)), tensor
    result = mr.fit(net, x, target=1).attribute(x)
    expected = mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        whole = theirs[net.input]
        assert float(np.max(np.abs(mine - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))
    # Weights are off by half a step of their range, a part of the float file's.
    weights = [
        sorted((layer.arrays["weight"] for layer in one.layers if "weight" in layer.arrays), key=lambda w: w.shape)
        for one in (mr.load(model), net)
    ]
    for before, after in zip(*weights, strict=True):
        assert float(np.max(np.abs(before - after))) <= float(np.ptp(before)) / weight_levels()


def test_a_batch_is_no_part_of_a_sample(tmp_path: Path) -> None:
    file = dynamic(chain(), tmp_path)
    net, x = mr.load(file), samples(file)
    inverse = mr.fit(net, x, target=0)
    together, one = inverse.attribute(x[:5]), inverse.attribute(x[3:4])
    assert np.array_equal(together.source[3:4], one.source)


def test_a_batch_norm_behind_a_product_stretches_what_it_may_be_off(tmp_path: Path) -> None:
    """A step of the input's range is as much more behind it, and no more."""
    sketch = Sketch(2, 8, 8)
    made = sketch.conv("x", 2, 4, pads=[1, 1, 1, 1])
    scale, mean = sketch.const(np.full(4, 7.0)), sketch.const(np.zeros(4))
    normed = sketch.node("BatchNormalization", made, scale, sketch.normal(4), mean, sketch.const(np.full(4, 0.04)))
    model = sketch.model(sketch.dense(sketch.node("Flatten", sketch.node("Relu", normed)), 256, 3))
    file = dynamic(model, tmp_path)
    net, x = mr.load(file), samples(model, 9)
    assert [layer.kind for layer in net.layers][:2] == ["Conv", "Activation"]
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    whole = expected.source[net.input]
    assert float(np.max(np.abs(result.source - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


def test_a_transformers_product_of_tokens(tmp_path: Path) -> None:
    """[N, T, C] with a matrix, and one range that two products share."""
    sketch = Sketch(4, 6)
    left, right = (sketch.node("MatMul", "x", sketch.normal(6, 5)) for _ in range(2))
    both = sketch.node("Add", sketch.node("Relu", left), right)
    model = sketch.model(sketch.dense(sketch.node("ReduceMean", both, axes=[1], keepdims=0), 5, 3))
    file = dynamic(model, tmp_path, per_channel=True)
    assert [node.op_type for node in file.graph.node].count("DynamicQuantizeLinear") == 2
    net = mr.load(file)
    assert [layer.kind for layer in net.layers].count("TokenDense") == 2


def rows_of_tokens() -> ModelProto:
    """[N·T, C], as torch writes a Linear behind a recurrent layer."""
    sketch = Sketch(5, 4)
    rows = sketch.node("Relu", sketch.dense(sketch.node("Reshape", "x", sketch.ints(-1, 4)), 4, 3))
    return sketch.model(sketch.dense(sketch.node("Reshape", rows, sketch.ints(-1, 15)), 15, 2))


@pytest.mark.parametrize("again", [False, True])
def test_a_product_of_rows_of_samples(again: bool, tmp_path: Path) -> None:
    model = rows_of_tokens()
    file = dynamic(model, tmp_path)
    if again:
        file = optimised(file, tmp_path)
    net, x = mr.load(file), samples(model, 9)
    assert not net.blocked
    assert "TokenDense" in {layer.kind for layer in net.layers}
    values, recorded = alone(file, x), Recorder(net, list(net.shapes), threads=1)(x).values
    assert np.array_equal(recorded[net.logits], values[net.logits])
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    whole = expected.source[net.input]
    assert float(np.max(np.abs(result.source - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


def with_whole_bias(bias_of: str) -> ModelProto:
    """A convolution whose bias is added as whole numbers, as onnxruntime quantised until version 1.6.

    bias_of: "constant", or a "tensor" that the network computes.
    """
    sketch, rng = Sketch(2, 6, 6), np.random.default_rng(1)
    held = sketch.node("DynamicQuantizeLinear", "x", outputs=3)
    weight = sketch.const(rng.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8))
    zero, scale, bias = sketch.const(np.uint8(120)), sketch.const(0.01), sketch.const(rng.standard_normal(3))
    if bias_of == "tensor":
        bias = sketch.node("Mul", bias, sketch.node("ReduceMean", "x", axes=[0, 1, 2, 3], keepdims=0))
    both = sketch.node("Mul", f"{held}_1", scale)
    counted = sketch.node("Cast", sketch.node("Floor", sketch.node("Div", bias, both)), to=6)
    product = sketch.node("ConvInteger", held, weight, f"{held}_2", zero, kernel_shape=[3, 3])
    summed = sketch.node("Add", product, sketch.node("Reshape", counted, sketch.ints(1, -1, 1, 1)))
    scales = sketch.node("Mul", f"{held}_1", scale)
    made = sketch.node("Relu", sketch.node("Mul", sketch.node("Cast", summed, to=1), scales, out="made"))
    return sketch.model(sketch.dense(sketch.node("Flatten", made), 48, 2))


def test_a_bias_of_whole_numbers_is_that_of_the_convolution() -> None:
    file = with_whole_bias("constant")
    net, x = mr.load(file), samples(file, 9)
    assert not net.blocked
    (layer,) = [one for one in net.layers if one.kind == "Conv"]
    known = {one.name: onnx.numpy_helper.to_array(one) for one in file.graph.initializer}
    assert np.array_equal(layer.arrays["bias"], known["c3"])
    weight = (known["c0"].astype(np.float32) - 120) * np.float32(0.01)
    assert np.max(np.abs(layer.arrays["weight"] - weight)) <= np.finfo(np.float32).eps * np.max(np.abs(weight))
    values, recorded = alone(file, x), Recorder(net, list(net.shapes), threads=1)(x).values
    assert np.array_equal(recorded["made"], values["made"])
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    whole = expected.source[net.input]
    assert float(np.max(np.abs(result.source - whole))) <= TOLERANCE * float(np.max(np.abs(whole)))


def test_whole_numbers_that_are_no_constant_bias_are_refused() -> None:
    file = with_whole_bias("tensor")
    with pytest.raises(mr.UnsupportedModel, match="quantised: use the float file"):
        mr.fit(mr.load(file), samples(file), target=0)


def test_what_is_no_product_of_floats_is_refused() -> None:
    """Integers that are made of integers without scales: no pattern tells what they stand for."""
    sketch = Sketch(4)
    quantized = sketch.node("DynamicQuantizeLinear", "x", outputs=3)
    whole = sketch.node("MatMulInteger", quantized, sketch.const(np.ones((4, 3), np.int8)))
    model = sketch.model(sketch.node("Cast", whole, to=1))
    with pytest.raises(mr.UnsupportedModel, match="quantised: use the float file"):
        mr.fit(mr.load(model), samples(model), target=0)


def recurrent(direction: str, outputs: str = "every") -> ModelProto:
    """An LSTM of 5 steps. outputs: of a Dense layer's, every hidden state, or the last one and the last cell."""
    rng, directions = np.random.default_rng(0), 2 if direction == "bidirectional" else 1
    sketch = Sketch(5, 4)
    steps = sketch.node("Transpose", "x", perm=[1, 0, 2])
    shapes = (directions, 12, 4), (directions, 12, 3), (directions, 24)
    weights = [sketch.const(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]
    sketch.node("LSTM", steps, *weights, outputs=3, out="y", hidden_size=3, direction=direction)
    if outputs == "every":
        whole = sketch.node("Reshape", sketch.node("Transpose", "y", perm=[2, 0, 1, 3]), sketch.ints(0, -1))
        return sketch.model(sketch.dense(whole, 15 * directions, 2))
    sketch.nodes[-1].output[0] = ""
    both = sketch.node("Transpose", sketch.node("Concat", "y_1", "y_2", axis=2), perm=[1, 0, 2])
    return sketch.model(sketch.dense(sketch.node("Flatten", both), 6 * directions, 2))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_an_lstm_is_that_of_the_dequantised_weights(
    direction: str, kind: str, per_channel: bool, tmp_path: Path
) -> None:
    model = recurrent(direction)
    file = dynamic(model, tmp_path, weight_type=TYPES[kind], per_channel=per_channel)
    (node,) = [node for node in file.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    net, x = mr.load(file), samples(model, 9)
    (layer,) = [one for one in net.layers if one.kind == "LSTM"]
    (candidate,) = [one for one in net.layers if one.output == layer.inputs[0]]
    known = {one.name: onnx.numpy_helper.to_array(one).astype(np.float64) for one in file.graph.initializer}
    for place, read in ((1, candidate.arrays["weight"].T.reshape(-1, 3, 4)), (2, layer.arrays["recurrence"])):
        integers = known[node.input[place]]
        scale, zero = (known[node.input[8 + 2 * (place - 1) + k]].reshape(len(integers), 1, -1) for k in (0, 1))
        whole = ((integers - zero) * scale).transpose(0, 2, 1).reshape(len(integers), 4, 3, -1)
        held = whole[:, -1] if place == 1 else whole
        # Of one difference of small integers and one product in float32.
        assert np.max(np.abs(read - held)) <= 4 * np.finfo(np.float32).eps * np.max(np.abs(held))
    values, recorded = alone(file, x), Recorder(net, list(net.shapes), threads=1)(x).values
    states = values.pop("y").reshape(len(x), 5, -1, 1, 3)  # [N·T, D, 1, H]
    assert np.array_equal(recorded[layer.output], states.reshape(len(x), 5, -1))
    compared = net.shapes.keys() & values.keys()
    for tensor in compared:
        assert np.array_equal(recorded[tensor], values[tensor].reshape(recorded[tensor].shape)), tensor
    assert net.logits in compared
    result = mr.fit(net, x, target=1).attribute(x)
    expected = mipin(ops_of(net), x, 1, values=recorded)
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        input_signal = theirs[net.input]
        assert float(np.max(np.abs(mine - input_signal))) <= TOLERANCE * float(np.max(np.abs(input_signal)))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_an_lstm_of_whose_last_states_alone_are_read(direction: str, tmp_path: Path) -> None:
    model = recurrent(direction, "last")
    net, x = mr.load(dynamic(model, tmp_path)), samples(model, 9)
    (layer,) = [one for one in net.layers if one.kind == "LSTM"]
    recorded = Recorder(net, list(net.shapes), threads=1)(x).values
    whole, joined = recorded[layer.output].reshape(len(x), 6, -1, 3), recorded["concat2"].reshape(len(x), -1, 2, 3)
    for number, last in enumerate((4, 0)[: whole.shape[2]]):
        assert np.array_equal(whole[:, last, number], joined[:, number, 0])
    assert np.array_equal(whole[:, 5], joined[:, :, 1])
    result, expected = mr.fit(net, x, target=1).attribute(x), mipin(ops_of(net), x, 1, values=recorded)
    whole_source = expected.source[net.input]
    assert float(np.max(np.abs(result.source - whole_source))) <= TOLERANCE * float(np.max(np.abs(whole_source)))


def test_an_lstm_of_scales_that_do_not_fit_is_told(tmp_path: Path) -> None:
    model = recurrent("forward")
    file = dynamic(model, tmp_path)
    (node,) = [node for node in file.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    for place, value in ((8, np.full((1, 5), 0.1, np.float32)), (9, np.zeros((1, 5), np.int8))):
        held = next(one for one in file.graph.initializer if one.name == node.input[place])
        held.CopyFrom(onnx.numpy_helper.from_array(value, held.name))
    with pytest.raises(mr.UnsupportedModel, match=r"it has 5 scales for 12 rows of '.*' in 1 directions"):
        mr.fit(mr.load(file), samples(model), target=0)


def test_a_scale_of_the_weights_that_is_zero_is_told(tmp_path: Path) -> None:
    file = dynamic(chain(), tmp_path)
    scale = next(one for one in file.graph.initializer if one.name.endswith("_scale") and one.name.startswith("c"))
    scale.CopyFrom(
        onnx.numpy_helper.from_array(np.zeros(onnx.numpy_helper.to_array(scale).shape, np.float32), scale.name)
    )
    with pytest.raises(mr.UnsupportedModel, match="its scale is not a positive number"):
        mr.fit(mr.load(file), samples(chain()), target=0)
