"""Views by strides, as torch's dynamo exporter writes them: places in one row of all samples, a stride for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.sketch import Sketch, assert_keeps_values


def strided(places: Any, *, stride: int = 24, batch: int | str = "N", start: int = 0, step: int = 1) -> ModelProto:
    """A view of x [N, 4, 3, 2]: `places` [1, ...] within the row of a sample, `stride` from one sample to the next."""
    sketch = Sketch(4, 3, 2, batch=batch, opset=18)
    fired = sketch.node("Relu", "x", out="fired")
    row = sketch.node("Reshape", fired, sketch.ints(-1))
    if batch == "N":
        count = sketch.node("Squeeze", sketch.node("Shape", "x", end=1))
        limits = [sketch.const(np.int64(start)), count, sketch.const(np.int64(step))]
        samples = sketch.node("Range", *limits)
        starts = sketch.node("Mul", samples, sketch.const(np.int64(stride)))
        axes = sketch.ints(*range(1, places.ndim))
        index = sketch.node("Add", sketch.node("Unsqueeze", starts, axes), sketch.const(places))
        index = sketch.node("Add", index, sketch.const(np.zeros([1] * places.ndim, np.int64)))
    else:
        every = np.arange(int(batch)).reshape(-1, *[1] * (places.ndim - 1))
        index = sketch.const(places + stride * every)
    view = sketch.node("Gather", row, index, axis=0, out="view")
    flat = sketch.node("Reshape", view, sketch.ints(-1, places.size))
    return sketch.model(sketch.dense(flat, places.size, 3), check=False)


WHOLE = np.arange(24).reshape(1, 4, 3, 2)
PLACES = {
    "in order": WHOLE,
    "other axes": WHOLE.reshape(1, 2, 12),
    "transposed": WHOLE.transpose(0, 2, 3, 1),
    "a window": WHOLE[:, 1:3, ::2],
    "overlapping": np.arange(5)[None, :, None] * 3 + np.arange(4)[None, None],
}


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("name", PLACES)
def test_values(name: str, batch: int | str) -> None:
    net = assert_keeps_values(strided(PLACES[name], batch=batch), batch=None if batch == "N" else int(batch))
    assert not net.blocked
    assert "view" in {*net.shapes, *net.aliases}


def test_a_view_in_order_is_no_layer() -> None:
    net = mr.load(strided(WHOLE))
    assert [layer.kind for layer in net.layers] == ["Activation", "Reshape", "Dense"]


def sliced() -> ModelProto:
    """What the window of PLACES is, as a Slice, with the very weights of `strided`."""
    sketch = Sketch(4, 3, 2, opset=18)
    fired = sketch.node("Relu", "x", out="fired")
    part = sketch.node("Slice", fired, sketch.ints(1, 0), sketch.ints(3, 3), sketch.ints(1, 2), sketch.ints(1, 2))
    flat = sketch.node("Reshape", part, sketch.ints(-1, 8))
    return sketch.model(sketch.dense(flat, 8, 3), check=False)


def test_the_signal_comes_back_in_its_place() -> None:
    """A view of a part: what it leaves out gets nothing, as with the Slice that it is."""
    x = np.random.default_rng(3).standard_normal((30, 4, 3, 2)).astype(np.float32)
    one, two = (mr.fit(mr.load(model), x, 1).attribute(x[:5]) for model in (strided(PLACES["a window"]), sliced()))
    np.testing.assert_array_equal(one.output, two.output)
    np.testing.assert_allclose(one.source, two.source, rtol=0, atol=1e-10 * np.abs(two.source).max())
    np.testing.assert_allclose(one.attribution, two.attribution, rtol=0, atol=1e-10 * np.abs(two.attribution).max())


@pytest.mark.parametrize("options", [{"stride": 12}, {"stride": 25}, {"batch": 3, "stride": 20}], ids=str)
def test_a_view_that_mixes_samples_has_no_inverse(options: dict[str, Any]) -> None:
    net = mr.load(strided(WHOLE[:, :1], **options), check=False)
    assert {"x", "fired"} <= net.blocked.keys()


@pytest.mark.parametrize("options", [{"start": 1}, {"step": 2}], ids=str)
def test_other_counts_than_that_of_the_samples_are_no_view(options: dict[str, Any]) -> None:
    with pytest.raises(mr.UnsupportedModel, match="the_range"):
        mr.load(strided(WHOLE, **options))


def test_places_of_the_next_sample_are_no_view() -> None:
    with pytest.raises(mr.UnsupportedModel, match="the_range"):
        mr.load(strided(WHOLE[:, :1] + 20))


def test_another_axis_is_no_view() -> None:
    """Places along the second axis of a tensor with two are a choice of columns, as ever."""
    sketch = Sketch(6, opset=18)
    view = sketch.node("Gather", sketch.node("Relu", "x"), sketch.ints(4, 1), axis=1)
    net = assert_keeps_values(sketch.model(sketch.dense(view, 2, 3)))
    assert [layer.kind for layer in net.layers] == ["Activation", "Gather", "Dense"]
