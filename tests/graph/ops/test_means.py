"""Means over the whole map, as GlobalAveragePool and as ReduceMean, channels first and last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.layers import GlobalAveragePool
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole


def kinds(net: mr.Network) -> list[str]:
    return [layer.kind for layer in net.layers]


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4), (3, 2, 3, 4), (3, 1, 1)])
def test_global_average_pool(shape: tuple[int, ...]) -> None:
    sketch = Sketch(*shape)
    pooled = sketch.node("GlobalAveragePool", "x")
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", pooled), 3, 2)))
    assert isinstance(net.layers[0], GlobalAveragePool)
    assert net.layers[0].out_shape == (3, *(1,) * (len(shape) - 1))


def reduced(sketch: Sketch, source: str, axes: list[int], keepdims: int | None, out: str = "mean") -> str:
    options: dict[str, Any] = {} if keepdims is None else {"keepdims": keepdims}
    if sketch.opset < 18:
        return sketch.node("ReduceMean", source, axes=axes, out=out, **options)
    return sketch.node("ReduceMean", source, sketch.ints(*axes), out=out, **options)


# Axes count from the back only since opset 11.
AXES = [
    (opset, axes) for opset in (9, 13, 18) for axes in ([2, 3], [3, 2], [-1, -2], [2, -1]) if opset > 9 or axes[1] > 0
]


@pytest.mark.parametrize(("opset", "axes"), AXES)
@pytest.mark.parametrize("keepdims", [None, 0, 1])
def test_channels_first(opset: int, keepdims: int | None, axes: list[int]) -> None:
    sketch = Sketch(3, 4, 5, opset=opset)
    mean = reduced(sketch, sketch.node("Relu", "x"), axes, keepdims)
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", mean), 3, 2)))
    assert kinds(net) == ["Activation", "GlobalAveragePool", "Reshape", "Dense"]
    assert net.shapes[net.tensor("mean")] == ((3,) if keepdims == 0 else (3, 1, 1))


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axes", "channels"), [((4, 5, 3), [1, 2], 3), ((4, 3), [1], 3), ((4, 3, 5), [1, 3], 3)]
)
def test_channels_elsewhere(opset: int, keepdims: int, shape: tuple[int, ...], axes: list[int], channels: int) -> None:
    sketch = Sketch(*shape, opset=opset)
    mean = reduced(sketch, sketch.node("Relu", "x"), axes, keepdims)
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", mean), channels, 2)))
    assert kinds(net)[:3] == ["Activation", "Transpose", "GlobalAveragePool"]
    assert net.layers[2].in_shape[0] == channels


@pytest.mark.parametrize("opset", [13, 18])
def test_names_between_the_layers_of_one_node_are_new(opset: int) -> None:
    """The file has a tensor of the very name that the reader would give its own."""
    sketch = Sketch(4, 5, 3, opset=opset)
    sketch.node("Relu", "x", out="mean:channels_first")
    sketch.node("Tanh", "mean:channels_first", out="mean:mean")
    mean = reduced(sketch, "mean:mean", [1, 2], 0)
    net = assert_keeps_values(sketch.model(sketch.dense(mean, 3, 2)))
    assert {"mean:channels_first", "mean:mean", "mean:channels_first'", "mean:mean'"} <= set(net.shapes)


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ([0, 2, 3], "it averages over the batch"),
        ([4, 2], "do not fit rank 4"),
    ],
)
@pytest.mark.parametrize("opset", [13, 18])
def test_other_means_are_refused(axes: list[int], reason: str, opset: int) -> None:
    sketch = Sketch(3, 4, 5, opset=opset)
    with pytest.raises(mr.UnsupportedModel, match=f"ReduceMean 'the_mean'.*{reason}"):
        load_whole(sketch.model(reduced(sketch, "x", axes, 1), check=False))


@pytest.mark.parametrize("opset", [13, 18])
def test_mean_of_everything_is_refused(opset: int) -> None:
    sketch = Sketch(3, 4, 5, opset=opset)
    with pytest.raises(mr.UnsupportedModel, match=r"ReduceMean 'the_mean'.*it averages over the batch"):
        load_whole(sketch.model(sketch.node("ReduceMean", "x", out="mean")))


def test_mean_of_nothing_is_an_alias() -> None:
    sketch = Sketch(4, opset=18)
    same = sketch.node("ReduceMean", "x", noop_with_empty_axes=1, out="same")
    assert assert_keeps_values(sketch.model(sketch.dense(same, 4, 3))).tensor("same") == "x"


def test_global_average_pool_of_features_is_refused() -> None:
    sketch = Sketch(4)
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*is no map"):
        load_whole(sketch.model(sketch.node("GlobalAveragePool", "x", out="odd"), check=False))


@pytest.mark.parametrize(("shape", "axes"), [((4, 6), [1]), ((6, 4), [2]), ((4, 5, 6), [1, 2])])
def test_means_of_doubles(shape: tuple[int, ...], axes: list[int]) -> None:
    """onnxruntime has no GlobalAveragePool of doubles; signals are those of the same network in single precision."""
    nets = []
    for dtype in (TensorProto.FLOAT, TensorProto.DOUBLE):
        sketch = Sketch(*shape, dtype=dtype)
        mean = reduced(sketch, sketch.node("Relu", "x"), axes, 0)
        nets.append(load_whole(sketch.model(sketch.node("MatMul", mean, sketch.normal(6, 3)))))
    assert [kind in kinds(net) for net, kind in zip(nets, ("GlobalAveragePool", "Reduce"), strict=True)] == [True] * 2
    x = np.random.default_rng(0).standard_normal((40, *shape))
    one, two = (mr.fit(net, x.astype(net.dtype), 1).attribute(x[:5].astype(net.dtype)) for net in nets)
    for mine, theirs in ((two.attribution, one.attribution), (two.source, one.source)):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=200 * 2.0**-23 * np.abs(theirs).max())
