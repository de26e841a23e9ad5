"""What has no inverse is refused in one sentence that names every offending node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from tests.graph.sketch import Sketch, load_whole


def refusal(sketch: Sketch, *outputs: str, check: bool = True) -> mr.UnsupportedModel:
    with pytest.raises(mr.UnsupportedModel) as caught:
        load_whole(sketch.model(*outputs, check=check))
    message = str(caught.value)
    assert "\n" not in message
    assert message[0].islower() or message[0] == "'"
    return caught.value


def names(error: mr.UnsupportedModel) -> list[str]:
    return [entry.split("'")[1].removeprefix("the_") for entry in error.nodes]


def test_every_node_is_listed_at_once() -> None:
    """One behind the other, each with its reason; those that the output does not depend on are left out."""
    sketch = Sketch(2, 6, 6)
    out = sketch.batch_norm("x", 2, out="training", training_mode=1, outputs=3)
    gate = sketch.node("Max", out, sketch.node("GlobalAveragePool", out), out="broadcast")
    left = sketch.conv(gate, 2, 2, (1, 1))
    right = sketch.node("ReduceMean", sketch.node("Sin", gate, out="unknown"), axes=[0], keepdims=1, out="batch_mean")
    sketch.node("Concat", left, right, sketch.const(np.ones((1, 2, 6, 6))), axis=1, out="constant_part")
    out = sketch.node("Resize", left, "", sketch.const(np.array([1, 1, 1.5, 1.5])), mode="cubic", out="cubic")
    sketch.node("Hardmax", out, out="largest")
    sketch.node("Concat", "largest", "largest", axis=0, out="batches")
    error = refusal(sketch, sketch.dense(sketch.node("Flatten", "batches"), 162, 3))
    assert [entry.split(" (")[1].rstrip(")") for entry in error.nodes] == [
        "training_mode is on: set it to 0 in the file",
        "it broadcasts [N, 2, 1, 1] and [N, 2, 6, 6] against each other",
        "it resizes with mode 'cubic'; only nearest and linear have an inverse",
        "no inverse is known for this operator",
        "it joins along the batch",
    ]
    assert names(error) == ["training", "broadcast", "cubic", "largest", "batches"]
    assert all(f"the_{name}" in str(error) for name in names(error))


def test_nodes_found_late_are_listed_too() -> None:
    """An unknown operator on one branch, a Softmax in the middle of another; the final Softmax is none of them."""
    sketch = Sketch(4)
    left = sketch.node("Sin", "x", out="unknown")
    right = sketch.node("Softmax", sketch.dense("x", 4, 4), out="middle")
    out = sketch.node("Softmax", sketch.dense(sketch.node("Add", left, right), 4, 3), out="final")
    assert names(refusal(sketch, out)) == ["unknown", "middle"]
    out = sketch.node("Sin", out, out="at_the_end")
    assert names(refusal(sketch, out)) == ["unknown", "middle", "final", "at_the_end"]


def test_softmax_before_an_output_of_unknown_shape() -> None:
    sketch = Sketch(4)
    mystery = sketch.node("Mystery", sketch.node("Softmax", "x", out="middle"), domain="com.example", out="mystery")
    assert names(refusal(sketch, sketch.node("Relu", mystery))) == ["middle", "mystery"]


@pytest.mark.parametrize("op", ["Sin", "Round", "Hardmax", "Cos"])
def test_unknown_operator(op: str) -> None:
    sketch = Sketch(4)
    out = sketch.node(op, sketch.dense("x", 4, 3), out="odd")
    assert refusal(sketch, out).nodes == (f"{op} 'the_odd' (no inverse is known for this operator)",)


def test_custom_domain() -> None:
    sketch = Sketch(4)
    out = sketch.node("Conv", "x", domain="com.example", out="odd")
    assert refusal(sketch, out).nodes == ("com.example.Conv 'the_odd' (no inverse is known for this operator)",)


def test_a_message_of_thousands_of_nodes() -> None:
    """A file of a few kilobytes does not fill the terminal: `nodes` has all of them, the message their number."""
    sketch, out = Sketch(4), "x"
    for number in range(1234):
        out = sketch.node("Sin", out, out=f"odd{number}")
    error = refusal(sketch, out)
    assert names(error) == [f"odd{number}" for number in range(1234)]
    assert str(error).endswith(": 1,234 Sin, first 'the_odd0' (no inverse is known for this operator)")


def test_a_message_of_many_kinds_of_nodes() -> None:
    """The largest groups are told, what differs in names and numbers alone is one, and `nodes` has each in full."""
    sketch, out = Sketch(4), "x"
    for number in range(40):
        out = sketch.node(f"Odd{number % 20}", out, domain="com.example", out=f"odd{number}")
    for axis in (1, 2):
        for number in range(3):
            out = sketch.node("Sin", sketch.node("Relu", out), out=f"sin{axis}{number}")
    error = refusal(sketch, out, check=False)
    assert len(error.nodes) == 46
    told = str(error).partition("operator)")[0], str(error).count("no inverse is known"), str(error)
    assert told[0].endswith("6 Sin, first 'the_sin10' (no inverse is known for this ")
    assert told[1] == 15
    assert told[2].endswith(
        "2 com.example.Odd13, first 'the_odd13' (no inverse is known for this operator); and 12 more"
    )


def test_reasons_that_differ_in_names_and_numbers_alone_are_one_group() -> None:
    sketch = Sketch(2, 6, 6)
    for number, size in enumerate((2, 4, 4)):
        sketch.node("LRN", f"even{number - 1}" if number else "x", size=size, out=f"even{number}")
    error = refusal(sketch, sketch.dense(sketch.node("Flatten", "even2"), 72, 3))
    assert len({entry.split(" (")[1] for entry in error.nodes}) == 2
    assert str(error).endswith(f"3 LRN, first 'the_even0' ({error.nodes[0].split(' (', 1)[1]}")


def test_unnamed_node_goes_by_its_output() -> None:
    sketch = Sketch(4)
    out = sketch.node("Sin", "x", out="tensor_name")
    sketch.nodes[0].name = ""
    assert "Sin 'tensor_name'" in str(refusal(sketch, out))


def test_if_and_loop() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["N", 4])],
    )
    sketch = Sketch(4)
    flag = sketch.node("Cast", sketch.node("ReduceMax", "x", axes=[0, 1], keepdims=0), to=TensorProto.BOOL)
    out = sketch.node("If", flag, then_branch=body, else_branch=body, out="choice")
    state = [helper.make_tensor_value_info(f"s{i}", TensorProto.FLOAT, ["N", 4]) for i in "ab"]
    flags = [helper.make_tensor_value_info(f"c{i}", TensorProto.BOOL, []) for i in "ab"]
    loop = helper.make_graph(
        [helper.make_node("Identity", ["ca"], ["cb"]), helper.make_node("Relu", ["sa"], ["sb"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), flags[0], state[0]],
        [flags[1], state[1]],
    )
    turns = sketch.node("Cast", sketch.node("ReduceMax", out, axes=[0, 1], keepdims=0), to=TensorProto.INT64)
    out = sketch.node("Loop", turns, sketch.const(np.array(True)), out, body=loop, out="turns")
    error = refusal(sketch, sketch.dense(out, 4, 3))
    whole = [node for node in error.nodes if node.startswith(("If", "Loop"))]
    assert whole == [
        "If 'the_choice' (it runs subgraphs, which have no inverse)",
        "Loop 'the_turns' (how often it runs depends on the input)",
    ]


def test_scan() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("row", "fired")]
    body = helper.make_graph([helper.make_node("Relu", ["row"], ["fired"])], "body", values[:1], values[1:])
    sketch = Sketch(6, 4)
    out = sketch.node("Scan", "x", body=body, num_scan_inputs=1, out="scanned")
    assert refusal(sketch, out).nodes == ("Scan 'the_scanned' (it runs subgraphs, which have no inverse)",)


@pytest.mark.parametrize("op", ["Conv", "PRelu"])
def test_parameter_that_depends_on_the_input(op: str) -> None:
    sketch = Sketch(4, 4, 4)
    own = sketch.node("Relu", "x")
    (entry,) = refusal(sketch, sketch.node(op, "x", own, out="odd")).nodes
    assert entry == f"{op} 'the_odd' (input {own!r} is not a constant)"


def test_input_in_the_place_of_a_weight() -> None:
    sketch = Sketch(4, 4, 4)
    out = sketch.node("Conv", sketch.normal(1, 4, 5, 5), "x", out="odd")
    assert refusal(sketch, out).nodes == ("Conv 'the_odd' (input 'x' is not a constant)",)


def test_attention() -> None:
    """Without a softmax, or with one over another axis than is summed; its own values read besides."""
    for axis, told in ((None, ["mixed"]), (1, ["weights", "mixed"])):
        sketch = Sketch(6, 4)
        keys = sketch.node("Transpose", "x", perm=[0, 2, 1])
        weights = scores = sketch.node("MatMul", "x", keys, out="scores")
        if axis is not None:
            weights = sketch.node("Softmax", scores, out="weights", axis=axis)
        mixed = sketch.node("MatMul", weights, "x", out="mixed")
        error = refusal(sketch, sketch.dense(sketch.node("Flatten", mixed), 24, 3))
        assert names(error)[-len(told) :] == told
        product = "which both depend on the input, and neither is a softmax over what is summed: no attention"
        assert product in error.nodes[-1]


def test_another_matrix_at_each_place() -> None:
    sketch = Sketch(6, 4)
    out = sketch.node("MatMul", "x", sketch.normal(6, 4, 3), out="tokens")
    assert "a product with 6 matrices" in refusal(sketch, out).nodes[0]


def test_softmax_in_the_middle() -> None:
    sketch = Sketch(4)
    out = sketch.dense(sketch.node("Softmax", sketch.dense("x", 4, 4), out="middle"), 4, 3)
    assert "Softmax 'the_middle'" in refusal(sketch, out).nodes[0]


def test_training_mode() -> None:
    sketch = Sketch(4)
    dropped = sketch.node("Dropout", "x", sketch.const(0.5), sketch.const(np.array(True)), out="dropped")
    normed = sketch.batch_norm(sketch.dense(dropped, 4, 3), 3, training_mode=1, outputs=3, out="normed")
    error = refusal(sketch, normed)
    assert [("training_mode" in entry, entry.split("'")[1]) for entry in error.nodes] == [
        (True, "the_dropped"),
        (True, "the_normed"),
    ]


def test_second_output_of_a_node() -> None:
    sketch = Sketch(2, 4, 4)
    sketch.node("MaxPool", "x", kernel_shape=[2, 2], outputs=2, out="pooled")
    out = sketch.node("Cast", "pooled_1", to=TensorProto.FLOAT, out="indices")
    assert "'pooled_1'" in refusal(sketch, out).nodes[0]


def test_cast_to_integers() -> None:
    sketch = Sketch(4)
    whole = sketch.node("Cast", "x", to=TensorProto.INT32, out="whole")
    out = sketch.node("Cast", whole, to=TensorProto.FLOAT)
    assert "the_whole" in refusal(sketch, out).nodes[0]


# --- inputs and outputs -----------------------------------------------------------------------------------------------


def test_two_inputs() -> None:
    sketch = Sketch(4)
    sketch.inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4]))
    told = str(refusal(sketch, sketch.node("Add", "x", "y")))
    assert told == (
        "the network has 2 inputs, 'x' float [N, 4], 'y' float [N, 4]: bind all but the one to explain to a value, "
        "option 'given', or name it, option 'input', where x holds values of all"
    )


def test_inputs_sizes_and_outputs_are_asked_for_in_one_message() -> None:
    """The batch of a state is none of the sizes that are asked for, though it is not the state's first axis."""
    sketch = Sketch(3, "H", "W", batch="batch")
    sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 3, "H", "W"]))
    sketch.inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, "batch", 4]))
    out = sketch.node("ReduceMean", sketch.node("Add", "x", "mask"), axes=[2, 3], keepdims=0, out="one")
    other = sketch.node("Relu", "state", out="other")
    with pytest.raises(mr.InvalidData) as caught:
        mr.load(sketch.model(out, other))
    assert str(caught.value) == (
        "the network has 2 outputs (one, other): name the one to explain, option 'output'; the network has 3 inputs, "
        "'x' float [batch, 3, H, W], 'mask' float [batch, 3, H, W], 'state' float [2, batch, 4]: bind all but the one "
        "to explain to a value, option 'given', or name it, option 'input', where x holds values of all; the file "
        "leaves axes 2 (H), 3 (W) of input 'x' float [batch, 3, H, W], axes 2 (H), 3 (W) of input 'mask' float "
        "[batch, 3, H, W] open: give the sizes of a sample of the one to explain, option 'input_shape'"
    )
    with pytest.raises(mr.UnsupportedModel) as refused:
        mr.load(sketch.model(out, other), output="one", input_shape={"x": (3, 4, 4)})
    assert "2 inputs" in str(refused.value)
    assert "axes 2 (H), 3 (W) of input 'mask'" in str(refused.value)
    assert "of input 'x'" not in str(refused.value)


