"""Attention whose weights are changed behind their softmax: heads that are mixed, as in CaiT, or two kinds of weights
that are brought to a sum of one, as in ConViT.

Rows of weights that sum to one are the softmax of their logarithms, which was read before.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.layers import Attention
from tests.graph.sketch import Sketch, assert_keeps_values

HEADS, TOKENS, WIDTH = 2, 5, 3
X = np.random.default_rng(0).standard_normal((60, TOKENS, 4)).astype(np.float32)
MIXING = np.array([[0.75, 0.25], [0.4, 0.6]])
"""What the head of each row takes of the softmaxes; rows sum to one."""


def heads(sketch: Sketch, x: str) -> str:
    product = sketch.node("MatMul", x, sketch.normal(4, HEADS * WIDTH))
    parted = sketch.node("Reshape", product, sketch.ints(0, TOKENS, HEADS, WIDTH))
    return sketch.node("Transpose", parted, perm=[0, 2, 1, 3])


def mixed(sketch: Sketch, weights: str, form: str) -> str:
    if form == "a convolution":
        return sketch.node("Conv", weights, sketch.const(MIXING[:, :, None, None]))
    if form == "a matrix":
        last = sketch.node("Transpose", weights, perm=[0, 2, 3, 1])
        return sketch.node("Transpose", sketch.node("MatMul", last, sketch.const(MIXING.T)), perm=[0, 3, 1, 2])
    own = sketch.node("Mul", weights, sketch.const(np.array([0.3, 0.8])[:, None, None]))
    both = sketch.node("Add", own, sketch.const(sketch.rng.random((1, HEADS, TOKENS, TOKENS))))
    return sketch.node("Div", both, sketch.node("ReduceSum", both, sketch.ints(-1), keepdims=1))


def network(form: str, *, spelt: bool, shifted: bool = False) -> ModelProto:
    """spelt: whether a softmax of logarithms stands in front of the product; shifted: mix tokens in place of heads."""
    sketch = Sketch(TOKENS, 4)
    x = sketch.node("Tanh", "x", out="fired")
    query, key, value = (heads(sketch, x) for _ in range(3))
    scores = sketch.node("MatMul", query, sketch.node("Transpose", key, perm=[0, 1, 3, 2]))
    weights = sketch.node("Softmax", scores, axis=-1)
    weights = sketch.node("MatMul", weights, sketch.normal(TOKENS, TOKENS)) if shifted else mixed(sketch, weights, form)
    if spelt:
        weights = sketch.node("Softmax", sketch.node("Log", weights), axis=-1)
    tokens = sketch.node("Transpose", sketch.node("MatMul", weights, value, out="mixed"), perm=[0, 2, 1, 3])
    flat = sketch.node("Reshape", tokens, sketch.ints(0, TOKENS * HEADS * WIDTH))
    return sketch.model(sketch.dense(flat, TOKENS * HEADS * WIDTH, 3), check=False)


@pytest.mark.parametrize("form", ["a convolution", "a matrix", "a sum of one"])
def test_signals_come_back_through_the_weights_as_they_are_in_the_end(form: str) -> None:
    ours, theirs = network(form, spelt=False), network(form, spelt=True)
    net = assert_keeps_values(ours)
    assert not net.blocked
    assert sum(isinstance(layer, Attention) for layer in net.layers) == 1
    one, other = (mr.fit(mr.load(model), X, 1).attribute(X) for model in (ours, theirs))
    # The weights differ by roundings of a logarithm and an exponential, and a fit is as sensitive as its condition.
    for field in ("output", "source", "attribution"):
        mine, spelt = getattr(one, field), getattr(other, field)
        np.testing.assert_allclose(mine, spelt, rtol=0, atol=1e-4 * np.abs(spelt).max(), err_msg=field)


def test_weights_that_are_mixed_along_what_is_summed_are_no_attention() -> None:
    net = mr.load(network("a matrix", spelt=False, shifted=True))
    assert any("neither is a softmax over what is summed" in str(problem) for problem in net.blocked["x"])
