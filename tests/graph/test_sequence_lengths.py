"""LSTM, GRU and RNN that are given lengths of their samples: values as onnxruntime has them, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from tests.graph.with_lengths import FEATURES, OUTPUTS, SIZE, STEPS, File, samples

EPS = float(np.finfo(np.float32).eps)
DIRECTIONS = {"LSTM": ("forward", "reverse", "bidirectional"), "RNN": ("forward",)}
READ = [
    (kind, direction, read)
    for kind, outputs in OUTPUTS.items()
    for direction in DIRECTIONS.get(kind, DIRECTIONS["LSTM"])
    for read in outputs
]


def run(model: onnx.ModelProto, feed: dict[str, Any]) -> np.ndarray:
    """The logits of the file as it is."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    runtime = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    known = {value.name for value in runtime.get_inputs()}
    return np.asarray(runtime.run(None, {name: value for name, value in feed.items() if name in known})[0])


def assert_same(net: mr.Network, model: onnx.ModelProto, feed: dict[str, Any]) -> None:
    """Logits are sums of some 20 products of numbers below one, in another order."""
    np.testing.assert_allclose(net.predict(feed)[1], run(model, feed), rtol=0, atol=64 * EPS)


@pytest.mark.parametrize(("kind", "direction", "read"), READ)
def test_values_are_those_of_the_file(kind: str, direction: str, read: str) -> None:
    """Of samples of every length, none and all steps among them; what fills them up plays no part."""
    model = File(kind, direction, read).model()
    net, feed = mr.load(model, input="x"), samples()
    assert not net.blocked
    assert_same(net, model, feed)
    over = np.arange(STEPS) >= feed["lengths"][:, None]
    other = {**feed, "x": np.where(over[..., None], -feed["x"], feed["x"])}
    np.testing.assert_array_equal(net.predict(other)[1], net.predict(feed)[1])


BEGINS = [
    ("LSTM", "forward", "ends"),
    ("LSTM", "forward", "cells"),
    ("LSTM", "forward", "steps"),
    ("GRU", "forward", "ends"),
    ("GRU", "bidirectional", "ends"),
    ("GRU", "reverse", "steps"),
    ("RNN", "forward", "ends"),
]


@pytest.mark.parametrize(("kind", "direction", "read"), BEGINS)
def test_states_other_than_zero(kind: str, direction: str, read: str) -> None:
    """A sample without steps hands out zeros all the same."""
    model = File(kind, direction, read, begins="ones").model()
    net = mr.load(model, input="x")
    assert not net.blocked
    assert_same(net, model, samples())


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_zeros_that_are_made_for_each_sample(direction: str) -> None:
    """As torch's exporter writes where an LSTM begins."""
    model = File("LSTM", direction, "ends", begins="zeros").model()
    net = mr.load(model, input="x")
    assert not net.blocked
    assert_same(net, model, samples())


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("opset", [11, 12, 21])
def test_other_opsets(kind: str, opset: int) -> None:
    model = File(kind, "bidirectional", opset=opset, begins="zeros").model()
    net = mr.load(model, input="x")
    assert not net.blocked
    assert_same(net, model, samples())


@pytest.mark.parametrize("kind", OUTPUTS)
def test_half_precision(kind: str) -> None:
    """What opens and shuts a gate is a number there too. The file rounds, and the network does not."""
    model = File(kind, dtype=TensorProto.FLOAT16).model()
    net, feed = mr.load(model, input="x"), samples()
    assert not net.blocked
    wanted = run(model, {**feed, "x": feed["x"].astype(np.float16)})
    np.testing.assert_allclose(net.predict(feed)[1], wanted, rtol=0, atol=16 * float(np.finfo(np.float16).eps))


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("read", ["steps", "ends"])
def test_one_step(kind: str, read: str) -> None:
    model = File(kind, read=read, steps=1).model()
    net = mr.load(model, input="x")
    assert not net.blocked
    assert_same(net, model, samples(steps=1))


def test_a_gru_that_resets_behind_the_matrix() -> None:
    model = File("GRU", "bidirectional", reset_behind=True).model()
    assert_same(mr.load(model, input="x"), model, samples())


@pytest.mark.parametrize("kind", OUTPUTS)
def test_lengths_that_are_the_sum_of_a_mask(kind: str) -> None:
    model = File(kind, lengths="mask").model()
    net, feed = mr.load(model, input="x"), samples()
    assert not net.blocked
    assert_same(net, model, {"x": feed["x"], "mask": (np.arange(STEPS) < feed["lengths"][:, None]).astype(np.int64)})