def test_sizes_that_the_network_cannot_take() -> None:
    """What onnxruntime says of them is told first: of the nodes it is not their kind that is wrong."""
    sketch = Sketch(2, "H")
    halves = sketch.node("Split", sketch.node("Sin", "x"), axis=2, outputs=2, out="half")
    joined = sketch.node("Concat", halves, "half_1", sketch.normal(1, 2, 3), axis=1)
    out = sketch.dense(sketch.node("Flatten", joined), 18, 3)
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(sketch.model(out), input_shape={"x": (2, 7)})
    assert str(caught.value).startswith(
        "the network cannot take samples of 2×7, which option 'input_shape' asks for (onnxruntime: "
    )
    assert "\n" not in str(caught.value)
    assert "Sin 'the_sin0' (no inverse is known for this operator)" in caught.value.nodes


def test_two_float_outputs_need_a_choice() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("Relu", "x", out="a"), sketch.node("Tanh", "x", out="b"))
    with pytest.raises(mr.InvalidData, match=r"2 outputs \(a, b\): name the one to explain, option 'output'"):
        mr.load(model)
    with pytest.raises(mr.InvalidData, match="no output 'c'; its outputs are a, b"):
        mr.load(model, output="c")


def test_no_floating_point_output() -> None:
    sketch = Sketch(4)
    label = sketch.node("ArgMax", "x", out="label")
    assert "label" in str(refusal(sketch, label))


