"""Outputs that name a class: the scores that it was chosen by stand for it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

import mipin_ref as mr
from tests.graph.rewrites.ended import Ended, X, run
from tests.graph.sketch import Sketch, load_whole


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax", None])
@pytest.mark.parametrize("behind", ["", "Cast", "Squeeze", "labels", "float"])
@pytest.mark.parametrize("scores", [False, True])
def test_an_output_that_names_the_class_stands_for_the_scores(op: str | None, behind: str, scores: bool) -> None:
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    p = sketch.node(op, ended.logits[0]) if op else ended.logits[0]
    end = sketch.node("ArgMax", p, axis=1, keepdims=int(behind == "Squeeze"))
    if behind == "Cast":
        end = sketch.node("Cast", end, to=TensorProto.INT32)
    elif behind == "float":
        end = sketch.node("Cast", end, to=TensorProto.FLOAT)
    elif behind == "Squeeze":
        end = sketch.node("Squeeze", end, sketch.ints(1))
    elif behind == "labels":
        end = sketch.node("ArrayFeatureExtractor", sketch.ints(7, 3, 5, 1), end, domain="ai.onnx.ml")
    model = sketch.model(*[end, p][: 1 + scores])
    for output in (None, end, p):
        net = mr.load(model, output=output)
        assert (net.head, net.classes) == (op.lower() if op else None, 4)
        np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)
        assert net.output_names == tuple([end, p][: 1 + scores])


@pytest.mark.parametrize("what", ["samples", "top"])
def test_other_labels_have_no_scores(what: str) -> None:
    ended = Ended(4)
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0])
    if what == "top":
        sketch.node("TopK", p, sketch.ints(1), outputs=2, out="top")
        outputs = ["top_1"]
    else:
        outputs = [sketch.node("ArgMax", p, axis=0)]
    with pytest.raises(mr.UnsupportedModel, match="none of the network's outputs") as caught:
        load_whole(sketch.model(*outputs))
    op = "TopK" if what == "top" else "ArgMax"
    assert str(caught.value).endswith(f"{op} chooses {outputs[0]!r} by the scores {p!r}, which option 'output' takes")


@pytest.mark.parametrize("op", ["TopK", "ArgMax", "NonMaxSuppression"])
@pytest.mark.parametrize("behind", ["whole", "float"])
def test_the_scores_in_front_of_a_choice_can_be_asked_for(op: str, behind: str) -> None:
    """By the name that the message gives; also where the output holds floats, of which nothing can be inverted."""
    sketch = Sketch(2, 6, 6)
    scores = sketch.node("Sigmoid", sketch.conv("x", 2, 4, out="z"), out="scores")
    flat = sketch.node("Reshape", scores, sketch.ints(0, 4, 16), out="flat")
    if op == "TopK":
        sketch.node("TopK", flat, sketch.ints(1), outputs=2, out="top")
        chosen = "top_1"
    elif op == "ArgMax":
        chosen = sketch.node("ArgMax", flat, axis=1)
    else:
        boxes = sketch.node("Reshape", sketch.conv("x", 2, 4), sketch.ints(0, 16, 4))
        chosen = sketch.node("NonMaxSuppression", boxes, flat, sketch.const(np.array([3])))
    out = sketch.node("Mul", chosen, sketch.ints(2), out="out")
    if behind == "float":
        out = sketch.node("Cast", out, to=TensorProto.FLOAT, out="cast")
    model = sketch.model(out)
    for asked in (None, out):
        with pytest.raises(mr.UnsupportedModel) as caught:
            mr.load(model, output=asked)
        assert str(caught.value).endswith(f"{op} chooses {out!r} by the scores 'flat', which option 'output' takes")
    net = mr.load(model, output="flat")
    assert (net.head, net.target_shape) == ("sigmoid", (4, 16))
    with pytest.raises(mr.InvalidData, match="no output 'z'; its outputs are"):
        mr.load(model, output="z")


def columns(op: str, count: int, classes: int = 4, *, order: int = 1) -> tuple[Ended, ModelProto]:
    """So many outputs, each a class of its own; with a label beside them, as scikit-learn's exports have it."""
    ended = Ended(classes)
    sketch = ended.sketch
    p = sketch.node(op, ended.logits[0], out="chances")
    sketch.node("ArgMax", p, axis=1, out="label")
    for k in range(count)[::order]:
        one = sketch.node("Slice", p, sketch.ints(k), sketch.ints(k + 1), sketch.ints(1))
        sketch.node("Reshape", one, sketch.ints(-1), out=f"class_{k}")
    return ended, sketch.model("label", *[f"class_{k}" for k in range(count)][::order])


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid"])
def test_outputs_that_are_the_columns_of_one_tensor_stand_for_it(op: str) -> None:
    ended, model = columns(op, 4)
    net = mr.load(model)
    assert (net.head, net.classes, len(net.output_names)) == (op.lower(), 4, 5)
    np.testing.assert_allclose(net.predict(X)[1], run(ended.without()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "order"), [(3, 1), (4, -1)], ids=["some", "in another order"])
def test_outputs_that_are_not_all_columns_in_order_are_a_choice(count: int, order: int) -> None:
    _, model = columns("Softmax", count, order=order)
    with pytest.raises(mr.InvalidData, match=f"the network has {count} outputs"):
        mr.load(model)


BEHIND = {
    "a class": lambda s, p: s.node("Squeeze", s.node("Gather", p, s.ints(1), axis=1), s.ints(1), out="out"),
    "a percentage": lambda s, p: s.node("Mul", p, s.const(100.0), out="out"),
    "the largest": lambda s, p: s.node("ReduceMax", p, axes=[1], keepdims=0, out="out"),
    "an expectation": lambda s, p: s.node("ReduceSum", s.node("Mul", p, s.normal(4)), s.ints(1), keepdims=0, out="out"),
    "a threshold": lambda s, p: s.node("Cast", s.node("Greater", p, s.const(0.5)), to=TensorProto.FLOAT, out="out"),
}


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid"])
@pytest.mark.parametrize("what", BEHIND)
def test_what_is_computed_of_probabilities_names_them(what: str, op: str) -> None:
    """Of a softmax none of it has an inverse; what is told to be done instead explains the logits."""
    ended = Ended(4)
    without, sketch = ended.without(), ended.sketch
    p = sketch.node(op, ended.logits[0], out="chances")
    model = sketch.model(BEHIND[what](sketch, p), check=False)
    if op == "Softmax" or what == "a threshold":
        with pytest.raises(mr.UnsupportedModel) as caught:
            mr.load(model)
        told = "explain the probabilities 'chances' that 'out' is made of, which option 'output' takes"
        assert str(caught.value).endswith(told + (", target 1" if what == "a class" else ""))
    net = mr.load(model, output="chances")
    assert net.head == op.lower()
    np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)


def test_two_labels_are_a_choice() -> None:
    ended = Ended(0, parts=(3, 4))
    sketch = ended.sketch
    first, second = (sketch.node("ArgMax", z, axis=1) for z in ended.logits)
    model = sketch.model(first, second)
    with pytest.raises(mr.InvalidData, match=f"2 outputs .{first}, {second}.: name the one"):
        mr.load(model)
    assert (mr.load(model, output=first).classes, mr.load(model, output=second).classes) == (3, 4)
