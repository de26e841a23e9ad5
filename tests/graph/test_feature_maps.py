"""Which tensor "auto" explains where the last nodes without an inverse make values that are no map yet."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.graph.feature_maps import feature_maps, last_feature_map
from tests.graph.sketch import Sketch


def pooled_by_lookups(length: int) -> ModelProto:
    """conv [3, 4, 4] -> mean [3, 5, 5] -> scores [4], as PyTorch's exporter writes an adaptive pool of an open batch.

    Windows of `length` rows and columns are looked up behind axes that are turned round, so that the batch is in the
    middle, "picked" [5, length, 5, length, N, 3], and averaged. No inverse is known of the look-up.
    """
    sketch = Sketch(2, 4, 4, opset=18)
    mixed = sketch.node("Relu", sketch.conv("x", 2, 3, pads=[1, 1, 1, 1]), out="relu")
    starts = np.arange(5) * (5 - length) // 5
    places = starts[:, None] + np.arange(length)
    rows, columns = np.broadcast_arrays(places[:, :, None, None], places)
    index = sketch.const(np.stack([rows, columns], axis=-1).astype(np.int64))
    picked = sketch.node("GatherND", sketch.node("Transpose", mixed, perm=[2, 3, 0, 1]), index, out="picked")
    windows = sketch.node("Transpose", picked, perm=[4, 5, 0, 1, 2, 3], out="windows")
    mean = sketch.node("ReduceMean", windows, sketch.ints(-3, -1), out="mean", keepdims=0)
    hidden = sketch.node("Relu", sketch.dense(sketch.node("Reshape", mean, sketch.ints(-1, 75)), 75, 6))
    return sketch.model(sketch.dense(hidden, 6, 4))


@pytest.mark.parametrize("length", [1, 2])
def test_the_map_behind_a_lookup_without_an_inverse_is_explained(length: int) -> None:
    """Where each window is one value, its mean is the same values in another shape, and yet the only map there is."""
    net = mr.load(pooled_by_lookups(length))
    assert "relu" in net.blocked
    assert [*net.sources] == ["picked"]
    assert last_feature_map(net) == "mean"
    x = np.random.default_rng(2).standard_normal((30, *net.input_shape)).astype(np.float32)
    res = mr.fit(net, x, 1, at="auto").attribute(x[:2])
    assert (res.tensor, mr.saliency(res).shape) == ("mean", (2, 5, 5))
    assert mr.attribute(net, x[:2], 1, "grad-cam").tensor == "mean"


def test_a_map_made_of_a_row_or_of_a_map_is_not_proposed() -> None:
    """The places of a row are the model's own doing, and a map turned round holds the other's values."""
    sketch = Sketch(50)
    made = sketch.node("CumSum", sketch.dense("x", 50, 50), sketch.const(np.array(-1)), out="row")
    image = sketch.node("Reshape", made, sketch.ints(-1, 2, 5, 5), out="map")
    turned = sketch.node("Transpose", image, perm=[0, 1, 3, 2], out="turned")
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", sketch.conv(turned, 2, 3, (5, 5))), 3, 4)))
    assert feature_maps(net) == []
