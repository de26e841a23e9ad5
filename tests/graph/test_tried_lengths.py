"""Lengths of samples that a file is tried with: those of samples that have steps, and networks that divide by them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from mipin_ref.beside import others_of
from mipin_ref.graph.bind import bind
from mipin_ref.graph.looked_up import MOST
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.tried_lengths import with_lengths_tried
from tests.graph.test_sequence_lengths import assert_same
from tests.graph.with_lengths import File, samples


def test_a_file_is_tried_with_lengths_of_all_its_steps() -> None:
    """Of a sequence that is longer than what is drawn, up to that; a sample without steps has no mean over them."""
    for steps, wanted in ((1, {1}), (2, {1, 2}), (40, set(range(1, MOST)))):
        model = File(steps=steps).model()
        bound = with_lengths_tried(bind(model, {"x", "lengths"}, None, None, "x"), model)
        assert {int(one) for one in others_of(plausible(bound, 200, 0))["lengths"]} == wanted


@pytest.mark.parametrize("steps", [*range(1, 10), 20])
def test_means_over_the_steps_of_a_sample(steps: int) -> None:
    """Where a sample has no step the file makes 0 / 0: it is tried with others."""
    model = File("GRU", read="steps", steps=steps).model()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2]), "wide"))
    (row,) = (node for node in model.graph.node if node.op_type == "Flatten")
    row.input[0] = "means"
    made = [
        helper.make_node("Cast", ["lengths"], ["typed"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["typed", "wide"], ["counts"]),
        helper.make_node("Div", ["sums", "counts"], ["means"]),
    ]
    for node in reversed(made):
        model.graph.node.insert(len(model.graph.node) - 2, node)
    net, feed = mr.load(model, input="x"), samples(least=1, steps=steps)
    assert not net.blocked
    assert_same(net, model, feed)
