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


def logarithm(sketch: Sketch, z: str, spelling: str) -> str:
    """z - log Σ exp z; "operator" as skl2onnx writes it, with an axis too few and a Reshape."""
    if spelling == "operator":
        total = sketch.node("Reshape", sketch.node("ReduceLogSumExp", z, axes=[1], keepdims=0), sketch.ints(-1, 1))
        return sketch.node("Sub", z, total, out="log")
    if spelling == "shifted":
        z = sketch.node("Sub", z, sketch.node("ReduceMax", z, axes=[1], keepdims=1))
    total = sketch.node("ReduceSum", sketch.node("Exp", z), sketch.ints(1), keepdims=1)
    return sketch.node("Sub", z, sketch.node("Log", total), out="log")


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("spelling", ["operator", "shifted", "nodes"])
def test_its_logarithm_is_a_head_too_and_so_is_the_exponential_of_that(spelling: str, exponential: bool) -> None:
    sketch = Sketch(4)
    z = sketch.dense(sketch.node("Relu", sketch.dense("x", 4, 5)), 5, 3)
    log = logarithm(sketch, z, spelling)
    model = sketch.model(sketch.node("Exp", log, out="p") if exponential else log)
    net, values = mr.load(model), tensors_of(model, X)
    probabilities, logits = net.predict(X)
    assert (net.head, net.blocked) == ("softmax", {})
    np.testing.assert_allclose(logits, values[z], rtol=1e-5, atol=1e-6)
    # An exponential is off by what its argument is, some eps of numbers up to 10.
    np.testing.assert_allclose(probabilities, np.exp(values["log"]), rtol=1e-5, atol=1e-7)


def test_weights_of_attention_may_be_such_an_exponential() -> None:
    sketch = Sketch(3, 4)
    scores = sketch.node("MatMul", "x", sketch.node("Transpose", "x", perm=[0, 2, 1]))
    total = sketch.node("ReduceLogSumExp", scores, axes=[-1], keepdims=1)
    weights = sketch.node("Exp", sketch.node("Sub", scores, total))
    values = sketch.node("MatMul", weights, sketch.node("MatMul", "x", sketch.normal(4, 4)))
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", values), 12, 2)))
    assert not net.blocked
    assert "Attention" in [layer.kind for layer in net.layers]


@pytest.mark.parametrize("mistake", ["another", "no logarithm"])
def test_a_difference_from_something_else_is_none(mistake: str) -> None:
    sketch = Sketch(4)
    z, other = sketch.dense("x", 4, 3), sketch.dense("x", 4, 3)
    powers = sketch.node("Exp", other if mistake == "another" else z)
    total = sketch.node("ReduceSum", powers, sketch.ints(1), keepdims=1)
    out = sketch.node("Sub", z, sketch.node("Log", total) if mistake == "another" else total)
    assert mr.load(sketch.model(out)).head is None
