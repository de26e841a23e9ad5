"""Nodes that only rearrange: read as Reshape, Transpose or another name, with the batch free."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole


def headed(sketch: Sketch, flat: str, features: int = 24) -> mr.Network:
    batch = sketch.inputs[0].type.tensor_type.shape.dim[0].dim_value
    return assert_keeps_values(sketch.model(sketch.dense(flat, features, 3)), batch=batch or None)


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3, 4), 1), ((2, 3, 4), -3), ((1, 6, 4), 2), ((24,), 1), ((1, 1, 24), -1)]
)
def test_flatten(shape: tuple[int, ...], axis: int) -> None:
    sketch = Sketch(*shape)
    headed(sketch, sketch.node("Flatten", "x", axis=axis))


def test_flatten_of_the_batch_is_refused() -> None:
    sketch = Sketch(2, 3, 4)
    with pytest.raises(mr.UnsupportedModel, match=r"Flatten 'the_flat'.*axis 0 would fold the batch into features"):
        load_whole(sketch.model(sketch.node("Flatten", "x", axis=0, out="flat")))


def test_flatten_into_rows_of_samples() -> None:
    sketch = Sketch(2, 3, 4)
    rows = sketch.node("Flatten", "x", axis=3)
    made = sketch.node("Gemm", rows, sketch.normal(4, 5))
    net = mr.load(sketch.model(sketch.dense(sketch.node("Reshape", made, sketch.ints(-1, 30)), 30, 3)))
    assert net.shapes[made] == (6, 5)


@pytest.mark.parametrize("target", [(0, 24), (0, -1), (-1, 24)])
@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_reshape(target: tuple[int, ...], batch: int | str) -> None:
    sketch = Sketch(2, 3, 4, batch=batch)
    headed(sketch, sketch.node("Reshape", sketch.conv("x", 2, 2, (1, 1)), sketch.ints(*target)))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("features", [24, -1])
def test_reshape_with_the_batch_baked_in(batch: int, features: int) -> None:
    sketch = Sketch(2, 3, 4, batch=batch)
    headed(sketch, sketch.node("Reshape", "x", sketch.ints(batch, features)))


def test_reshape_of_a_single_feature_keeps_the_batch_in_front() -> None:
    sketch = Sketch(4, batch=1)
    one = sketch.node("Reshape", sketch.dense("x", 4, 1), sketch.ints(1, -1))
    assert_keeps_values(sketch.model(sketch.dense(one, 1, 3)), batch=1)


@pytest.mark.parametrize("target", [(12, -1), (-1, 7), (48,), (2, 24)])
def test_reshape_that_mixes_the_batch_is_refused(target: tuple[int, ...]) -> None:
    sketch = Sketch(2, 3, 4)
    with pytest.raises(mr.UnsupportedModel, match="Reshape 'the_odd'"):
        load_whole(sketch.model(sketch.node("Reshape", "x", sketch.ints(*target), out="odd")))


@pytest.mark.parametrize("opset", [9, 13])
def test_squeeze_and_unsqueeze(opset: int) -> None:
    sketch = Sketch(6, 4, opset=opset)

    def call(op: str, source: str, *axes: int) -> str:
        return sketch.node(op, source, axes=list(axes)) if opset < 13 else sketch.node(op, source, sketch.ints(*axes))

    # Axes count from the back only since opset 11.
    wide = call("Unsqueeze", "x", 1, 4 if opset < 11 else -1)
    narrow = call("Squeeze", sketch.node("Relu", wide), 1, 4)
    headed(sketch, sketch.node("Flatten", narrow))


def test_squeeze_without_axes() -> None:
    sketch = Sketch(4, 6, 6)
    pooled = sketch.conv("x", 4, 24, (6, 6))
    headed(sketch, sketch.node("Squeeze", pooled))


def test_squeeze_that_drops_a_free_batch_is_refused() -> None:
    """But where it is followed behind by what keeps it, in files for one sample at a time."""
    sketch = Sketch(24, 1)
    out = sketch.node("CumSum", sketch.node("Squeeze", "x", sketch.ints(0), out="odd"), sketch.const(np.array(0)))
    with pytest.raises(mr.UnsupportedModel, match=r"Squeeze 'the_odd' \(axes \[0\] of \[N, 24, 1\]"):
        load_whole(sketch.model(out, check=False))


@pytest.mark.parametrize("perm", [[0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3], [3, 2, 0, 1], None])
def test_transpose(perm: list[int] | None) -> None:
    """A batch that moves away must come back before a layer."""
    sketch = Sketch(2, 3, 4)
    options: dict[str, Any] = {} if perm is None else {"perm": perm}
    turned = sketch.node("Relu", sketch.node("Transpose", "x", **options))
    full = perm or [3, 2, 1, 0]
    back = sketch.node("Transpose", turned, perm=[full.index(0), *(full.index(i) for i in (2, 1, 3))])
    headed(sketch, sketch.node("Flatten", back))


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("groups", [2, 3])
def test_channel_shuffle(batch: int | str, groups: int) -> None:
    sketch = Sketch(6, 3, 3, batch=batch)
    first = 0 if batch == "N" else 1
    apart = sketch.node("Reshape", sketch.conv("x", 6, 6, (1, 1)), sketch.ints(first, groups, 6 // groups, 3, 3))
    mixed = sketch.node("Transpose", apart, perm=[0, 2, 1, 3, 4])
    together = sketch.node("Reshape", mixed, sketch.ints(first, 6, 3, 3), out="shuffled")
    out = sketch.node("Add", sketch.conv(together, 6, 6, (1, 1), group=groups), together)
    net = assert_keeps_values(sketch.model(out), batch=None if batch == "N" else 1)
    assert [layer.kind for layer in net.layers] == ["Conv", "Reshape", "Transpose", "Reshape", "Conv", "Add"]
    assert net.channel_axis("shuffled") == 1


@pytest.mark.parametrize("batch", ["N", 1])
def test_shape_gather_concat_reshape(batch: int | str) -> None:
    """What torch writes for x.view(x.size(0), -1)."""
    sketch = Sketch(2, 3, 4, batch=batch)
    first = sketch.node("Gather", sketch.node("Shape", "x"), sketch.const(np.int64(0)), axis=0)
    rows = sketch.node("Unsqueeze", first, sketch.ints(0))
    target = sketch.node("Concat", rows, sketch.ints(-1), axis=0)
    net = headed(sketch, sketch.node("Reshape", "x", target, out="flat"))
    assert net.shapes["flat"] == (24,)


@pytest.mark.parametrize("opset", [9, 15])
def test_tf2onnx_flatten(opset: int) -> None:
    """Shape -> Cast -> Slice -> Concat -> Cast -> Reshape."""
    sketch = Sketch(3, 4, 2, opset=opset)
    mixed = sketch.conv(sketch.node("Transpose", "x", perm=[0, 3, 1, 2]), 2, 2, (1, 1))
    nhwc = sketch.node("Transpose", mixed, perm=[0, 2, 3, 1])
    shape = sketch.node("Cast", sketch.node("Shape", nhwc), to=TensorProto.INT32)
    if opset < 10:
        rows = sketch.node("Slice", shape, axes=[0], starts=[0], ends=[1])
    else:
        rows = sketch.node("Slice", shape, sketch.ints(0), sketch.ints(1), sketch.ints(0))
    columns = sketch.const(np.array([24], np.int32))
    target = sketch.node("Cast", sketch.node("Concat", rows, columns, axis=0), to=TensorProto.INT64)
    headed(sketch, sketch.node("Reshape", nhwc, target))


def test_shape_with_start_and_size() -> None:
    sketch = Sketch(2, 3, 4)
    rows = sketch.node("Shape", "x", start=0, end=1)
    total = sketch.node("Size", "x")
    columns = sketch.node("Div", sketch.node("Reshape", total, sketch.ints(1)), rows)
    headed(sketch, sketch.node("Reshape", "x", sketch.node("Concat", rows, columns, axis=0)))


@pytest.mark.parametrize("opset", [9, 12, 17])
def test_dropout_identity_and_cast_are_other_names(opset: int) -> None:
    sketch = Sketch(24, opset=opset)
    options: dict[str, Any] = {"ratio": 0.5} if opset < 12 else {}
    ratio = [] if opset < 12 else [sketch.const(np.float32(0.5))]
    dropped = sketch.node("Dropout", "x", *ratio, out="dropped", outputs=2, **options)
    same = sketch.node("Identity", dropped, out="same")
    cast = sketch.node("Cast", same, to=TensorProto.FLOAT, out="cast")
    net = headed(sketch, cast)
    assert [net.tensor(name) for name in ("dropped", "same", "cast")] == ["x", "x", "x"]
    assert [layer.kind for layer in net.layers] == ["Dense"]


def test_fixed_batch_gives_the_same_values_for_five() -> None:
    sketch = Sketch(2, 3, 4, batch=1)
    target = sketch.ints(1, 24)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Reshape", "x", target), 24, 3)))
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4)).astype(np.float32)
    recorder = Recorder(net, [net.logits])
    together = recorder(x).values[net.logits]
    apart = [recorder(x[i : i + 1]).values[net.logits] for i in range(5)]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-5, atol=1e-6)


def test_near_names_are_suggested() -> None:
    sketch = Sketch(24)
    net = mr.load(sketch.model(sketch.node("Relu", sketch.dense("x", 24, 3), out="layer3/activation")))
    with pytest.raises(mr.InvalidData, match="did you mean 'layer3/activation'"):
        net.tensor("layer3/activations")
