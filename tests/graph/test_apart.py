"""Files that mix the samples of a batch, or have one size of it: run sample by sample in front of the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, TensorProto

import mipin_ref as mr
from tests.graph.sketch import Sketch, tensors_of

Array = npt.NDArray[Any]


def centred() -> ModelProto:
    """What is read is taken off its mean over the batch: nothing of a sample by itself, so that it is zero."""
    sketch = Sketch(5)
    mean = sketch.node("ReduceMean", "x", axes=[0], keepdims=1)
    gap = sketch.node("Add", sketch.node("Sub", "x", mean), sketch.node("CumSum", "x", sketch.const(np.array(1))))
    return sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(gap, 5, 6)), 6, 3))


def quantised() -> ModelProto:
    """Quantised by the range of the whole batch."""
    sketch = Sketch(5)
    whole = sketch.node("DynamicQuantizeLinear", "x", outputs=3, out="q")
    back = sketch.node("DequantizeLinear", whole, f"{whole}_1", f"{whole}_2", out="back")
    return sketch.model(
        sketch.dense(
            sketch.node(
                "Relu",
                sketch.dense(
                    back,
                    5,
                    6,
                ),
                out="relu",
            ),
            6,
            3,
        )
    )


def fixed(*, flat: bool) -> ModelProto:
    """A batch of one, which Reshapes on both sides of a node without an inverse write down."""
    sketch = Sketch(2, 3, 4, batch=1)
    inside = sketch.node("Reshape", "x", sketch.ints(*((1, 1, -1) if flat else (1, 6, 4))))
    gap = sketch.node("CumSum", inside, sketch.const(np.array(-1)))
    hidden = sketch.node("Relu", sketch.dense(sketch.node("Reshape", gap, sketch.ints(1, 24), out="row"), 24, 6))
    return sketch.model(sketch.dense(hidden, 6, 3))


def folded() -> ModelProto:
    """A batch of one, which no Reshape behind it holds to: of two samples the file makes one result."""
    sketch = Sketch(2, 3, batch=1)
    inside = sketch.node("Reshape", sketch.node("Tanh", "x", out="tanh"), sketch.ints(1, 1, -1))
    gap = sketch.node("CumSum", inside, sketch.const(np.array(-1)))
    mean = sketch.node("ReduceMean", gap, axes=[2], keepdims=0, out="mean")
    return sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(mean, 1, 6)), 6, 3))


def pairs() -> ModelProto:
    """A batch of two, written down too."""
    sketch = Sketch(2, 3, batch=2)
    gap = sketch.node("CumSum", sketch.node("Reshape", "x", sketch.ints(2, 6)), sketch.const(np.array(-1)), out="gap")
    return sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(gap, 6, 6)), 6, 3))


def one_by_one(model: ModelProto, x: Array, size: int = 1) -> Array:
    """The file's output for samples in batches of a size."""
    out = model.graph.output[0].name
    return np.concatenate([tensors_of(model, x[i : i + size])[out] for i in range(0, len(x), size)])


@pytest.mark.parametrize(
    ("model", "size"),
    [(centred(), 1), (quantised(), 1), (fixed(flat=False), 1), (fixed(flat=True), 1), (folded(), 1), (pairs(), 2)],
    ids=["mean over the batch", "quantised", "reshaped to one", "flattened to one", "folded into one", "two"],
)
def test_as_many_at_a_time_as_the_file_is_meant_for(model: ModelProto, size: int) -> None:
    net = mr.load(model)
    assert net.stem is not None
    assert net.stem.apart == size
    dims = model.graph.input[0].type.tensor_type.shape.dim[1:]
    x = np.random.default_rng(5).standard_normal((8, *(d.dim_value for d in dims)), np.float32)
    expected = one_by_one(model, x, size)
    scale = np.abs(expected).max()
    for count in (8, 7, 3, 1):
        made = net.predict(x[:count], batch_size=5)[1]
        np.testing.assert_allclose(made, expected[:count], rtol=0, atol=1e-5 * scale)
    inverse = mr.fit(net, x, target=1, at="auto", batch_size=3)
    whole, parts = inverse.attribute(x), [inverse.attribute(x[i : i + 1]) for i in range(8)]
    np.testing.assert_allclose(whole.attribution, np.concatenate([one.attribution for one in parts]), rtol=1e-6)


def test_what_mixes_no_samples_is_run_together() -> None:
    sketch = Sketch(5)
    gap = sketch.node("CumSum", "x", sketch.const(np.array(1)), out="gap")
    net = mr.load(sketch.model(sketch.dense(gap, 5, 3)))
    assert net.stem is not None
    assert net.stem.apart is None


def test_samples_on_another_axis_in_front_of_the_layers() -> None:
    """Time first inside of the part that has no inverse, and in the tensor behind it."""
    sketch = Sketch(6, 4)
    turned = sketch.node("Transpose", "x", perm=[1, 0, 2])
    gap = sketch.node("CumSum", turned, sketch.const(np.array(0)), out="gap")
    back = sketch.node("Transpose", gap, perm=[1, 0, 2])
    model = sketch.model(sketch.dense(sketch.node("Flatten", back), 24, 3))
    net = mr.load(model)
    assert net.sources == {"gap": (6, 4)}
    x = np.random.default_rng(5).standard_normal((9, 6, 4), np.float32)
    np.testing.assert_allclose(net.predict(x)[1], one_by_one(model, x), rtol=0, atol=1e-5)
    value = mr.fit(net, x, target=1, at="gap").attribute(x).value
    np.testing.assert_array_equal(value, np.cumsum(x, 1, dtype=np.float32))


def test_a_kind_of_half_precision() -> None:
    sketch = Sketch(6, dtype=TensorProto.FLOAT16)
    gap = sketch.node("CumSum", sketch.node("Cast", "x", to=TensorProto.FLOAT), sketch.const(np.array(1)), out="gap")
    sketch.dtype = TensorProto.FLOAT
    model = sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(gap, 6, 5)), 5, 3))
    net = mr.load(model)
    x = np.random.default_rng(5).standard_normal((9, 6), np.float32)
    made = net.predict(x)[1]
    np.testing.assert_allclose(made, tensors_of(model, x)[model.graph.output[0].name], rtol=0, atol=1e-2)
    assert np.isfinite(mr.fit(net, x, target=1, at="gap").attribute(x).attribution).all()
