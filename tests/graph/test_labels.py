"""Outputs that name a class: the scores that it was chosen by stand for it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from tests.graph.rewrites.ended import Ended, X, run
from tests.graph.sketch import load_whole


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
    with pytest.raises(mr.UnsupportedModel, match="none of the network's outputs"):
        load_whole(sketch.model(*outputs))


def test_two_labels_are_a_choice() -> None:
    ended = Ended(0, parts=(3, 4))
    sketch = ended.sketch
    first, second = (sketch.node("ArgMax", z, axis=1) for z in ended.logits)
    model = sketch.model(first, second)
    with pytest.raises(mr.InvalidData, match=f"2 outputs .{first}, {second}.: name the one"):
        mr.load(model)
    assert (mr.load(model, output=first).classes, mr.load(model, output=second).classes) == (3, 4)
