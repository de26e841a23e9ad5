"""The check after reading looks at the logits themselves: a saturated Softmax must not hide a mistaken rewrite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

import mipin_ref as mr
from mipin_ref.graph.verify import verify
from mipin_ref.layers import Conv, Dense
from tests.graph.sketch import Sketch
from tests.networks import to_onnx
from tests.oracles.spec import Dense as DenseOp


def saturated() -> onnx.ModelProto:
    """Dense -> Softmax whose logits lie hundreds apart."""
    weight = np.random.default_rng(0).standard_normal((4, 3)) * 1000
    model = to_onnx([DenseOp(("input",), "scores", weight)], (4,))
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["chances"], axis=-1))
    model.graph.output[0].name = "chances"
    return model


def test_a_wrong_weight_behind_a_saturated_softmax_is_seen() -> None:
    model = saturated()
    net = mr.load(model)
    assert net.head == "softmax"
    assert verify(net, model) < 1e-6
    (layer,) = net.layers
    assert isinstance(layer, Dense)
    wrong = replace(net, layers=(replace(layer, weight=layer.weight * np.float32(1.01)),))
    with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
        verify(wrong, model)


def test_logits_that_were_reshaped_are_seen_too() -> None:
    """[N, classes, 1, 1] -> Softmax: the network's logits [N, classes] have no name in the file, their input has."""
    sketch = Sketch(2, 3, 3)
    scores = sketch.node("Conv", "x", sketch.const(1000 * sketch.rng.standard_normal((4, 2, 3, 3))), out="scores")
    model = sketch.model(sketch.node("Softmax", scores, axis=1))
    net = mr.load(model)
    conv, flat = net.layers
    assert isinstance(conv, Conv)
    assert verify(net, model) < 1e-6
    wrong = replace(net, layers=(replace(conv, weight=conv.weight * np.float32(1.01)), flat))
    with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
        verify(wrong, model)


def test_what_all_logits_have_in_common_hides_no_wrong_weight() -> None:
    sketch = Sketch(6)
    scores = sketch.node("Gemm", "x", sketch.normal(6, 3), sketch.const(np.full(3, 1000.0)))
    model = sketch.model(scores)
    net = mr.load(model)
    (layer,) = net.layers
    assert isinstance(layer, Dense)
    wrong = replace(net, layers=(replace(layer, weight=layer.weight * np.float32(1.03)),))
    with pytest.raises(mr.UnsupportedModel, match="of its outputs' spread"):
        verify(wrong, model)