def test_lengths_that_are_made_of_what_is_explained() -> None:
    """Steps that hold anything: they are state, and no way back."""
    file = File(lengths="input")
    model = file.model()
    del model.graph.input[1:]
    made = [
        helper.make_node("ReduceL1", ["x"], ["sizes"], axes=[2], keepdims=0),
        helper.make_node("Sign", ["sizes"], ["held"]),
        helper.make_node("Cast", ["held"], ["whole"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["whole", "last"], ["lengths"], keepdims=0),
    ]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "last"))
    for node in reversed(made):
        model.graph.node.insert(0, node)
    net, feed = mr.load(model), samples()
    assert not net.blocked
    x = np.where(np.arange(STEPS)[:, None] < feed["lengths"][:, None, None], feed["x"], 0)
    np.testing.assert_allclose(net.predict(x)[1], run(model, {"x": x}), rtol=0, atol=64 * EPS)
    other, both = mr.load(file.model(), input="x"), {"x": x, "lengths": feed["lengths"]}
    np.testing.assert_array_equal(mr.fit(net, x, 1).attribute(x).source, mr.fit(other, both, 1).attribute(both).source)


def test_lengths_that_are_given_for_all_samples() -> None:
    model, feed = File("GRU").model(), samples()
    net = mr.load(model, given={"lengths": np.array([3], np.int32)})
    wanted = run(model, {**feed, "lengths": np.full(40, 3, np.int32)})
    np.testing.assert_allclose(net.predict(feed["x"])[1], wanted, rtol=0, atol=64 * EPS)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("lengths", ["spread", STEPS], ids=["of each sample", "constants"])
def test_lengths_that_are_all_steps_are_none(kind: str, lengths: str | int) -> None:
    """As tf2onnx writes them: the layers are those of the file without."""
    batch = 2 if isinstance(lengths, int) else "N"
    model = File(kind, "bidirectional", lengths=lengths, batch=batch).model()
    net = mr.load(model)
    without = mr.load(File(kind, "bidirectional", lengths="none", batch=batch).model())
    assert [layer.describe() for layer in net.layers] == [layer.describe() for layer in without.layers]
    assert net.stem is None
    x = samples(2)["x"]
    np.testing.assert_array_equal(net.predict(x)[1], without.predict(x)[1])


@pytest.mark.parametrize("read", ["steps", "ends"])
@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_constant_below_the_number_of_steps(kind: str, read: str) -> None:
    """The same for all samples: the operator of so many steps, in both directions, with zeros behind."""
    model = File(kind, "bidirectional", read, lengths=3, batch=2, begins="ones").model()
    net, x = mr.load(model), samples(2)["x"]
    assert not net.blocked
    assert net.stem is None
    padded = [layer.out_shape for layer in net.layers if layer.kind == "Pad"]
    assert padded == ([(STEPS, 2, SIZE)] if read == "steps" else [])
    np.testing.assert_allclose(net.predict(x)[1], run(model, {"x": x}), rtol=0, atol=64 * EPS)
    assert not np.any(mr.attribute(net, x, 1, "gradient").attribution[:, 3:])


def test_candidates_take_nothing_of_lengths() -> None:
    """A feature more is state, and the first layer that is inverted has those of the file."""
    net = mr.load(File().model(), input="x")
    (candidate,) = [layer for layer in net.layers if layer.kind == "TokenDense"]
    assert (candidate.inputs, candidate.in_shape) == (("x",), (STEPS, FEATURES))
    (layer,) = [layer for layer in net.layers if layer.kind == "LSTM"]
    assert layer.in_shapes[1] == (STEPS, FEATURES + 1)
    assert net.carrying.isdisjoint({"lengths", layer.inputs[1]})


