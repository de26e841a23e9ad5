"""Cells written out as other frameworks do, beside the operator; and what is no chain of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.graph.unrolled import rolled_up
from tests.graph.sketch import Array, Sketch
from tests.graph.test_refusals import refusal
from tests.inverse.test_recurrent import assert_agrees

STEPS, FEATURES, SIZE, COUNT = 4, 5, 3, 14
TOLERANCE = 1e-8
"""As in test_torch_cells: the same layers, fitted in double precision on one forward pass."""


def drawn(blocks: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Weights [D, blocks · H], recurrence [H, blocks · H] and bias [blocks · H]."""
    rng = np.random.default_rng(seed)
    shapes = ((FEATURES, blocks * SIZE), (SIZE, blocks * SIZE), (blocks * SIZE,))
    w, u, b = (rng.standard_normal(shape).astype(np.float32) / 2 for shape in shapes)
    return w, u, b


def row(sketch: Sketch, step: int, how: str) -> str:
    match how:
        case "joined" | "sliced" | "added" | "squeezed":
            return sketch.node("Gather", "x", sketch.const(np.array(step)), axis=1, out=f"{how} {step}")
        case "gather":
            return sketch.node("Gather", "x", sketch.const(np.array(step)), axis=1)
        case "slice":
            bounds = (sketch.ints(step), sketch.ints(step + 1), sketch.ints(1))
            return sketch.node("Squeeze", sketch.node("Slice", "x", *bounds), sketch.ints(1))
        case _:
            if step == 0:
                sketch.node("Split", "x", sketch.ints(*[1] * STEPS), out="rows", outputs=STEPS, axis=1)
            part = "rows" if step == 0 else f"rows_{step}"
            if how == "turned":
                # As onnxruntime's optimisers write steps that come first.
                part = sketch.node("Transpose", part, perm=[1, 0, 2])
            return sketch.node("Squeeze", part, sketch.ints(0 if how == "turned" else 1))


def gates(sketch: Sketch, x: str, h: str, told: tuple[Array, Array, Array], count: int) -> list[str]:
    """All gates of one step: two products, their sum, a bias, and a Split, or slices along both axes."""
    summed = sketch.node("Add", products(sketch, x, h, told), sketch.const(told[2]))
    if "sliced" in x:
        bounds = [(sketch.ints(0, i * SIZE), sketch.ints(2**31 - 1, (i + 1) * SIZE)) for i in range(count)]
        return [sketch.node("Slice", summed, *one, sketch.ints(0, 1)) for one in bounds]
    name = sketch.node("Split", summed, sketch.ints(*[SIZE] * count), outputs=count, axis=1)
    return [name, *(f"{name}_{i}" for i in range(1, count))]


def products(sketch: Sketch, x: str, h: str, told: tuple[Array, Array, Array]) -> str:
    """x W + h U, where tensors of some names ask for it as one product, as what a Gemm adds, or with none of a state
    that is zeros.
    """
    w, u, _ = told
    if "joined" in x:
        return sketch.node("MatMul", sketch.node("Concat", x, h, axis=1), sketch.const(np.concatenate([w, u])))
    if "added" in x or "squeezed" in x:
        past = sketch.node("MatMul", h, sketch.const(u))
        return sketch.node("Gemm", x, sketch.const(w), sketch.node("Squeeze", past) if "squeezed" in x else past)
    of_row = sketch.node("MatMul", x, sketch.const(w))
    return of_row if h == "folded" else sketch.node("Add", of_row, sketch.node("MatMul", h, sketch.const(u)))


def lstm_step(sketch: Sketch, x: str, states: tuple[str, str], told: Any) -> tuple[str, str]:
    """Blocks i, f, c, o, as Keras has them."""
    i, f, g, o = gates(sketch, x, states[0], told, 4)
    kept = sketch.node("Mul", states[1], sketch.node("Sigmoid", f))
    new = sketch.node("Mul", sketch.node("Tanh", g), sketch.node("Sigmoid", i))
    cell = sketch.node("Add", new, kept)
    return sketch.node("Mul", sketch.node("Tanh", cell), sketch.node("Sigmoid", o)), cell


