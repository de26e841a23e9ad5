"""Values that are repeated for groups of queries, as repeat_kv of transformers does: read by several heads."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.fusions.forms import TOKENS, WIDTH, Array, ended, samples, weights
from tests.graph.sketch import Sketch
from tests.inverse.test_recurrent import assert_agrees

HEADS, SHARED, EACH = 4, 2, 2
PARTS = tuple(weights(WIDTH, width, seed=i) for i, width in enumerate((WIDTH, SHARED * EACH, SHARED * EACH)))
TOLERANCE = 1e-8
"""Of the largest value: sums in double precision of the same numbers."""
FORMS = ["expand", "tile", "gather"]


def apart(sketch: Sketch, name: str, heads: int) -> str:
    return sketch.node("Transpose", sketch.node("Reshape", name, sketch.ints(0, 0, heads, -1)), perm=[0, 2, 1, 3])


def repeated(sketch: Sketch, name: str, form: str) -> str:
    """[N, shared, T, d] as [N, heads, T, d]."""
    match form:
        case "gather":
            return sketch.node("Gather", name, sketch.ints(0, 0, 1, 1), axis=1)
        case "tile":
            wide = sketch.node("Tile", sketch.node("Unsqueeze", name, sketch.ints(2)), sketch.ints(1, 1, 2, 1, 1))
        case _:
            batch = sketch.node("Gather", sketch.node("Shape", name), sketch.ints(0))
            sizes = sketch.node("Concat", batch, sketch.ints(SHARED, HEADS // SHARED, TOKENS, EACH), axis=0)
            wide = sketch.node("Expand", sketch.node("Unsqueeze", name, sketch.ints(2)), sizes)
    return sketch.node("Reshape", wide, sketch.ints(0, HEADS, TOKENS, EACH))


def network(form: str) -> ModelProto:
    """form: how keys and values are repeated; "operator" for that of opset 23, which repeats none."""
    sketch = Sketch(TOKENS, WIDTH, opset=23, ir=10) if form == "operator" else Sketch(TOKENS, WIDTH)
    x = sketch.node("Relu", sketch.node("MatMul", "x", sketch.const(weights(WIDTH, WIDTH, seed=50))))
    q, k, v = (sketch.node("MatMul", x, sketch.const(one), out=name) for name, one in zip("qkv", PARTS, strict=True))
    if form == "operator":
        mixed = sketch.node("Attention", q, k, v, q_num_heads=HEADS, kv_num_heads=SHARED, out="mixed")
        return ended(sketch, mixed, WIDTH, check=True)
    query, key, value = apart(sketch, q, HEADS), apart(sketch, k, SHARED), apart(sketch, v, SHARED)
    turned = sketch.node("Transpose", repeated(sketch, key, form), perm=[0, 1, 3, 2])
    scores = sketch.node("Mul", sketch.node("MatMul", query, turned), sketch.const(1 / np.sqrt(EACH)))
    made = sketch.node("MatMul", sketch.node("Softmax", scores, axis=-1), repeated(sketch, value, form))
    back = sketch.node("Transpose", made, perm=[0, 2, 1, 3])
    mixed = sketch.node("Reshape", back, sketch.ints(0, 0, -1), out="mixed")
    return ended(sketch, mixed, WIDTH, check=True)


@pytest.mark.parametrize("form", FORMS)
def test_repeated_values_are_those_of_the_operator(form: str) -> None:
    x, nets = samples(), [mr.load(network(form)), mr.load(network("operator"))]
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key
    assert_agrees(nets[0], x[:14], "numpy", {})


def by_heads(x: Array, heads: int) -> Array:
    return x.reshape(len(x), TOKENS, heads, -1).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("form", [*FORMS, "operator"])
def test_values_by_the_formula(form: str) -> None:
    """w ⊙ the mean over the heads that read a value of Pᵀ S, one w a feature of the values, masked, by loops."""
    x = samples()
    inv = mr.fit(mr.load(network(form)), x, 1)
    found = inv.attribute(x, at=["v", "mixed"])
    hidden = np.maximum(x.astype(np.float64) @ weights(WIDTH, WIDTH, seed=50).astype(np.float64), 0)
    query, key = (by_heads(hidden @ part, heads) for part, heads in zip(PARTS, (HEADS, SHARED), strict=False))
    signal, value = by_heads(found["mixed"].source, HEADS), by_heads(found["v"].value.astype(np.float64), SHARED)
    back = np.zeros(value.shape)
    for head in range(HEADS):
        shared = head // (HEADS // SHARED)
        scores = query[:, head] @ key[:, shared].transpose(0, 2, 1) / np.sqrt(EACH)
        rows = np.exp(scores - scores.max(axis=-1, keepdims=True))
        rows /= rows.sum(axis=-1, keepdims=True)
        back[:, shared] += rows.transpose(0, 2, 1) @ signal[:, head] / (HEADS // SHARED)
    weight = (back * value).sum(axis=(0, 2)) / ((back * back).sum(axis=(0, 2)) + inv.options.ridge)
    back *= value != 0
    expected = (weight[None, :, None] * back).transpose(0, 2, 1, 3).reshape(found["v"].source.shape)
    # The network's own softmax is in single precision.
    assert np.max(np.abs(found["v"].source - expected)) <= 1e-5 * np.max(np.abs(expected))
