"""Where by a mask that is computed: with another fill than zeros, of two tensors, of one tensor by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.layers import Activation, Gate
from tests.graph.sketch import Sketch, load_whole
from tests.inverse.test_recurrent import assert_agrees

PLACES, CHANNELS, SAMPLES = 6, 3, 30
RNG = np.random.default_rng(8)
X = RNG.standard_normal((SAMPLES, CHANNELS, PLACES)).astype(np.float32)
FILL, BOUND = 0.75, 0.125


def network(form: str, asked: str = "Greater", *, fill: float = FILL, first: bool = True) -> ModelProto:
    """A map that is filled where the input's first channel is not large; form: "fill", "either", "filled product" or
    "sum of products" as those are written out.
    """
    sketch = Sketch(CHANNELS, PLACES)
    rows = sketch.node("Tanh", sketch.conv("x", CHANNELS, 4, (3,), pads=[1, 1]), out="rows")
    others = sketch.node("Relu", sketch.conv("x", CHANNELS, 4, (1,)), out="others")
    first_channel = sketch.node("Slice", "x", sketch.ints(0), sketch.ints(1), sketch.ints(1))
    condition = sketch.node(asked, first_channel, sketch.const(BOUND))
    constant = sketch.const(np.full((), fill))
    if form in ("fill", "either"):
        other = constant if form == "fill" else others
        put = sketch.node("Where", condition, *((rows, other) if first else (other, rows)), out="put")
    else:
        kept = condition if first else sketch.node("Not", condition)
        mask = sketch.node("Cast", kept, to=TensorProto.FLOAT)
        left = sketch.node("Cast", sketch.node("Not", kept), to=TensorProto.FLOAT)
        part = sketch.node("Mul", rows, mask)
        other = sketch.node("Add", part, constant) if form == "filled product" else others
        put = sketch.node("Add", part, sketch.node("Mul", other, left), out="put")
    total = sketch.node("ReduceSum", put, sketch.ints(2), keepdims=0)
    return sketch.model(sketch.dense(total, 4, 2), check=False)


ASKED = ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]


@pytest.mark.parametrize("first", [True, False], ids=["kept first", "filled first"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(("form", "written"), [("fill", "filled product"), ("either", "sum of products")])
def test_signals_are_those_of_what_it_stands_for(form: str, written: str, asked: str, first: bool) -> None:
    """The mask, state, is computed of comparisons in the one file and of numbers in the other."""
    nets = [mr.load(network(one, asked, first=first)) for one in (form, written)]
    assert not nets[0].blocked
    one, other = (mr.fit(net, X, 1).attribute(X) for net in nets)
    for key in ("output", "source", "attribution"):
        np.testing.assert_allclose(getattr(one, key), getattr(other, key), rtol=0, atol=1e-5, err_msg=key)
    assert np.max(np.abs(one.attribution)) > 1e-2


@pytest.mark.parametrize("form", ["fill", "either"])
def test_brute_force(form: str) -> None:
    """The gates that are written, against explicit design matrices."""
    assert_agrees(load_whole(network(form)), X, "numpy", {})


def test_what_is_filled_has_no_signal() -> None:
    """What is put there is the same of every sample."""
    net = load_whole(network("fill"))
    (gate,) = [layer for layer in net.layers if isinstance(layer, Gate) and layer.inputs[0] == "rows"]
    assert net.shapes[gate.inputs[1]] == (1, PLACES)
    res = mr.attribute(net, X, 1, "gradient", at=gate.inputs[0])
    filled = np.broadcast_to(X[:, :1] <= BOUND, res.attribution.shape)
    assert not np.any(res.attribution[filled])
    assert np.any(res.attribution[~filled])


def test_values_at_the_bound_and_both_sides() -> None:
    """Each comparison is computed as onnxruntime has it where a value is the bound itself."""
    x = np.zeros((3, CHANNELS, PLACES), np.float32)
    x[0], x[1], x[2] = BOUND, np.nextafter(np.float32(BOUND), np.float32(1)), 0.0
    for asked in ASKED:
        wanted = mr.load(network("sum of products", asked)).predict(x)[1]
        np.testing.assert_allclose(mr.load(network("either", asked)).predict(x)[1], wanted, rtol=1e-6, atol=1e-6)


def of_itself(form: str) -> tuple[ModelProto, Any]:
    """A Where whose mask and sides are made of one tensor, and the same in torch."""
    sketch = Sketch(5)
    entry = sketch.dense("x", 5, 5)
    condition = sketch.node("Less" if form == "leaky" else "Greater", entry, sketch.const(0.2))
    if form == "threshold":
        put, theirs = (
            sketch.node("Where", condition, entry, sketch.const(-0.5)),
            lambda z: torch.where(z > 0.2, z, -0.5),
        )
    elif form == "leaky":
        below = sketch.node("Mul", entry, sketch.const(0.1))
        put = sketch.node("Where", condition, below, entry)
        theirs = lambda z: torch.where(z < 0.2, 0.1 * z, z)  # noqa: E731
    else:
        below = sketch.node("Sub", sketch.node("Exp", entry), sketch.const(1.0))
        put = sketch.node("Where", condition, entry, below)
        theirs = lambda z: torch.where(z > 0.2, z, torch.exp(z) - 1)  # noqa: E731
    return sketch.model(sketch.dense(put, 5, 3)), theirs


@pytest.mark.parametrize("form", ["threshold", "leaky", "exponential"])
def test_of_one_tensor_it_is_an_activation(form: str) -> None:
    """And its derivative is that of torch, away from the jump."""
    model, theirs = of_itself(form)
    net = load_whole(model)
    (layer,) = [layer for layer in net.layers if isinstance(layer, Activation)]
    assert [one.kind for one in net.layers] == ["Dense", "Activation", "Dense"]
    x = np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32)
    weights = [
        torch.tensor(one.arrays[name]) for one in net.layers if one.kind == "Dense" for name in ("weight", "bias")
    ]
    given = torch.tensor(x, requires_grad=True)
    first, first_bias, *_ = weights
    # A constant that is put belongs to the layer behind.
    logits = theirs(given @ first + first_bias) @ weights[2]
    logits[:, 1].sum().backward()
    assert given.grad is not None
    res = mr.attribute(net, x, 1, "gradient")
    np.testing.assert_allclose(res.attribution, given.grad.numpy(), rtol=0, atol=1e-5)
    assert layer.mask == "nonzero"


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_kept_keeps_its_digits(asked: str) -> None:
    """However small it is beside the constant."""
    sketch = Sketch(CHANNELS, PLACES)
    first_channel = sketch.node("Slice", "x", sketch.ints(0), sketch.ints(1), sketch.ints(1))
    condition = sketch.node(asked, first_channel, sketch.const(0.0))
    rows = sketch.conv("x", CHANNELS, 4, (1,))
    small = sketch.node("Mul", sketch.node("Tanh", rows), sketch.const(1e-6))
    put = sketch.node("Where", condition, small, sketch.const(64.0), out="put")
    model = sketch.model(sketch.dense(sketch.node("Flatten", put), 4 * PLACES, 2), check=False)
    net = load_whole(model)
    model.graph.output.append(helper.make_tensor_value_info("put", TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString())
    wanted = session.run(["put"], {"x": X})[0]
    assert np.any(wanted == 64)
    assert np.any((wanted != 64) & (np.abs(wanted) > 1e-7))
    np.testing.assert_allclose(Recorder(net, ["put"])(X).values["put"], wanted, rtol=1e-5)


@pytest.mark.parametrize("guarded", ["Div", "Sqrt"])
def test_what_is_filled_for_a_divisor_is_state(guarded: str) -> None:
    """Where(s == 0, 1, s), as a division is kept from zero: right of small numbers, and no gate but the quotient."""
    sketch = Sketch(4)
    total = sketch.node("ReduceSum", sketch.node("Mul", "x", "x"), sketch.ints(1), keepdims=1)
    none = sketch.node("Equal", total, sketch.const(0.0))
    divisor = sketch.node("Where", none, sketch.const(1.0), total, out="divisor")
    if guarded == "Sqrt":
        divisor = sketch.node("Sqrt", sketch.node("Mul", divisor, sketch.const(2.0)))
    rows = sketch.node("Relu", sketch.dense("x", 4, 4))
    model = sketch.model(sketch.dense(sketch.node("Div", rows, divisor), 4, 3))
    net = load_whole(model)
    assert [layer.kind for layer in net.layers].count("Gate") == 1
    session = ort.InferenceSession(model.SerializeToString())
    for scale in (1, 1e-2, 1e-4):
        x = (scale * np.random.default_rng(2).standard_normal((5, 4))).astype(np.float32)
        wanted = session.run(None, {"x": x})[0]
        np.testing.assert_allclose(net.predict(x)[1], wanted, rtol=1e-4, atol=1e-5 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("scale", [1, 1000])
def test_an_elu_written_out_is_one_where_its_exponential_overflows(scale: float) -> None:
    """Where(z > 0, z, α (exp(z) - 1)), as SELU is spelt: an activation, of large numbers too."""
    sketch = Sketch(5)
    entry = sketch.dense("x", 5, 5)
    below = sketch.node("Mul", sketch.node("Sub", sketch.node("Exp", entry), sketch.const(1.0)), sketch.const(1.67))
    put = sketch.node("Where", sketch.node("Greater", entry, sketch.const(0.0)), entry, below)
    model = sketch.model(sketch.dense(put, 5, 3))
    net = load_whole(model)
    assert [one.kind for one in net.layers] == ["Dense", "Activation", "Dense"]
    x = (scale * np.random.default_rng(1).standard_normal((40, 5))).astype(np.float32)
    wanted = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(net.predict(x)[1], wanted, rtol=1e-5, atol=1e-5 * np.max(np.abs(wanted)))
    assert np.isfinite(mr.attribute(net, x, 1, "gradient").attribution).all()


@pytest.mark.parametrize("unsafe", ["Log", "Exp", "Reciprocal", "Pow"])
@pytest.mark.parametrize("behind", ["Add", "Neg"])
def test_a_side_that_may_hold_no_number_is_run_as_it_stands(unsafe: str, behind: str) -> None:
    """Whatever stands between the operator and the Where: zero times NaN is no zero."""
    sketch = Sketch(5)
    entry = sketch.dense("x", 5, 5)
    made = sketch.node(unsafe, entry, *([sketch.const(-0.5)] if unsafe == "Pow" else []))
    made = sketch.node(behind, made, *([sketch.const(1.0)] if behind == "Add" else []))
    if unsafe == "Exp":
        asked = sketch.node("Less", sketch.node("Abs", entry), sketch.const(3.0))
    else:
        asked = sketch.node("Greater", entry, sketch.const(0.0))
    model = sketch.model(sketch.dense(sketch.node("Where", asked, made, entry, out="put"), 5, 3))
    net = mr.load(model)
    assert "Where 'the_put'" in str(net.blocked["x"])
    x = (1000 * np.random.default_rng(1).standard_normal((40, 5))).astype(np.float32)
    assert np.isfinite(net.predict(x)[1]).all()


def test_masks_of_scores_are_left_alone() -> None:
    """What comes to a Softmax is no content: the mask stays a part of how the weights are made."""
    sketch = Sketch(PLACES, 4)
    parts = [sketch.node("MatMul", "x", sketch.normal(4, 4)) for _ in range(3)]
    scores = sketch.node("MatMul", parts[0], sketch.node("Transpose", parts[1], perm=[0, 2, 1]))
    put = sketch.node(
        "Where", sketch.node("Greater", scores, sketch.const(0.0)), scores, sketch.const(-30.0), out="put"
    )
    weights = sketch.node("Softmax", put, axis=-1)
    total = sketch.node("ReduceMean", sketch.node("MatMul", weights, parts[2]), axes=[1], keepdims=0)
    net = load_whole(sketch.model(sketch.dense(total, 4, 2), check=False))
    assert not any(isinstance(layer, Gate) for layer in net.layers)


@pytest.mark.parametrize("fill", [-1e4, -1e9, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("first", [True, False], ids=["kept first", "filled first"])
def test_gradients_pass_where_scores_are_not_masked(first: bool, fill: float) -> None:
    """As `scores.masked_fill(mask == 0, -1e9)` in front of a softmax; the mask is no part of the way."""
    sketch = Sketch(PLACES, 4)
    matrices = [sketch.rng.standard_normal((4, 4)) / 2 for _ in range(3)]
    query, key, value = (sketch.node("MatMul", "x", sketch.const(one)) for one in matrices)
    scores = sketch.node("MatMul", query, sketch.node("Transpose", key, perm=[0, 2, 1]))
    column = sketch.node("Slice", "x", sketch.ints(0), sketch.ints(1), sketch.ints(2))
    row = sketch.node("Transpose", column, perm=[0, 2, 1])
    asked = sketch.node("Greater" if first else "LessOrEqual", row, sketch.const(-0.5))
    constant = sketch.const(np.full((), fill))
    put = sketch.node("Where", asked, *((scores, constant) if first else (constant, scores)), out="put")
    mixed = sketch.node("MatMul", sketch.node("Softmax", put, axis=-1), value)
    total = sketch.node("ReduceMean", sketch.node("Tanh", mixed), axes=[1], keepdims=0)
    net = load_whole(sketch.model(sketch.dense(total, 4, 2), check=False))
    x = np.random.default_rng(3).standard_normal((8, PLACES, 4)).astype(np.float32)

    given = torch.tensor(x, requires_grad=True)
    q, k, v = (given @ torch.tensor(one.astype(np.float32)) for one in matrices)
    masked = (q @ k.transpose(1, 2)).masked_fill(given.detach()[:, :, :1].transpose(1, 2) <= -0.5, fill)
    means = torch.tanh(torch.softmax(masked, -1) @ v).mean(1)
    last = net.layers[-1].arrays
    logits = means @ torch.tensor(last["weight"]) + torch.tensor(last["bias"])
    logits[:, 1].sum().backward()
    assert given.grad is not None
    res = mr.attribute(net, x, 1, "gradient")
    np.testing.assert_allclose(res.output, logits[:, 1].detach().numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(res.attribution, given.grad.numpy(), rtol=0, atol=1e-5)


def test_whole_numbers_are_left_alone() -> None:
    """Ids that a mask picks from are no content."""
    sketch = Sketch(PLACES)
    sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", PLACES])]
    asked = sketch.node("Greater", "x", sketch.const(np.int64(2)))
    ids = sketch.node("Where", asked, "x", sketch.node("Add", "x", sketch.const(np.int64(1))), out="ids")
    rows = sketch.node("Gather", sketch.normal(9, 4), ids, out="rows")
    model = sketch.model(sketch.dense(sketch.node("ReduceMean", rows, axes=[1], keepdims=0), 4, 2), check=False)
    assert [layer.kind for layer in mr.load(model).layers][-1] == "Dense"


@pytest.mark.parametrize("held", [False, True], ids=["a constant", "of the shape of the scores"])
def test_what_puts_nan_where_there_is_nothing_is_what_it_puts_it_in(held: bool) -> None:
    """Scores that a mask which is given leaves out: those that it keeps are explained."""
    sketch = Sketch(5)
    sketch.inputs.append(helper.make_tensor_value_info("kept", TensorProto.BOOL, ["N", 3]))
    scores = sketch.dense(sketch.node("Relu", sketch.dense("x", 5, 4)), 4, 3)
    nan = helper.make_tensor("nan", TensorProto.FLOAT, [1], [np.nan])
    fill = sketch.node("ConstantOfShape", sketch.node("Shape", scores), value=nan) if held else sketch.const(np.nan)
    model = sketch.model(sketch.node("Where", "kept", scores, fill))
    x = np.random.default_rng(2).standard_normal((6, 5), np.float32)
    net = mr.load(model, given={"kept": np.ones((1, 3), bool)})
    assert not net.blocked
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x, "kept": np.ones((6, 3), bool)})
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kept", [(True, True, True), (True, False, True)])
@pytest.mark.parametrize("head", ["", "Softmax", "LogSoftmax"])
@pytest.mark.parametrize("fill", [-1e8, -np.inf, -7.0])
def test_scores_of_which_a_mask_leaves_some_out(fill: float, head: str, kept: tuple[bool, ...]) -> None:
    """As policies leave out actions that are not to be had."""
    sketch = Sketch(5)
    sketch.inputs.append(helper.make_tensor_value_info("kept", TensorProto.BOOL, ["N", 3]))
    scores = sketch.dense(sketch.node("Relu", sketch.dense("x", 5, 4)), 4, 3)
    put = sketch.node("Where", "kept", scores, sketch.const(np.float32(fill)))
    model = sketch.model(sketch.node(head, put, axis=-1) if head else put)
    x = np.random.default_rng(2).standard_normal((20, 5), np.float32)
    mask = np.array([kept])
    if np.isinf(fill):
        with pytest.raises(mr.UnsupportedModel, match=r"Where 'the_where3' .*followed are masks that put finite"):
            mr.load(model, given={"kept": mask})
        return
    net = mr.load(model, given={"kept": mask})
    assert "x" not in net.blocked
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x, "kept": np.repeat(mask, 20, 0)})
    made, logits = net.predict(x)
    shown = np.exp(expected) if head == "LogSoftmax" else expected
    np.testing.assert_allclose(made if head else logits, shown, rtol=1e-5, atol=1e-6)
    # What is kept is explained as by the file without a mask.
    bare = ModelProto()
    bare.CopyFrom(model)
    bare.graph.node[3].CopyFrom(helper.make_node("Identity", [scores], [put]))
    del bare.graph.input[1:]
    masked, free = (mr.fit(one, x, target=2).attribute(x) for one in (net, mr.load(bare)))
    # But for the ridge on the weights of the mask's product, 1e-3 in sums over 20 samples.
    largest = float(np.max(np.abs(free.source)))
    np.testing.assert_allclose(masked.source, free.source, rtol=0, atol=1e-3 * largest)
