"""A softmax written out is a head, as the operator is."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.explained import explained
from tests.graph.sketch import Sketch, tensors_of

X = np.random.default_rng(3).standard_normal((5, 4), np.float32)


def written(sketch: Sketch, z: str, *, shifted: bool, copied: bool, axis: int = 1) -> str:
    """exp(z - max z) / Σ, its maximum and its sum perhaps copied to the shape of z as tf2onnx does."""
    if shifted:
        largest = sketch.node("ReduceMax", z, axes=[axis], keepdims=1)
        if copied:
            largest = sketch.node("Max", sketch.const([-1e30]), largest)
            largest = sketch.node("Expand", largest, sketch.ints(1, 3))
        shift = sketch.node("Sub", z, largest)
    else:
        shift = z
    powers = sketch.node("Exp", shift)
    total = sketch.node("ReduceSum", powers, sketch.ints(axis), keepdims=1)
    if copied:
        total = sketch.node("Expand", total, sketch.ints(1, 3))
    return sketch.node("Div", powers, total, out="p")


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_it_is_removed_and_its_scores_are_the_logits(shifted: bool, copied: bool) -> None:
    sketch = Sketch(4)
    z = sketch.dense(sketch.node("Relu", sketch.dense("x", 4, 5)), 5, 3)
    model = sketch.model(written(sketch, z, shifted=shifted, copied=copied))
    net = mr.load(model)
    values = tensors_of(model, X)
    probabilities, logits = net.predict(X)
    assert net.head == "softmax"
    assert not net.blocked
    np.testing.assert_allclose(logits, values[z], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probabilities, values["p"], rtol=1e-5, atol=1e-7)
    assert mr.fit(net, X, 1).attribute(X[:2]).source.shape == (2, 4)


def test_a_quotient_by_another_sum_is_none() -> None:
    sketch = Sketch(4)
    z, other = sketch.dense("x", 4, 3), sketch.dense("x", 4, 3)
    total = sketch.node("ReduceSum", sketch.node("Exp", other), sketch.ints(1), keepdims=1)
    out = sketch.node("Div", sketch.node("Exp", z), total)
    assert mr.load(sketch.model(out)).head is None


def test_along_one_of_two_axes_each_place_has_its_classes() -> None:
    sketch = Sketch(3, 4)
    model = sketch.model(written(sketch, sketch.node("Tanh", "x"), shifted=True, copied=False, axis=1))
    net = mr.load(model)
    x = np.random.default_rng(5).standard_normal((6, 3, 4), np.float32)
    assert net.head == "softmax"
    np.testing.assert_allclose(net.predict(x)[0].reshape(6, 3, 4), tensors_of(model, x)["p"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("axis", [-1, 0])
def test_axes_count_from_either_end_and_over_the_samples_it_is_none(axis: int) -> None:
    sketch = Sketch(4)
    powers = sketch.node("Exp", sketch.dense("x", 4, 3))
    out = sketch.node("Div", powers, sketch.node("ReduceSum", powers, sketch.ints(axis), keepdims=1))
    if axis == 0:
        with pytest.raises(mr.UnsupportedModel):
            explained(mr.load(sketch.model(out), check=False), None)
    else:
        assert mr.load(sketch.model(out)).head == "softmax"
