"""What a file makes of constants that it repeats for each sample: their products, norms, and queries that are such."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.sketch import Sketch, load_whole
from tests.inverse.test_recurrent import assert_agrees

TOKENS, WIDTH, QUERIES = 5, 4, 3
X = np.random.default_rng(4).standard_normal((20, TOKENS, WIDTH)).astype(np.float32)


def repeated(sketch: Sketch, value: np.ndarray) -> str:
    """A constant [..] that is expanded for each sample of x."""
    batch = sketch.node("Slice", sketch.node("Shape", "x"), sketch.ints(0), sketch.ints(1))
    shape = sketch.node("Concat", batch, sketch.ints(*value.shape), axis=0)
    return sketch.node("Expand", sketch.const(value[None]), shape)


def attended(sketch: Sketch, queries: str, memory: str) -> str:
    """Queries mix the memory, which is content."""
    keys = sketch.node("Transpose", sketch.node("MatMul", memory, sketch.normal(WIDTH, WIDTH)), perm=[0, 2, 1])
    weights = sketch.node("Softmax", sketch.node("MatMul", queries, keys), axis=-1)
    return sketch.node("MatMul", weights, sketch.node("MatMul", memory, sketch.normal(WIDTH, WIDTH)))


def decoder() -> ModelProto:
    """As DETR has it: queries, constants, attend to each other, which no sample changes, and then to the input."""
    sketch = Sketch(TOKENS, WIDTH)
    queries = repeated(sketch, sketch.rng.standard_normal((QUERIES, WIDTH)))
    among = sketch.node("Add", queries, attended(sketch, queries, queries))
    mixed = sketch.node("Add", among, attended(sketch, among, "x"), out="mixed")
    flat = sketch.node("Flatten", sketch.node("Relu", mixed))
    return sketch.model(sketch.dense(flat, QUERIES * WIDTH, 2), check=False)


def test_queries_that_are_constants() -> None:
    """They weigh the memory, whose values alone have a signal, as brute force has it."""
    net = load_whole(decoder())
    assert [layer.kind for layer in net.layers].count("Attention") == 1
    assert_agrees(net, X, "numpy", {})


@pytest.mark.parametrize("keeps", [0, 1])
def test_a_norm_of_a_constant(keeps: int) -> None:
    """As a cosine with prototypes has it, by torch's new exporter."""
    sketch = Sketch(TOKENS, WIDTH)
    prototype = sketch.node("Relu", repeated(sketch, sketch.rng.standard_normal((TOKENS, WIDTH))))
    size = sketch.node("ReduceL2", prototype, axes=[-1], keepdims=keeps)
    size = size if keeps else sketch.node("Unsqueeze", size, sketch.ints(2))
    size = sketch.node("Clip", size, sketch.const(1e-6))
    product = sketch.node("Mul", "x", sketch.node("Div", prototype, size), out="product")
    net = load_whole(sketch.model(sketch.dense(sketch.node("Flatten", product), TOKENS * WIDTH, 2), check=False))
    assert {layer.kind for layer in net.layers} <= {"Affine", "Reshape", "Dense"}


@pytest.mark.parametrize(
    ("op", "axes", "reason"), [("ReduceSum", (0,), "it reduces over the batch"), ("ReduceMax", (), "over the batch")]
)
def test_what_mixes_samples_is_refused(op: str, axes: tuple[int, ...], reason: str) -> None:
    sketch = Sketch(TOKENS, WIDTH)
    wide = repeated(sketch, np.ones((TOKENS, WIDTH)))
    told: dict[str, Any] = {"axes": list(axes)} if axes and op != "ReduceSum" else {}
    inputs = (wide, sketch.ints(*axes)) if axes and op == "ReduceSum" else (wide,)
    made = sketch.node("Add", "x", sketch.node(op, *inputs, keepdims=1, **told))
    model = sketch.model(sketch.dense(sketch.node("Flatten", made), TOKENS * WIDTH, 2), check=False)
    with pytest.raises(mr.UnsupportedModel, match=reason):
        load_whole(model)