REFUSED: dict[str, tuple[File, str]] = {
    "an RNN that goes back": (File("RNN", "reverse"), "and goes back, which is followed of LSTM and GRU alone"),
    "an LSTM that goes back from a state": (
        File("LSTM", "bidirectional", begins="ones"),
        "goes back from a hidden state that is not known to be zero",
    ),
    "constants": (
        File("GRU", lengths=STEPS + 1, batch=2),
        "its lengths 'lengths' are constants other than its 5 steps, all 6, and lengths go from 0 to 5",
    ),
    "constants of an old opset": (
        File("LSTM", lengths=3, batch=2, opset=10),
        "are constants other than its 5 steps, all 3: cut its sequence to as many",
    ),
    "no steps": (
        File("LSTM", lengths=0, batch=2),
        "are constants other than its 5 steps, all 0, so that no sample has a step",
    ),
    "an old opset": (File("GRU", opset=10), "lengths of its samples, which are followed from opset 11 on"),
}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("clipped", [False, True])
def test_gates_that_do_not_shut(kind: str, clipped: bool) -> None:
    model = File(kind).model()
    node = next(node for node in model.graph.node if node.op_type == kind)
    names = ["Relu", "Tanh", "Tanh"][: 3 if kind == "LSTM" else 2]
    node.attribute.append(helper.make_attribute(*(("clip", 2.0) if clipped else ("activations", names))))
    with pytest.raises(mr.UnsupportedModel, match=rf"{kind} 'the_op' \(it is given lengths .* do not shut"):
        mr.fit(mr.load(model, input="x"), samples(), 0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_hard_gates_shut(kind: str) -> None:
    model = File(kind, "bidirectional", "ends", begins="zeros").model()
    node = next(node for node in model.graph.node if node.op_type == kind)
    names = ["HardSigmoid", "Relu", "Relu"][: 3 if kind == "LSTM" else 2]
    node.attribute.append(helper.make_attribute("activations", names * 2))
    net = mr.load(model, input="x")
    assert not net.blocked
    assert_same(net, model, samples())


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("slope", [0.5, 0.0, -0.2])
def test_slopes_of_hard_gates(kind: str, slope: float) -> None:
    """A gate that falls, or stays where it is, is not shut. That of a LeakyRelu, which is told behind, may be any."""
    model = File(kind, "bidirectional", "ends", begins="zeros").model()
    node = next(node for node in model.graph.node if node.op_type == kind)
    names = ["HardSigmoid", "LeakyRelu", "Tanh"][: 3 if kind == "LSTM" else 2]
    node.attribute.append(helper.make_attribute("activations", names * 2))
    node.attribute.append(helper.make_attribute("activation_alpha", [slope, -0.1] * 2))
    if slope > 0:
        assert_same(mr.load(model, input="x"), model, samples())
        return
    with pytest.raises(mr.UnsupportedModel, match=rf"{kind} 'the_op' \(it is given lengths .* do not shut"):
        mr.fit(mr.load(model, input="x"), samples(), 0)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    file, reason = REFUSED[name]
    with pytest.raises(mr.UnsupportedModel, match=rf"{file.kind} 'the_op' \([^)]*{reason}") as told:
        mr.fit(mr.load(file.model(), input="x"), samples(), 0)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("length", [-1, STEPS + 1])
@pytest.mark.parametrize("where", ["predict", "fit", "attribute"])
def test_a_length_that_no_sequence_has(length: int, where: str) -> None:
    """onnxruntime refuses it, and so does everything here."""
    net, feed = mr.load(File().model(), input="x"), samples()
    wrong = {**feed, "lengths": feed["lengths"].copy()}
    wrong["lengths"][7] = length
    calls: dict[str, Any] = {
        "predict": net.predict,
        "fit": lambda data: mr.fit(net, data, 0),
        "attribute": mr.fit(net, feed, 0).attribute,
    }
    said = rf"'lengths' holds length {length} of a sample, and its sequence has 5 steps: lengths go from 0 to 5"
    with pytest.raises(mr.InvalidData, match=said) as told:
        calls[where](wrong)
    assert "\n" not in str(told.value)


def test_computed_lengths_that_no_sequence_has() -> None:
    """A mask that counts twice."""
    net, feed = mr.load(File(lengths="mask").model(), input="x"), samples()
    with pytest.raises(mr.InvalidData, match=r"holds length 10 of a sample, and its sequence has 5 steps"):
        net.predict({"x": feed["x"], "mask": np.full((40, STEPS), 2)})


def test_names_of_the_file_stay() -> None:
    """What is written in the place of a node is called after it, and has no name that the file has."""
    model = File(read="ends").model()
    model.graph.input[0].name = "ends:steps"
    model.graph.node[0].input[0] = "ends:steps"
    net = mr.load(model, input="ends:steps")
    feed = samples()
    np.testing.assert_allclose(
        net.predict({"ends:steps": feed["x"], "lengths": feed["lengths"]})[1],
        run(model, {"ends:steps": feed["x"], "lengths": feed["lengths"]}),
        rtol=0,
        atol=64 * EPS,
    )
    assert net.input_shape[-1] == FEATURES
