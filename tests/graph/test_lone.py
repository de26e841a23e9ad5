"""Files that drop the axis of the samples, as those do that are run on one sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.sketch import Sketch

End = Callable[[Sketch, str], str]
CLASSES = 5


def network(end: End, batch: int | str, opset: int = 17) -> ModelProto:
    """A small classifier with CLASSES scores, the same whatever its end."""
    sketch = Sketch(3, 8, 8, batch=batch, opset=opset)
    mean = sketch.node("GlobalAveragePool", sketch.node("Relu", sketch.conv("x", 3, 4)))
    return sketch.model(end(sketch, sketch.dense(sketch.node("Flatten", mean), 4, CLASSES)))


def first(sketch: Sketch, z: str) -> str:
    """torch's [0]."""
    return sketch.node("Gather", z, sketch.const(np.array(0, np.int64)), axis=0)


def squeezed(sketch: Sketch, z: str) -> str:
    """torch's .squeeze()."""
    return sketch.node("Squeeze", z)


def squeezed_there(sketch: Sketch, z: str) -> str:
    """torch's .squeeze(0)."""
    if sketch.opset < 13:
        return sketch.node("Squeeze", z, axes=[0])
    return sketch.node("Squeeze", z, sketch.ints(0))


def reshaped(sketch: Sketch, z: str) -> str:
    return sketch.node("Reshape", z, sketch.ints(CLASSES))


DROPS: dict[str, End] = {
    "first": first,
    "squeezed": squeezed,
    "squeezed there": squeezed_there,
    "reshaped": reshaped,
}


def sliced(s: Sketch, z: str) -> str:
    if s.opset < 10:
        return s.node("Slice", z, starts=[1], ends=[4], axes=[0])
    return s.node("Slice", z, s.ints(1), s.ints(4), s.ints(0))


def scaled_in_part(s: Sketch, z: str) -> str:
    """4 σ(z) + 1 of the first two, as scores of quality are."""
    p = s.node("Sigmoid", z)
    front = s.node("Slice", p, s.ints(0), s.ints(2), s.ints(0))
    scaled = s.node("Add", s.node("Mul", front, s.const(4.0)), s.const(1.0))
    return s.node("Concat", scaled, s.node("Slice", p, s.ints(2), s.ints(CLASSES), s.ints(0)), axis=0)


def split(s: Sketch, z: str) -> str:
    part = s.node("Split", z, s.ints(2, 3), outputs=2, axis=0)
    return s.node("Concat", f"{part}_1", part, axis=-1)


def again(s: Sketch, z: str) -> str:
    """An axis of samples once more, which a Gemm wants."""
    return s.dense(s.node("Unsqueeze", s.node("Relu", z), s.ints(0)), CLASSES, 2)


def stacked(s: Sketch, z: str) -> str:
    rows = [s.node("Unsqueeze", one, s.ints(0)) for one in (z, s.node("Mul", z, s.normal(CLASSES)))]
    return s.node("ReduceMax", s.node("Concat", *rows, axis=0), axes=[0], keepdims=0)


def turned(s: Sketch, z: str) -> str:
    pairs = s.node("Reshape", s.node("Concat", z, z, axis=0), s.ints(2, -1))
    return s.node("ReduceSum", s.node("Transpose", pairs), s.ints(1), keepdims=0)


BEHIND: dict[str, End] = {
    "nothing": lambda s, z: z,
    "softmax": lambda s, z: s.node("Softmax", z, axis=0),
    "softmax at the end": lambda s, z: s.node("Softmax", z, axis=-1),
    "sigmoid": lambda s, z: s.node("Sigmoid", z),
    "sliced": sliced,
    "scaled in part": scaled_in_part,
    "split": split,
    "again": again,
    "stacked": stacked,
    "turned": turned,
    "one": lambda s, z: s.node("Sigmoid", s.node("Gather", z, s.const(np.array(2, np.int64)), axis=0)),
    "dense": lambda s, z: s.node("MatMul", s.node("Relu", z), s.normal(CLASSES, 3)),
}

