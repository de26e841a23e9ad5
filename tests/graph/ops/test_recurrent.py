"""What is read of LSTM and GRU: every output, initial states, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.networks import to_onnx
from tests.networks.recurrent import FEATURES, RECURRENT, SIZE, STEPS

BLOCKS = {"LSTM": 4, "GRU": 3}


def model(
    kind: str = "LSTM",
    *,
    directions: int = 1,
    read: int = 1,
    extra: dict[int, np.ndarray | str] | None = None,
    batch: int | str = "batch",
    **attributes: Any,
) -> onnx.ModelProto:
    """A file whose logits are output number `read`, flat; extra: inputs by place; "states": made of the batch."""
    rng = np.random.default_rng(0)
    arrays = {
        "W": rng.standard_normal((directions, BLOCKS[kind] * SIZE, FEATURES)),
        "R": rng.standard_normal((directions, BLOCKS[kind] * SIZE, SIZE)),
    }
    stored = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    nodes = [helper.make_node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2])]
    inputs = ["sequence", "W", "R", *[""] * 5]
    for place, value in (extra or {}).items():
        inputs[place] = f"input{place}"
        if isinstance(value, np.ndarray):
            stored.append(numpy_helper.from_array(value, inputs[place]))
            continue
        stored += [
            numpy_helper.from_array(np.array(one, np.int64), f"{name}{place}")
            for name, one in (
                ("D", [2 * directions]),
                ("one", [1]),
                ("two", [2]),
                ("H", [SIZE]),
                ("none", [0]),
                ("to", [directions]),
            )
        ]
        nodes += [
            helper.make_node("Shape", ["sequence"], [f"sizes{place}"]),
            helper.make_node("Slice", [f"sizes{place}", f"one{place}", f"two{place}"], [f"batch{place}"]),
            helper.make_node("Concat", [f"D{place}", f"batch{place}", f"H{place}"], [f"shape{place}"], axis=0),
            helper.make_node(
                "ConstantOfShape",
                [f"shape{place}"],
                [f"all{place}"],
                value=numpy_helper.from_array(np.array([0.25], np.float32)),
            ),
            helper.make_node("Slice", [f"all{place}", f"none{place}", f"to{place}", f"none{place}"], [inputs[place]]),
        ]
    while not inputs[-1]:
        inputs.pop()
    outputs = ["y", "h", "c"][: 3 if kind == "LSTM" else 2]
    nodes.append(helper.make_node(kind, inputs, outputs, name="the_op", hidden_size=SIZE, **attributes))
    turned = [[2, 0, 1, 3], [1, 0, 2], [1, 0, 2]][read]
    nodes.append(helper.make_node("Transpose", [outputs[read]], ["first"], perm=turned))
    nodes.append(helper.make_node("Flatten", ["first"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, STEPS, FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, "k"])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("kind", "read"), [("LSTM", 0), ("LSTM", 1), ("LSTM", 2), ("GRU", 0), ("GRU", 1)])
def test_every_output_of_both_directions(kind: str, directions: int, read: int) -> None:
    """The values are onnxruntime's, by load's own check; a last cell is there only where it is read."""
    direction = "forward" if directions == 1 else "bidirectional"
    net = mr.load(model(kind, directions=directions, read=read, direction=direction))
    (layer,) = [layer for layer in net.layers if layer.kind == kind]
    assert layer.out_shape == (STEPS + (read == 2), directions * SIZE)
    assert ("last cell" in layer.describe()) == (read == 2)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_states_that_are_made_for_each_sample(kind: str) -> None:
    """As torch's exporters write them: constants of as many samples as there are, and a part of these."""
    net = mr.load(model(kind, extra={5: "states"}))
    (layer,) = [layer for layer in net.layers if layer.kind == kind]
    assert np.all(layer.arrays["hidden"] == 0.25)


@pytest.mark.parametrize("batch", ["batch", 1], ids=["of the batch", "of one sample"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_states_that_are_given_as_an_input(kind: str, batch: int | str) -> None:
    """Bound by `given`, one for all samples, also where the file says that it is of one and runs one at a time; state
    changes the logits.
    """
    made = model(kind)
    made.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, batch, SIZE]))
    node = next(node for node in made.graph.node if node.op_type == kind)
    node.input.extend([""] * (5 - len(node.input)) + ["h0"])
    x = np.random.default_rng(1).standard_normal((4, STEPS, FEATURES)).astype(np.float32)
    logits = []
    for value in (0.0, 0.5):
        net = mr.load(made, given={"h0": np.full((1, 1, SIZE), value, np.float32)})
        logits.append(net.predict(x)[1])
        assert np.all(np.isfinite(mr.fit(net, x, 0).attribute(x).source))
    assert np.max(np.abs(logits[0] - logits[1])) > 1e-3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "layout": ({"layout": 1}, "its layout is 1, which onnxruntime does not run"),
    "sequence lengths": (
        {"extra": {4: np.array([STEPS + 1], np.int32)}, "batch": 1},
        "its lengths 'input4' are constants other than its 4 steps",
    ),
    "peepholes": (
        {"extra": {7: np.ones((1, 2 * SIZE), np.float32)}},
        r"its peepholes of shape \(1, 4\) do not fit 1 directions of 2 units",
    ),
    "clip": ({"clip": 0.5}, "it clips its gates"),
    "coupled": ({"input_forget": 1}, "it clips its gates, or couples them"),
    "activations": (
        {"activations": ["Sigmoid", "Tanh", "ScaledTanh"]},
        "its activations are Sigmoid, Tanh, ScaledTanh",
    ),
    "gates": ({"activations": ["Relu", "Tanh", "Tanh"]}, "its activations are Relu, Tanh, Tanh"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    options, reason = REFUSED[name]
    with pytest.raises(mr.UnsupportedModel, match=rf"LSTM 'the_op' \({reason}"):
        mr.load(model(**options))


def test_activations_that_are_stated_as_they_are_by_default() -> None:
    assert mr.load(model(activations=["Sigmoid", "Tanh", "Tanh"]))
    assert mr.load(model("GRU", activations=["Sigmoid", "Tanh"]))


def test_a_scan_is_refused_by_name() -> None:
    made = model()
    inside = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["o"]), helper.make_node("Identity", ["o"], ["p"])],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("s", "e")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("o", "p")],
    )
    del made.graph.node[1:]
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((1, FEATURES), np.float32), "zero"))
    made.graph.node.append(
        helper.make_node("Scan", ["zero", "sequence"], ["last", "every"], name="the_op", body=inside, num_scan_inputs=1)
    )
    made.graph.node.append(helper.make_node("Identity", ["last"], ["logits"]))
    with pytest.raises(mr.UnsupportedModel, match=r"Scan 'the_op' \(it runs subgraphs, which have no inverse\)"):
        mr.load(made)


@pytest.mark.parametrize("name", ["lstm, both ways", "gru, computed state"])
def test_no_signal_comes_back_to_the_state(name: str) -> None:
    network = RECURRENT[name](0)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    for layer in net.layers:
        if layer.kind in ("LSTM", "GRU"):
            assert layer.paths == (0,)
            assert not np.any(layer.leads(np.ones(layer.out_shape, np.bool_), 1))
