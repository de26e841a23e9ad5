"""A Loop whose turns the file tells is its turns one after another, as tf2onnx writes recurrent layers of Keras."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.graph.draft import Draft
from mipin_ref.graph.limits import LOOPS, TURNS, WRITTEN, Spent
from mipin_ref.graph.loops import Repeated, turns_written_out
from mipin_ref.graph.node import node_of
from tests.graph.sketch import Sketch, assert_keeps_values
from tests.graph.unrolled.test_by_hand import (
    FEATURES,
    SIZE,
    STEPS,
    TOLERANCE,
    drawn,
    gru_step,
    lstm_step,
    nothing,
    operator,
    products,
    samples,
)

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def value(name: str, kind: int = FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def body(kind: str, *, again: str = "count", stops: int = STEPS) -> GraphProto:
    """A turn as tf2onnx writes it: a counter, and the states, are handed on; each turn hands out a hidden state.

    again: whether it goes on by the counter, by what it was told, or by what the states are.
    """
    inner = Sketch()
    count = inner.node("Add", "count", inner.const(np.int32(1)))
    x = inner.node("Gather", "sequence", "count", axis=0)
    told, cell = drawn({"LSTM": 4, "GRU": 3}.get(kind, 1)), "c"
    if kind == "LSTM":
        hidden, cell = lstm_step(inner, x, ("h", "c"), told)
    elif kind == "GRU":
        hidden = gru_step(inner, x, "h", told)
    else:
        hidden = inner.node("Tanh", inner.node("Add", products(inner, x, "h", told), inner.const(told[2])))
    states = [inner.node("Identity", one) for one in (hidden, cell)]
    go = {"told": lambda: inner.node("Identity", "go")}.get(again)
    if go is None:
        asked = inner.node("Less", inner.node("Cast", count, to=FLOAT), inner.const(float(stops)))
        if again == "states":
            most = inner.node("ReduceMax", hidden, keepdims=0)
            asked = inner.node("Less", most, inner.const(9.0))
        again = inner.node("And", asked, "go")
    else:
        again = go()
    given = [value("turn", INT64, []), value("go", BOOL, []), value("count", INT32, []), value("h"), value("c")]
    made = [value(again, BOOL, []), value(count, INT32, []), *map(value, states), value(hidden)]
    return helper.make_graph(inner.nodes, "body", given, made, inner.initializers)


def looped(
    kind: str, *, most: int | None = None, again: str = "count", stops: int = STEPS, every: bool = False
) -> ModelProto:
    """The head reads the last hidden state that is handed out; every: all of them."""
    sketch = Sketch(STEPS, FEATURES)
    sketch.node("Transpose", "x", perm=[1, 0, 2], out="sequence")
    zeros = nothing(sketch)
    turns = "" if most is None else sketch.const(np.array(most))
    given = (turns, sketch.const(np.array(True)), sketch.const(np.int32(0)), zeros, zeros)
    name = sketch.node("Loop", *given, body=body(kind, again=again, stops=stops), outputs=4)
    rows = f"{name}_3"
    if every:
        flat = sketch.node("Reshape", sketch.node("Transpose", rows, perm=[1, 0, 2]), sketch.ints(-1, STEPS * SIZE))
        return sketch.model(sketch.dense(flat, STEPS * SIZE, 3), check=False)
    last = sketch.node("Slice", rows, sketch.ints(-1), sketch.ints(2**31 - 1), sketch.ints(0))
    end = sketch.node("Squeeze", last, sketch.ints(0))
    return sketch.model(sketch.node("MatMul", end, sketch.const(drawn(1, seed=9)[1])), check=False)


def stepwise() -> ModelProto:
    """The same of a SimpleRNN, turn after turn."""
    sketch, told = Sketch(STEPS, FEATURES), drawn(1)
    hidden = nothing(sketch)
    for step in range(STEPS):
        x = sketch.node("Gather", "x", sketch.const(np.array(step)), axis=1)
        hidden = sketch.node("Tanh", sketch.node("Add", products(sketch, x, hidden, told), sketch.const(told[2])))
    return sketch.model(sketch.node("MatMul", hidden, sketch.const(drawn(1, seed=9)[1])), check=False)


def assert_same(nets: list[mr.Network]) -> None:
    x = samples()
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_turns_of_a_cell_are_the_operator(kind: str) -> None:
    nets = [mr.load(looped(kind, most=STEPS)), mr.load(operator(kind))]
    assert [layer.kind for layer in nets[0].layers].count(kind) == 1
    assert "Gate" not in {layer.kind for layer in nets[0].layers}
    assert_same(nets)


def test_turns_of_a_plain_cell_are_steps() -> None:
    assert_same([mr.load(looped("RNN", most=STEPS)), mr.load(stepwise())])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_all_states_are_the_sequence_that_the_operator_makes(kind: str) -> None:
    net = assert_keeps_values(looped(kind, most=STEPS, every=True))
    assert not {"Gather", "Concat", "Gate"} & {layer.kind for layer in net.layers}
    assert len(net.layers) < 9


@pytest.mark.parametrize(
    ("most", "again", "stops"), [(STEPS, "told", 0), (None, "count", STEPS), (9, "count", STEPS), (STEPS, "count", 9)]
)
def test_whatever_ends_it(most: int | None, again: str, stops: int) -> None:
    assert_same([mr.load(looped("GRU", most=most, again=again, stops=stops)), mr.load(operator("GRU"))])


def reason(model: ModelProto) -> str:
    """Why a Loop is left to onnxruntime, and what makes the sequence cannot be explained."""
    (problem,) = mr.load(model, check=False).blocked["x"]
    assert str(problem).startswith("Loop 'the_")
    return str(problem.reason)


def test_what_the_input_ends_is_refused_by_name() -> None:
    assert reason(looped("GRU", most=STEPS, again="states")) == "how often it runs depends on the input"


def test_a_number_of_turns_that_the_input_tells() -> None:
    sketch = Sketch(4)
    turns = sketch.node("Cast", sketch.node("ReduceMax", "x", keepdims=0), to=INT64)
    inner = Sketch()
    ends = [value(inner.node("Identity", "go"), BOOL, []), value(inner.node("Relu", "h"))]
    given = [value("turn", INT64, []), value("go", BOOL, []), value("h")]
    each = helper.make_graph(inner.nodes, "body", given, ends)
    sketch.node("Loop", turns, sketch.const(np.array(True)), sketch.dense("x", 4, 4), body=each, out="turns")
    net = mr.load(sketch.model(sketch.dense("turns", 4, 3), check=False), check=False)
    told = [problem.reason for problem in net.blocked["x"] if "turns" in str(problem)]
    assert told == ["how often it runs depends on the input"]


def test_more_turns_than_any_cell_takes() -> None:
    """They are counted before they are written."""
    started = time.monotonic()
    assert reason(relus(TURNS // 3)) == f"its turns are more than {TURNS:,} nodes"
    assert time.monotonic() - started < 20


def relus(turns: int, *, inner: int | None = None) -> ModelProto:
    """So many times a Relu, or a Loop of `inner` of them."""
    each, level = Sketch(), "outer" if inner else "inner"
    ends = [value(each.node("Identity", f"{level} go", out=f"{level} goes on"), BOOL, [])]
    given = [value(f"{level} turn", INT64, []), value(f"{level} go", BOOL, []), value(f"{level} h")]
    if inner is None:
        ends.append(value(each.node("Neg", each.node("Relu", each.node("Neg", "inner h")))))
    else:
        within = relus(inner).graph.node[0].attribute[0].g
        times = each.const(np.array(inner), "times")
        ends.append(value(each.node("Loop", times, "outer go", "outer h", body=within, out="both")))
    graph = helper.make_graph(each.nodes, "body", given, ends, each.initializers)
    sketch = Sketch(4)
    last = sketch.node("Loop", sketch.const(np.array(turns)), sketch.const(np.array(True)), "x", body=graph)
    return sketch.model(sketch.dense(last, 4, 3), check=False)


def test_loops_in_one_another() -> None:
    net = assert_keeps_values(relus(3, inner=2))
    assert "x" not in net.blocked
    assert [layer.kind for layer in net.layers].count("Activation") <= 6


def test_more_loops_than_any_file_takes() -> None:
    net = mr.load(relus(LOOPS + 3, inner=2), check=False)
    told = {problem.reason for problem in net.blocked["x"]}
    assert told == {f"more than {LOOPS} are not written out"}


def turning(turns: int, *nodes: NodeProto, hands_out: str = "s", again: str = "go", **told: Any) -> Sketch:
    """x [N, 4] through the turns of a Loop of these nodes, which make "s" of "h", and the rest of a classifier behind.

    hands_out: what each turn hands out besides; told: inputs and outputs of the Loop, and constants of its body.
    """
    rows = [] if hands_out == "s" else [value(hands_out)]
    given = [value("turn", INT64, []), value("go", BOOL, []), value("h")]
    held = [numpy_helper.from_array(one, name) for name, one in told.get("held", {}).items()]
    graph = helper.make_graph(nodes, "body", given, [value(again, BOOL, []), value("s"), *rows], held)
    sketch = Sketch(4)
    going = sketch.const(np.array(True)) if told.get("asked", True) else ""
    inputs = [sketch.const(np.array(turns)), going, told.get("state", "x")]
    sketch.nodes.append(helper.make_node("Loop", inputs, told.get("outputs", ["last"]), "the_loop", body=graph))
    return sketch


TANH = helper.make_node("Tanh", ["h"], ["s"])
ROW = helper.make_node("Relu", ["s"], ["row"])


def behind_last_state(sketch: Sketch) -> Sketch:
    """The sketch, which reads "state", behind an LSTM of which it is the last, while nothing reads all of them."""
    sketch.inputs = [value("x", FLOAT, [STEPS, "batch", FEATURES])]
    weights = [sketch.normal(1, 16, size) for size in (FEATURES, 4)]
    lstm = helper.make_node("LSTM", ["x", *weights], ["", "hidden"], "the_lstm", hidden_size=4)
    sketch.nodes[:0] = [lstm, helper.make_node("Squeeze", ["hidden", sketch.ints(0)], ["state"])]
    return sketch


def test_a_loop_whose_first_output_nothing_reads() -> None:
    """It is not taken for another node that leaves its first output out."""
    sketch = behind_last_state(turning(3, TANH, ROW, hands_out="row", state="state", outputs=["", "rows"]))
    mean = sketch.node("ReduceMean", "rows", axes=[0], keepdims=0)
    net = mr.load(sketch.model(sketch.dense(mean, 4, 3), check=False))
    assert "LSTM" in {layer.kind for layer in net.layers}


def test_an_if_whose_first_output_nothing_reads() -> None:
    sketch = Sketch(4)
    branches = [
        helper.make_graph([helper.make_node(op, ["state"], [op]) for op in ops], "branch", [], [*map(value, ops)])
        for ops in (("Tanh", "Relu"), ("Relu", "Tanh"))
    ]
    told = dict(zip(("then_branch", "else_branch"), branches, strict=True))
    asked = sketch.const(np.array(True))
    sketch.nodes.append(helper.make_node("If", [asked], ["", "taken"], "the_if", **told))
    behind_last_state(sketch)
    net = mr.load(sketch.model(sketch.dense("taken", 4, 3), check=False))
    assert {"LSTM", "Activation"} <= {layer.kind for layer in net.layers}


def test_turns_without_nodes_are_counted() -> None:
    sketch = turning(1 << 20)
    sketch.nodes[0].attribute[0].g.output[1].name = "h"
    assert reason(sketch.model(sketch.dense("last", 4, 3), check=False)) == f"its turns are more than {TURNS:,} nodes"


def test_turns_are_written_in_time_in_proportion_to_them() -> None:
    """Each with a number of its own, whose names are found at once."""
    taken = []
    for turns in (1000, 4000):
        half = helper.make_node("Mul", ["h", "half"], ["s"])
        model = turning(turns, half, held={"half": np.float32(0.5)}).model("last", check=False)
        draft = Draft(17, None, np.dtype(np.float32), Spent(0), frozenset(), {})
        draft.constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        started = time.process_time()
        written = turns_written_out(model, Repeated(node_of(model.graph.node[0]), draft), 1 << 30)
        taken.append(time.process_time() - started)
        assert len(written.graph.initializer) == 3
    assert taken[1] < 10 * taken[0]


def test_turns_that_repeat_large_constants() -> None:
    large = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros(1 << 18, np.float32)))
    branch = helper.make_graph(
        [large, helper.make_node("ReduceSum", ["k"], ["m"]), helper.make_node("Add", ["h", "m"], ["a"])],
        "branch",
        [],
        [value("a")],
    )
    sketch = turning(
        WRITTEN // (1 << 20) + 1, helper.make_node("If", ["asked"], ["s"], then_branch=branch, else_branch=branch)
    )
    asked = [sketch.node("ReduceMax", "x", keepdims=0, out="most"), sketch.const(0.0)]
    sketch.node("Greater", *asked, out="asked")
    sketch.nodes[:] = [*sketch.nodes[1:], sketch.nodes[0]]
    model = sketch.model(sketch.dense("last", 4, 3), check=False)
    assert f"more than {WRITTEN:,} bytes" in str([*map(str, mr.load(model, check=False).blocked["x"])])


def test_a_loop_that_is_not_told_whether_it_goes_on() -> None:
    sketch = turning(3, TANH, asked=False)
    net = assert_keeps_values(sketch.model(sketch.dense("last", 4, 3), check=False))
    assert [layer.kind for layer in net.layers].count("Activation") == 3


def test_a_loop_of_no_turns_hands_on_its_states() -> None:
    sketch = turning(0, TANH)
    net = assert_keeps_values(sketch.model(sketch.dense("last", 4, 3), check=False))
    assert [layer.kind for layer in net.layers] == ["Dense"]


def test_no_turns_hand_out_no_rows() -> None:
    sketch = turning(0, TANH, ROW, hands_out="row", outputs=["last", "rows"])
    added = sketch.node("Add", sketch.node("ReduceSum", "rows", sketch.ints(0), keepdims=0), "last")
    told = reason(sketch.model(sketch.dense(added, 4, 3), check=False))
    assert told == "it does not run, and what it hands out has no rows"


def test_loops_beyond_the_last_are_refused_together() -> None:
    """Twice as many take less than as long again: the file is not read again for each of them."""
    taken = []
    for count in (LOOPS, 2 * LOOPS):
        started = time.monotonic()
        mr.load(relus(count, inner=2), check=False)
        taken.append(time.monotonic() - started)
    assert taken[1] < 2 * taken[0] + 2