HEADS = {"softmax": "softmax", "softmax at the end": "softmax", "sigmoid": "sigmoid", "one": "sigmoid"}
HEADS |= {"scaled in part": "sigmoid"}


def one_by_one(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of each sample by itself [N, ...]."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([np.asarray(session.run(None, {"x": x[i : i + 1]})[0]) for i in range(len(x))])


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("drop", DROPS)
def test_the_axis_of_the_samples_is_kept(drop: str, behind: str, batch: int | str) -> None:
    model = network(lambda s, z: BEHIND[behind](s, DROPS[drop](s, z)), batch)
    net, x = mr.load(model), np.random.default_rng(4).standard_normal((6, 3, 8, 8), np.float32)
    assert not net.blocked
    expected = one_by_one(model, x).reshape(6, -1)
    made, logits = net.predict(x)
    assert net.head == HEADS.get(behind)
    # What stands beside probabilities has none.
    shown = logits if net.head is None else np.where(np.isnan(made), logits, made)
    # Sums of at most 4 · 36 products in float32.
    np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-5)
    result = mr.fit(net, x, target=0).attribute(x)
    assert result.source.shape == x.shape
    assert np.all(np.isfinite(result.source))


@pytest.mark.parametrize("opset", [9, 11, 13])
def test_older_spellings_of_axes(opset: int) -> None:
    model = network(lambda s, z: sliced(s, squeezed_there(s, z)), 1, opset)
    x = np.random.default_rng(4).standard_normal((3, 3, 8, 8), np.float32)
    np.testing.assert_allclose(mr.load(model).predict(x)[1], one_by_one(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("drop", DROPS)
def test_it_is_explained_as_the_network_that_keeps_it(drop: str) -> None:
    x = np.random.default_rng(5).standard_normal((20, 3, 8, 8), np.float32)
    inverses = [mr.fit(mr.load(network(end, 1)), x, target=2) for end in (DROPS[drop], lambda s, z: z)]
    dropped, kept = (inverse.attribute(x) for inverse in inverses)
    np.testing.assert_array_equal(dropped.attribution, kept.attribution)
    np.testing.assert_array_equal(dropped.source, kept.source)


def test_the_last_state_of_a_recurrent_network_has_directions_in_front() -> None:
    """Y_h [1, 1, H] of a file for one sample loses the axis of the directions, not that of the sample."""
    sketch = Sketch(4, 3, batch=1)
    steps = sketch.node("Transpose", "x", perm=[1, 0, 2])
    y = sketch.node("LSTM", steps, sketch.normal(1, 20, 3), sketch.normal(1, 20, 5), outputs=2, hidden_size=5)
    last = sketch.node("Squeeze", f"{y}_1", sketch.ints(0))
    model = sketch.model(sketch.node("Squeeze", sketch.dense(last, 5, 2)))
    x = np.random.default_rng(6).standard_normal((5, 4, 3), np.float32)
    np.testing.assert_allclose(mr.load(model).predict(x)[1], one_by_one(model, x), rtol=1e-4, atol=1e-5)


def test_what_is_not_followed_is_told_by_name() -> None:
    model = network(lambda s, z: s.node("CumSum", first(s, z), s.const(np.array(0, np.int64))), 1)
    with pytest.raises(mr.UnsupportedModel, match=r"CumSum 'the_cumsum\d+' \(no inverse is known"):
        mr.load(model)


def test_a_file_of_many_such_nodes_is_read_in_time() -> None:
    """Each that is asked for costs a reading of the file; beyond some they are left as they are."""
    sketch = Sketch(4, batch=1)
    z = sketch.dense("x", 4, 3)
    ends = [sketch.node("CumSum", first(sketch, z), sketch.const(np.array(0, np.int64))) for _ in range(100)]
    model = sketch.model(sketch.node("Sum", *ends))
    with pytest.raises(mr.UnsupportedModel, match="100 CumSum, first"):
        mr.load(model)