def gru_step(sketch: Sketch, x: str, h: str, told: Any) -> str:
    """Blocks z, r, h, as Keras has them with reset_after off: the reset gate multiplies in front of the matrix."""
    w, u, b = told
    z, r = (
        sketch.node("Sigmoid", one)
        for one in gates(sketch, x, h, (w[:, : 2 * SIZE], u[:, : 2 * SIZE], b[: 2 * SIZE]), 2)
    )
    reset = sketch.node("Mul", r, h)
    summed = products(sketch, x, reset, (w[:, 2 * SIZE :], u[:, 2 * SIZE :], b))
    new = sketch.node("Tanh", sketch.node("Add", summed, sketch.const(b[2 * SIZE :])))
    rest = sketch.node("Sub", sketch.const(1.0), z)
    return sketch.node("Add", sketch.node("Mul", z, h), sketch.node("Mul", rest, new))


def nothing(sketch: Sketch, start: str = "each") -> str:
    """A state of zeros for each sample; or one that the file holds: "folded", of zeros of which it holds no product,
    "zeros" or "ones".
    """
    if start != "each":
        return sketch.const(np.full((1, SIZE), float(start == "ones")), start)
    batch = sketch.node("Gather", sketch.node("Shape", "x"), sketch.ints(0))
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    return sketch.node("ConstantOfShape", sketch.node("Concat", batch, sketch.ints(SIZE), axis=0), value=zero)


def unrolled(
    kind: str, how: str = "gather", other: int | None = None, read: str = "", ends: str = "hidden", start: str = "each"
) -> ModelProto:
    """other: a step of other weights; read: a gate that the head reads too; ends: the last state that the head reads,
    hidden or cell; start: the state that it begins with.
    """
    # A state of one sample stands beside rows only in a file of that batch size.
    sketch, blocks = Sketch(STEPS, FEATURES, batch="N" if start == "each" else 1), 4 if kind == "LSTM" else 3
    h = c = nothing(sketch, start)
    for step in range(STEPS):
        told, x = drawn(blocks, seed=int(step == other)), row(sketch, step, how)
        if kind == "LSTM":
            h, c = lstm_step(sketch, x, (h, c), told)
        else:
            h = gru_step(sketch, x, h, told)
    if read:
        inner = next(node.output[0] for node in sketch.nodes if node.op_type == read)
        h = sketch.node("Add", h, inner)
    last = c if ends == "cell" else h
    return sketch.model(sketch.node("MatMul", last, sketch.const(drawn(1, seed=9)[1])))


def operator(kind: str) -> ModelProto:
    sketch, blocks = Sketch(STEPS, FEATURES), 4 if kind == "LSTM" else 3
    # ONNX has i, o, f, c; and z, r, h.
    order = [0, 3, 1, 2] if kind == "LSTM" else [0, 1, 2]
    w, u, b = (np.concatenate([np.split(v, blocks, axis=-1)[i] for i in order], axis=-1) for v in drawn(blocks))
    steps = sketch.node("Transpose", "x", perm=[1, 0, 2])
    given = [sketch.const(w.T[None]), sketch.const(u.T[None]), sketch.const(np.concatenate([b, 0 * b])[None])]
    every = sketch.node(kind, steps, *given, hidden_size=SIZE)
    last = sketch.node("Gather", sketch.node("Squeeze", every, sketch.ints(1)), sketch.const(np.array(STEPS - 1)))
    return sketch.model(sketch.node("MatMul", last, sketch.const(drawn(1, seed=9)[1])))


def samples() -> Array:
    given: Array = np.random.default_rng(1).standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32)
    return given