def test_output_that_does_not_depend_on_the_input() -> None:
    sketch = Sketch(4)
    constant = sketch.node("Add", sketch.normal(1, 3), sketch.normal(1, 3), out="constant")
    assert "the output does not depend on any input" in str(refusal(sketch, constant))


def test_output_that_depends_on_the_shape_of_the_input_alone() -> None:
    sketch = Sketch(4)
    out = sketch.node("Cast", sketch.node("Shape", "x"), to=TensorProto.FLOAT, out="lengths")
    assert "'lengths' does not depend on" in str(refusal(sketch, out))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((3, "H", "W"), "leaves axes 2 (H), 3 (W) of input 'x' float [N, 3, H, W] open: give the sizes of a sample"),
        ((0,), "leaves axis 1 of input 'x' float [N, ?] open"),
        ((), "at least one more"),
    ],
)
def test_input_shape(shape: tuple[int | str, ...], reason: str) -> None:
    sketch = Sketch(*shape)
    assert reason in str(refusal(sketch, sketch.node("Relu", "x")))


def test_scalar_input() -> None:
    sketch = Sketch()
    del sketch.inputs[:]
    sketch.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, []))
    assert "at least one more" in str(refusal(sketch, sketch.node("Relu", "x")))


@pytest.mark.parametrize("dtype", [TensorProto.BOOL, TensorProto.UINT64, TensorProto.BFLOAT16])
def test_input_type(dtype: int) -> None:
    sketch = Sketch(4, dtype=dtype)
    out = sketch.node("Cast", "x", to=TensorProto.FLOAT, out="scores")
    sketch.dtype = TensorProto.FLOAT
    assert "'x' holds neither floating-point numbers nor integers" in str(refusal(sketch, out))


def test_opset_6() -> None:
    sketch = Sketch(4, opset=6)
    assert "opset 6; opset 7 is the oldest" in str(refusal(sketch, sketch.node("Relu", "x")))


@pytest.mark.parametrize("op", ["Identity", "Softmax"])
def test_nothing_but_names(op: str) -> None:
    sketch = Sketch(4)
    assert "nothing to invert" in str(refusal(sketch, sketch.node(op, "x")))


def test_weight_that_does_not_fit() -> None:
    sketch = Sketch(4)
    out = sketch.node("MatMul", "x", sketch.normal(5, 3), out="odd")
    model = sketch.model(out, check=False)
    onnx.checker.check_model(model)
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*does not fit 4 features"):
        load_whole(model)


def test_model_that_onnxruntime_cannot_run() -> None:
    sketch = Sketch(3, 6, 6, dtype=TensorProto.DOUBLE)
    with pytest.raises(mr.UnsupportedModel, match="onnxruntime cannot run the file"):
        load_whole(sketch.model(sketch.conv("x", 3, 2)))
