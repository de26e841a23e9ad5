"""Files with a batch of one that drop it, and compute with the tensors of one sample."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graph.sketch import Sketch, load_whole
from tests.graph.test_apart import one_by_one
from tests.graph.test_seats import SIZE, STEPS, WIDTH, assert_each_sample


def test_steps_as_pictures() -> None:
    """A batch of one behind the steps is one channel to a Conv, which has the steps as rows of the sample; of these
    the mean is taken, which leaves no axis of samples.
    """
    sketch = Sketch(STEPS, 6, batch=1)
    slid = sketch.node("Relu", sketch.conv(sketch.node("Transpose", "x", perm=[1, 0, 2]), 1, 2, (3,)))
    mean = sketch.node("ReduceMean", slid, axes=[0], keepdims=0)
    model = sketch.model(sketch.dense(sketch.node("Reshape", mean, sketch.ints(1, 8)), 8, 3))
    assert_each_sample(load_whole(model), model)


@pytest.mark.parametrize("dropped", ["Squeeze", "bare Squeeze", "Gather"])
def test_dropped_batch(dropped: str) -> None:
    """As torch writes x.squeeze(0) and x[0] of a batch of one: rows of the sample, each through a matrix."""
    sketch = Sketch(STEPS, WIDTH, batch=1)
    if dropped == "Gather":
        alone = sketch.node("Gather", "x", sketch.const(np.array(0)), axis=0)
    else:
        alone = sketch.node("Squeeze", "x", *([sketch.ints(0)] if dropped == "Squeeze" else []))
    hidden = sketch.node("Relu", sketch.dense(alone, WIDTH, SIZE))
    again = sketch.node("Unsqueeze", hidden, sketch.ints(0))
    mean = sketch.node("ReduceMean", again, axes=[1], keepdims=0)
    model = sketch.model(sketch.dense(mean, SIZE, 3))
    assert_each_sample(load_whole(model), model)


def of_one_sample(sketch: Sketch, form: str) -> str:
    """What is computed of one sample without an axis of the batch, [T, C] or [C]."""
    x = sketch.node("Squeeze", "x", sketch.ints(0))
    match form:
        case "attention":
            q, k, v = (sketch.dense(x, WIDTH, SIZE) for _ in "qkv")
            scores = sketch.node("MatMul", q, sketch.node("Transpose", k, perm=[1, 0]))
            mixed = sketch.node("MatMul", sketch.node("Softmax", scores, axis=-1), v)
            return sketch.node("ReduceMean", mixed, axes=[0], keepdims=1)
        case "beside a constant":
            rows = sketch.node("Concat", sketch.normal(1, SIZE), sketch.dense(x, WIDTH, SIZE), axis=0)
            return sketch.node("Slice", sketch.node("Relu", rows), *(sketch.ints(i) for i in (1, 2, 0)))
        case "over rows":
            row = sketch.node("ReduceMax", sketch.dense(x, WIDTH, SIZE), axes=[0], keepdims=0)
            return sketch.node("Add", row, sketch.normal(SIZE))
        case "unlike ranks":
            rows = sketch.dense(x, WIDTH, SIZE)
            row = sketch.node("Gather", rows, sketch.const(np.array(1)), axis=0)
            both = sketch.node("Add", sketch.node("Tanh", rows), row)
            return sketch.node("ReduceMean", both, axes=[0], keepdims=1)
        case _:
            parts = sketch.node("Split", sketch.dense(x, WIDTH, SIZE), axis=0, outputs=STEPS, out="part")
            again = sketch.node("Concat", f"{parts}_2", parts, axis=0)
            return sketch.node("ReduceMean", sketch.node("Relu", again), axes=[0], keepdims=1)


@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
@pytest.mark.parametrize("form", ["attention", "beside a constant", "over rows", "unlike ranks", "parts"])
def test_one_sample_without_a_batch(form: str, product: str) -> None:
    """A row that comes back to an axis of length one is that of a sample, of which a product is a Dense."""
    sketch = Sketch(STEPS, WIDTH, batch=1)
    row = of_one_sample(sketch, form)
    if form == "over rows":
        row = sketch.node("Unsqueeze", row, sketch.ints(0))
    model = sketch.model(sketch.node(product, row, sketch.normal(SIZE, 3)))
    net = load_whole(model)
    assert_each_sample(net, model)
    assert net.layers[-1].kind == "Dense"


def test_output_without_a_batch() -> None:
    sketch = Sketch(WIDTH, batch=1)
    hidden = sketch.dense(sketch.node("Relu", sketch.dense("x", WIDTH, SIZE)), SIZE, 3)
    model = sketch.model(sketch.node("Softmax", sketch.node("Squeeze", hidden, sketch.ints(0)), axis=-1))
    net = load_whole(model)
    x = np.random.default_rng(0).standard_normal((4, WIDTH)).astype(np.float32)
    expected = one_by_one(model, x).reshape(4, 3)
    np.testing.assert_allclose(net.predict(x)[0], expected, atol=8 * float(np.finfo(np.float32).eps))