@pytest.mark.parametrize(
    ("how", "start"),
    [
        ("gather", "each"),
        ("slice", "each"),
        ("split", "each"),
        ("turned", "each"),
        ("joined", "each"),
        ("joined", "zeros"),
        ("sliced", "each"),
        ("added", "each"),
        ("added", "zeros"),
        ("squeezed", "zeros"),
        ("gather", "zeros"),
        ("gather", "folded"),
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_cells_of_keras_are_the_operator(kind: str, how: str, start: str) -> None:
    x, nets = samples(), [mr.load(unrolled(kind, how, start=start)), mr.load(operator(kind))]
    assert [layer.kind for layer in nets[0].layers].count(kind) == 1
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key
    assert_agrees(nets[0], x, "numpy", {})


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_state_of_other_numbers_in_the_file_leaves_all_to_the_gates(kind: str) -> None:
    net = mr.load(unrolled(kind, start="ones"))
    assert kind not in {layer.kind for layer in net.layers}
    assert_agrees(net, samples(), "numpy", {})


@pytest.mark.parametrize("other", [0, 2, STEPS - 1])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_other_weights_at_one_step_leave_all_to_the_gates(kind: str, other: int) -> None:
    net = mr.load(unrolled(kind, other=other))
    assert {kind, "Gate"} & {layer.kind for layer in net.layers} == {"Gate"}
    assert_agrees(net, samples(), "numpy", {})


def test_other_weights_at_a_step_of_which_the_cell_alone_is_read_leave_all_to_the_gates() -> None:
    net = mr.load(unrolled("LSTM", other=STEPS - 1, ends="cell"))
    assert "LSTM" not in {layer.kind for layer in net.layers}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_one_cell_after_another_is_two_operators(kind: str) -> None:
    """A second cell begins at the state that the first ends with, along the sequence of rows between two layers."""
    sketch, blocks = Sketch(STEPS, FEATURES), 4 if kind == "LSTM" else 3
    turned = sketch.node("Relu", "x")
    h = c = nothing(sketch)
    for seed, sequence in enumerate(("x", turned)):
        for step in range(STEPS):
            x = sketch.node("Gather", sequence, sketch.const(np.array(step)), axis=1)
            told = drawn(blocks, seed=seed)
            h, c = lstm_step(sketch, x, (h, c), told) if kind == "LSTM" else (gru_step(sketch, x, h, told), c)
    net = mr.load(sketch.model(sketch.node("MatMul", h, sketch.const(drawn(1, seed=9)[1]))))
    assert [layer.kind for layer in net.layers].count(kind) == 2
    assert "Gate" not in {layer.kind for layer in net.layers}
    assert_agrees(net, samples(), "numpy", {})


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_sequence_that_is_left_and_read_on_stays_with_the_gates(kind: str) -> None:
    sketch = Sketch(STEPS, FEATURES)
    turned = sketch.node("Relu", "x")
    h = c = nothing(sketch)
    for sequence, step in (("x", 0), ("x", 1), (turned, 0), ("x", 2), ("x", 3)):
        x = sketch.node("Gather", sequence, sketch.const(np.array(step)), axis=1)
        h, c = lstm_step(sketch, x, (h, c), drawn(4)) if kind == "LSTM" else (gru_step(sketch, x, h, drawn(3)), c)
    net = mr.load(sketch.model(sketch.node("MatMul", h, sketch.const(drawn(1, seed=9)[1]))))
    assert kind not in {layer.kind for layer in net.layers}


@pytest.mark.parametrize(("kind", "read"), [("LSTM", "Sigmoid"), ("GRU", "Tanh")])
def test_a_gate_that_something_else_reads_keeps_its_step(kind: str, read: str) -> None:
    net = mr.load(unrolled(kind, read=read))
    assert kind not in {layer.kind for layer in net.layers}
    assert_agrees(net, samples(), "numpy", {})


@pytest.mark.parametrize("twice", [True, False])
def test_a_gate_of_a_thousand_sums_is_no_cell(twice: bool) -> None:
    """A tensor added to itself again and again has more ways through it than can be gone."""
    sketch = Sketch(FEATURES)
    summed = first = sketch.dense("x", FEATURES, SIZE)
    for _ in range(1000):
        summed = sketch.node("Add", summed, summed if twice else first)
    gate, new = sketch.node("Sigmoid", summed), sketch.node("Tanh", summed)
    product = sketch.node("Mul", gate, new)
    cell = sketch.node("Add", product, sketch.node("Mul", gate, first))
    last = sketch.node("Mul", gate, sketch.node("Tanh", cell))
    given = sketch.model(sketch.dense(last, SIZE, 3))
    assert rolled_up(given) is given


def test_a_scan_around_a_cell_is_refused_by_name() -> None:
    w, u = drawn(1)[:2]
    inner = Sketch(STEPS, FEATURES)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("h_in", "x_in")]
    summed = inner.node("MatMul", "h_in", inner.const(u, "u"))
    read = inner.node("Add", summed, inner.node("MatMul", "x_in", inner.const(w, "w")))
    inner.node("Tanh", read, out="h_out")
    ends = [helper.make_tensor_value_info("h_out", TensorProto.FLOAT, None)]
    body = helper.make_graph(inner.nodes, "body", given, ends, inner.initializers)
    sketch = Sketch(STEPS, FEATURES)
    h = nothing(sketch)
    last = sketch.node("Scan", h, "x", body=body, num_scan_inputs=1, scan_input_axes=[1])
    error = refusal(sketch, sketch.node("MatMul", last, sketch.const(drawn(1, seed=9)[1])), check=False)
    assert error.nodes == (f"Scan 'the_{last}' (it runs subgraphs, which have no inverse)",)
