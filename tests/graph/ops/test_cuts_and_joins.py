"""Concat, Slice, Split and Pad in the dialects of every opset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.layers import AveragePool, Concat, Pad, Slice
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole, tensors_of

INT64 = np.iinfo(np.int64)


def refusals(sketch: Sketch, output: str) -> tuple[str, ...]:
    with pytest.raises(mr.UnsupportedModel) as caught:
        load_whole(sketch.model(output, check=False))
    return caught.value.nodes


def refusal(sketch: Sketch, output: str) -> str:
    (entry,) = refusals(sketch, output)
    return entry


# --- Concat -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "opset"), [(1, 9), (2, 9), (3, 9), (1, 13), (-1, 13), (-3, 13)])
def test_concat(axis: int, opset: int) -> None:
    sketch = Sketch(3, 4, 4, opset=opset)
    parts = [sketch.node(op, "x") for op in ("Relu", "Tanh", "Sigmoid")]
    net = assert_keeps_values(sketch.model(sketch.node("Concat", *parts, axis=axis)))
    join = net.layers[-1]
    assert isinstance(join, Concat)
    assert join.axis == axis % 4
    assert join.out_shape == tuple(3 * d if i + 1 == axis % 4 else d for i, d in enumerate((3, 4, 4)))


def test_concat_of_different_lengths_and_one_tensor_twice() -> None:
    sketch = Sketch(2, 4, 4)
    wide = sketch.conv("x", 2, 3, (1, 1))
    net = assert_keeps_values(sketch.model(sketch.node("Concat", wide, "x", wide, axis=1)))
    assert net.layers[-1].inputs == (wide, "x", wide)
    assert net.layers[-1].out_shape == (8, 4, 4)


def test_concat_of_features() -> None:
    sketch = Sketch(4)
    out = sketch.node("Concat", sketch.dense("x", 4, 2), "x", axis=1)
    assert_keeps_values(sketch.model(sketch.dense(out, 6, 3)))


def test_concat_of_one_tensor_is_an_alias() -> None:
    sketch = Sketch(4)
    same = sketch.node("Concat", "x", axis=1, out="same")
    assert assert_keeps_values(sketch.model(sketch.dense(same, 4, 3))).tensor("same") == "x"


@pytest.mark.parametrize("axis", [0, -2])
def test_concat_of_batches_is_refused(axis: int) -> None:
    sketch = Sketch(4)
    assert "the_odd' (it joins along the batch)" in refusal(
        sketch, sketch.node("Concat", "x", "x", axis=axis, out="odd")
    )


@pytest.mark.parametrize("made", ["Expand", "ConstantOfShape", "fixed"])
def test_concat_with_a_constant_of_every_sample(made: str) -> None:
    """A class token: zeros in front, and what is added to them; on the way back the tensor's part is cut out."""
    sketch = Sketch(3, 4, batch=1 if made == "fixed" else "N")
    if made == "fixed":
        token = sketch.normal(1, 1, 4)
    else:
        count = sketch.node("Shape", "x", start=0, end=1)
        wanted = sketch.node("Concat", count, sketch.ints(1, 4), axis=0)
        token = (
            sketch.node("Expand", sketch.normal(1, 1, 4), wanted)
            if made == "Expand"
            else sketch.node("ConstantOfShape", wanted)
        )
    joined = sketch.node("Concat", token, sketch.node("Relu", "x", out="fired"), axis=1, out="joined")
    model = sketch.model(sketch.dense(sketch.node("Flatten", joined), 16, 3), check=False)
    net = assert_keeps_values(model, batch=1 if made == "fixed" else None)
    assert [layer.kind for layer in net.layers][:2] == ["Activation", "Pad"]
    inv = mr.fit(net, np.random.default_rng(0).standard_normal((12, 3, 4)).astype(np.float32), 1, conv_bias=False)
    assert "fired" in inv.plan.step_of


def test_concat_with_a_constant_of_one_sample_is_refused() -> None:
    sketch = Sketch(4)
    out = sketch.node("Concat", "x", sketch.const(np.ones((1, 2)), "ones"), axis=1, out="odd")
    told = "it joins constant 'ones' of one sample to a tensor of any number of samples"
    assert refusal(sketch, out) == f"Concat 'the_odd' ({told})"


@pytest.mark.parametrize("order", ["arb", "rab", "abr", "rarbr"])
def test_constants_among_several_tensors(order: str) -> None:
    """Registers between a class token and patches: what is added to zeros around each tensor."""
    sketch = Sketch(3, 4)
    first = sketch.node("Tanh", sketch.node("MatMul", "x", sketch.normal(4, 4)))
    second = sketch.node("Tanh", sketch.node("MatMul", "x", sketch.normal(4, 4)))
    parts = [{"a": first, "b": second}.get(one) or repeated(sketch, 2, 4, name=f"r{i}") for i, one in enumerate(order)]
    joined = sketch.node("Concat", *parts, axis=1)
    count = 4 * (6 + 2 * order.count("r"))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", joined), count, 3), check=False))
    assert not net.blocked


def repeated(sketch: Sketch, *shape: int, name: str = "token") -> str:
    """A constant that the file repeats for each sample, [N, *shape]."""
    wanted = sketch.node("Concat", sketch.node("Shape", "x", start=0, end=1), sketch.ints(*shape), axis=0)
    return sketch.node("Expand", sketch.normal(1, *shape), wanted, out=name)


def test_what_is_repeated_for_each_sample_is_not_multiplied_as_a_matrix() -> None:
    sketch = Sketch(3, 4)
    flat = sketch.node("Transpose", repeated(sketch, 4), perm=[1, 0], out="odd")
    error = refusals(sketch, sketch.node("MatMul", "x", flat))
    assert "MatMul 'the_matmul4' (it reads constant 'odd', which the file repeats for each sample)" in error[0]


def test_samples_that_are_repeated_stay_apart() -> None:
    """[N, 4, 2] as [2, N · 4] has every number of one sample beside those of others."""
    sketch = Sketch(3, 4)
    mixed = sketch.node("Reshape", repeated(sketch, 4, 2), sketch.ints(2, -1), out="odd")
    error = refusals(sketch, sketch.node("MatMul", "x", mixed))
    assert "Reshape 'the_reshape3' (it reads constant 'token', which the file repeats" in error[0].replace(
        "odd", "reshape3"
    )


@pytest.mark.parametrize("tiled", [False, True])
def test_a_mask_of_windows_that_is_repeated_for_each_sample(tiled: bool) -> None:
    """As Swin has it: windows folded into the batch, each with a mask of its own."""
    sketch = Sketch(6, 4)
    windows = sketch.node("Reshape", "x", sketch.ints(-1, 3, 4), out="windows")
    if tiled:
        times = sketch.node("Concat", sketch.node("Shape", "x", start=0, end=1), sketch.ints(1, 1, 1), axis=0)
        mask = sketch.node("Tile", sketch.normal(1, 2, 3, 4), times)
    else:
        mask = repeated(sketch, 2, 3, 4)
    count = sketch.node("Shape", mask, start=0, end=1)
    rows = sketch.node("Concat", sketch.node("Mul", count, sketch.ints(2)), sketch.ints(3, 4), axis=0)
    added = sketch.node("Add", windows, sketch.node("Reshape", mask, rows), out="added")
    back = sketch.node("Reshape", sketch.node("Relu", added), sketch.ints(-1, 24))
    model = sketch.model(sketch.dense(back, 24, 3), check=False)
    net = mr.load(model)
    assert not net.blocked
    assert net.shapes["added"] == (2, 3, 4)
    x = np.random.default_rng(3).standard_normal((5, 6, 4)).astype(np.float32)
    told = tensors_of(model, x)
    np.testing.assert_allclose(net.predict(x)[1], told[model.graph.output[0].name], rtol=1e-5, atol=1e-5)


def test_what_stays_a_constant_of_each_sample() -> None:
    """Queries of a decoder go through the first half of a block by themselves."""
    sketch = Sketch(5, 4)
    turned = sketch.node("Transpose", repeated(sketch, 5, 4), perm=[1, 0, 2])
    normal = sketch.node("LayerNormalization", turned, sketch.positive(4), axis=-1)
    chances = sketch.node("Softmax", sketch.node("Cos", normal), axis=0)
    summed = sketch.node("CumSum", chances, sketch.const(np.int64(0)))
    wide = sketch.node("Squeeze", sketch.node("Unsqueeze", summed, sketch.ints(0)), sketch.ints(0))
    added = sketch.node("Add", "x", sketch.node("Transpose", wide, perm=[1, 0, 2]))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", added), 20, 3), check=False))
    assert [layer.kind for layer in net.layers] == ["Reshape", "Dense"]


def test_a_class_token_that_is_quantised() -> None:
    """As static int8 has those of vision transformers."""
    sketch = Sketch(3, 4)
    step, middle = sketch.const(1 / 64), sketch.const(np.int8(3))
    whole = sketch.node("QuantizeLinear", repeated(sketch, 1, 4), step, middle)
    token = sketch.node("DequantizeLinear", whole, step, middle)
    joined = sketch.node("Concat", token, sketch.node("Relu", "x", out="fired"), axis=1)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", joined), 16, 3), check=False))
    assert not net.blocked
    assert "fired" in net.shapes


def test_concat_that_does_not_fit_is_refused() -> None:
    sketch = Sketch(3, 4)
    longer = sketch.node("Concat", "x", "x", axis=1)
    flat = sketch.node("Flatten", "x")
    assert "[N, 3, 4] and [N, 6, 4] do not fit along axis 2" in refusal(
        sketch, sketch.node("Concat", "x", longer, axis=2, out="odd")
    )
    assert "[N, 3, 4] and [N, 12] do not fit along axis 1" in refusal(
        sketch, sketch.node("Concat", "x", flat, axis=1, out="other")
    )


def test_concat_where_the_batch_is_not_first() -> None:
    sketch = Sketch(4)
    turned = sketch.node("Transpose", "x", perm=[1, 0], out="turned")
    joined = sketch.node("Concat", turned, sketch.node("Relu", turned), axis=0)
    assert_keeps_values(sketch.model(sketch.dense(sketch.node("Transpose", joined, perm=[1, 0]), 8, 3)))


def test_concat_of_tensors_whose_batches_are_on_different_axes_is_refused() -> None:
    sketch = Sketch(4)
    turned = sketch.node("Transpose", "x", perm=[1, 0], out="turned")
    told = refusal(sketch, sketch.node("Concat", "x", turned, axis=0))
    assert "the batch is axis 1 of 'turned' and axis 0 of 'x'" in told


# --- Slice ------------------------------------------------------------------------------------------------------------

BOXES: list[tuple[list[int], list[int], list[int] | None, tuple[tuple[int, ...], tuple[int, ...]]]] = [
    ([1], [3], [1], ((1, 0, 0), (3, 5, 6))),
    ([0, 2, 1, -3], [int(INT64.max), 4, 5, -1], None, ((2, 1, 3), (4, 5, 5))),
    ([-2, 0], [100, -2], [3, 1], ((0, 0, 4), (2, 5, 6))),
    ([int(INT64.min)], [2], [2], ((0, 0, 0), (4, 2, 6))),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "box"), BOXES)
@pytest.mark.parametrize("opset", [9, 10, 13])
def test_slice(starts: list[int], ends: list[int], axes: list[int] | None, box: Any, opset: int) -> None:
    sketch = Sketch(4, 5, 6, opset=opset)
    if opset < 10:
        given: dict[str, Any] = {"starts": starts, "ends": ends} | ({} if axes is None else {"axes": axes})
        out = sketch.node("Slice", "x", **given)
    else:
        steps = [] if axes is None else [sketch.ints(*axes), sketch.ints(*[1] * len(axes))]
        out = sketch.node("Slice", "x", sketch.ints(*starts), sketch.ints(*ends), *steps)
    net = assert_keeps_values(sketch.model(out))
    (layer,) = net.layers
    assert isinstance(layer, Slice)
    assert (layer.begin, layer.end) == box


def test_slice_with_negative_axes_and_computed_ends() -> None:
    """Half of the channels, as torch writes chunk(2, dim=1)."""
    sketch = Sketch(4, 3, 3)
    length = sketch.node("Gather", sketch.node("Shape", "x"), sketch.ints(1), axis=0)
    half = sketch.node("Div", sketch.node("Add", length, sketch.ints(1)), sketch.ints(2))
    left = sketch.node("Slice", "x", sketch.ints(0), half, sketch.ints(-3))
    right = sketch.node("Slice", "x", half, sketch.node("Mul", half, sketch.ints(2)), sketch.ints(-3))
    net = assert_keeps_values(sketch.model(sketch.node("Add", left, right)))
    assert [layer.describe() for layer in net.layers[:2]] == ["0:2, :, :", "2:4, :, :"]


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_slice_of_everything_is_an_alias(batch: int | str) -> None:
    sketch = Sketch(4, batch=batch)
    end = batch if isinstance(batch, int) else int(INT64.max)
    same = sketch.node("Slice", "x", sketch.ints(0, 0), sketch.ints(end, 4), out="same")
    model = sketch.model(sketch.dense(same, 4, 3))
    assert assert_keeps_values(model, batch=batch if isinstance(batch, int) else None).tensor("same") == "x"


@pytest.mark.parametrize(
    ("starts", "ends", "steps", "reason"),
    [
        ([0], [4], [0], r"steps are \[0\]"),
    ],
)
def test_slices_without_an_inverse(starts: list[int], ends: list[int], steps: list[int], reason: str) -> None:
    sketch = Sketch(4, 4)
    out = sketch.node("Slice", "x", *(sketch.ints(*v) for v in (starts, ends, [1], steps)), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=rf"the_odd' \(.*{reason}"):
        load_whole(sketch.model(out))


@pytest.mark.parametrize("batch", ["N", 3])
@pytest.mark.parametrize("first", [True, False])
def test_slices_of_nothing_beside_a_tensor(first: bool, batch: int | str) -> None:
    """A window that is shifted by zero, as torch's roll writes it; a slice of such a slice is one too."""
    sketch = Sketch(4, 5, batch=batch)
    nothing = sketch.node("Slice", "x", *(sketch.ints(*v) for v in ([9], [12], [1], [1])))
    nothing = sketch.node("Slice", nothing, *(sketch.ints(*v) for v in ([0], [5], [2], [1])))
    joined = sketch.node("Concat", *(["x", nothing][:: 1 if first else -1]), axis=1, out="joined")
    flat = sketch.node("Flatten", joined)
    net = assert_keeps_values(sketch.model(sketch.dense(flat, 20, 2)), batch=None if batch == "N" else 3)
    assert net.tensor("joined") == "x"


def test_logits_of_nothing_but_constants() -> None:
    sketch = Sketch(4, 4)
    out = sketch.node("Slice", "x", *(sketch.ints(*v) for v in ([3], [3], [1], [1])), out="odd")
    with pytest.raises(mr.MipinError, match=r"'odd'"):
        mr.load(sketch.model(out, check=False))


@pytest.mark.parametrize(("batch", "start", "end"), [("N", 0, 1), ("N", 1, 9), ("N", 0, -1), (4, 0, 3), (4, 1, 4)])
def test_slice_of_the_batch_is_refused(batch: int | str, start: int, end: int) -> None:
    sketch = Sketch(4, batch=batch)
    out = sketch.node("Slice", "x", sketch.ints(start), sketch.ints(end), sketch.ints(0), out="odd")
    assert refusal(sketch, out) == "Slice 'the_odd' (it cuts the batch)"


def test_slice_that_depends_on_the_data_is_refused() -> None:
    sketch = Sketch(4)
    place = sketch.node("Cast", sketch.node("Relu", "x"), to=7, out="place")
    entries = refusals(sketch, sketch.node("Slice", "x", place, sketch.ints(4), out="odd"))
    assert [entry.split("'")[1] for entry in entries] == ["the_place", "the_odd"]


# --- Split ------------------------------------------------------------------------------------------------------------


def split(sketch: Sketch, sizes: list[int] | None, count: int, **options: Any) -> str:
    if sizes is not None and sketch.opset < 13:
        return sketch.node("Split", "x", split=sizes, outputs=count, out="part", **options)
    given = [] if sizes is None else [sketch.ints(*sizes)]
    return sketch.node("Split", "x", *given, outputs=count, out="part", **options)


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
@pytest.mark.parametrize(("sizes", "axis"), [([1, 3, 2], 1), (None, 1), ([2, 1, 2], 2)])
def test_split(sizes: list[int] | None, axis: int, opset: int) -> None:
    sketch = Sketch(6, 5, opset=opset)
    split(sketch, sizes, 3, axis=axis)
    flat = [sketch.node("Flatten", name) for name in ("part", "part_1", "part_2")]
    net = assert_keeps_values(sketch.model(sketch.node("Concat", *flat, axis=1)))
    parts = [layer for layer in net.layers if isinstance(layer, Slice)]
    lengths = sizes or [2, 2, 2]
    assert [layer.out_shape[axis - 1] for layer in parts] == lengths
    assert [layer.begin[axis - 1] for layer in parts] == [0, lengths[0], lengths[0] + lengths[1]]


@pytest.mark.parametrize(("length", "lengths"), [(6, [2, 2, 2]), (8, [3, 3, 2]), (5, [2, 2, 1])])
def test_split_with_num_outputs(length: int, lengths: list[int]) -> None:
    sketch = Sketch(length, opset=18)
    split(sketch, None, 3, axis=-1, num_outputs=3)
    heads = [sketch.dense(name, n, 2) for name, n in zip(("part", "part_1", "part_2"), lengths, strict=True)]
    net = assert_keeps_values(sketch.model(sketch.node("Sum", *heads)))
    assert [layer.out_shape for layer in net.layers if isinstance(layer, Slice)] == [(n,) for n in lengths]


def test_part_of_a_split_that_nobody_reads() -> None:
    sketch = Sketch(6)
    split(sketch, [1, 3, 2], 3, axis=1)
    net = assert_keeps_values(sketch.model(sketch.dense("part_1", 3, 2)))
    assert [layer.kind for layer in net.layers] == ["Slice", "Dense"]
    with pytest.raises(mr.InvalidData, match="'part_2' is not on the way"):
        net.tensor("part_2")


def test_part_of_a_split_without_a_name_is_refused() -> None:
    """onnxruntime would end the whole process."""
    sketch = Sketch(6)
    split(sketch, [4, 2], 2, axis=1)
    sketch.nodes[-1].output[0] = ""
    assert "one of its parts has no name" in refusal(sketch, sketch.dense("part_1", 2, 2))


def test_split_into_one_is_an_alias() -> None:
    sketch = Sketch(6)
    split(sketch, [6], 1, axis=1)
    assert assert_keeps_values(sketch.model(sketch.dense("part", 6, 2))).tensor("part") == "x"


@pytest.mark.parametrize(
    ("sizes", "options", "reason"),
    [
        ([1, 1], {"axis": 1}, "do not make up a length of 6"),
        ([1, 1], {}, "cuts the batch"),
    ],
)
def test_splits_without_an_inverse(sizes: list[int], options: dict[str, Any], reason: str) -> None:
    sketch = Sketch(6, batch=2)
    split(sketch, sizes, 2, **options)
    out = sketch.node("Concat", "part", "part_1", axis=1)
    with pytest.raises(mr.UnsupportedModel, match=f"Split 'the_part'.*{reason}"):
        load_whole(sketch.model(out, check=False))


def test_a_split_into_all_and_nothing() -> None:
    sketch = Sketch(6)
    split(sketch, [6, 0], 2, axis=1)
    out = sketch.node("Concat", "part", "part_1", axis=1)
    assert_keeps_values(sketch.model(sketch.dense(out, 6, 2), check=False))


def test_uneven_split_without_sizes_is_refused() -> None:
    sketch = Sketch(5)
    split(sketch, None, 2, axis=1)
    with pytest.raises(mr.UnsupportedModel, match=r"Split 'the_part'.*do not make up a length of 5"):
        load_whole(sketch.model("part", check=False))


# --- Pad --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 11, 18])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_pad_that_no_convolution_follows(opset: int, value: float) -> None:
    sketch = Sketch(2, 4, 4, opset=opset)
    pads = [0, 1, 1, 0, 0, 0, 0, 2]
    if opset < 11:
        padded = sketch.node("Pad", "x", pads=pads, value=value, out="padded")
    else:
        padded = sketch.node("Pad", "x", sketch.ints(*pads), sketch.const(np.float32(value)), out="padded")
    net = assert_keeps_values(sketch.model(sketch.node("MaxPool", padded, kernel_shape=[2, 2])))
    layer = net.layers[0]
    assert isinstance(layer, Pad)
    assert (layer.begin, layer.end, layer.value) == ((1, 1, 0), (0, 0, 2), value)
    assert layer.out_shape == (3, 5, 6)


@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_pad_before_average_pool(count_include_pad: int, own: int, ceil_mode: int) -> None:
    """Older torch exporters write padding that counts this way."""
    sketch = Sketch(2, 6, 6)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1))
    options: dict[str, Any] = {"count_include_pad": count_include_pad, "ceil_mode": ceil_mode, "strides": [2, 2]}
    out = sketch.node("AveragePool", padded, kernel_shape=[3, 3], pads=[own] * 4, **options)
    net = assert_keeps_values(sketch.model(out))
    dissolves = not ceil_mode and (count_include_pad or not own)
    assert [layer.kind for layer in net.layers] == ["Pad", "AveragePool"][dissolves:]
    pool = net.layers[-1]
    assert isinstance(pool, AveragePool)
    assert pool.count_include_pad == bool(count_include_pad or dissolves)
    assert pool.window.begin == (own + dissolves,) * 2


def test_pad_as_wide_as_the_average_pool_behind_it_stays() -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 2, 0, 0, 0, 0, 0))
    net = assert_keeps_values(sketch.model(sketch.node("AveragePool", padded, kernel_shape=[2, 2])))
    assert [layer.kind for layer in net.layers] == ["Pad", "AveragePool"]


@pytest.mark.parametrize(
    ("pads", "options", "reason"),
    [
        ([0, 0, 4, 1, 0, 0, 1, 1], {"mode": "reflect"}, "it pads with mode 'reflect' by 4 of 4 locations"),
        ([0, 0, -2, 0, 0, 0, -2, 0], {}, "it crops all there is"),
        ([1, 0, 0, 0, 0, 0, 0, 0], {"mode": "edge"}, "pads the batch"),
        ([1, 0, 0, 0, 0, 0, 0, 0], {}, "pads the batch"),
    ],
)
def test_pads_without_an_inverse(pads: list[int], options: dict[str, Any], reason: str) -> None:
    sketch = Sketch(2, 4, 4)
    padded = sketch.node("Pad", "x", sketch.ints(*pads), out="odd", **options)
    with pytest.raises(mr.UnsupportedModel, match=f"Pad 'the_odd'.*{reason}"):
        load_whole(sketch.model(sketch.conv(padded, 2, 3)))


def test_pad_with_infinity_is_refused() -> None:
    sketch = Sketch(2, 4, 4)
    infinite = sketch.const(np.float32(np.inf))
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, 1, 1, 0, 0, 1, 1), infinite, out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"activation 'odd'.*NaN or Inf"):
        load_whole(sketch.model(sketch.node("MaxPool", padded, kernel_shape=[2, 2])))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [(2, 0, 0, 1, 0, 0), (0, 0, 1, 0, 0, 2), (-1, 0, 0, 1, 0, 0)])
def test_a_pad_of_steps_in_front_of_the_batch(pads: tuple[int, ...], mode: str) -> None:
    """[T, N, C], as Keras' exporter stacks what it computes step by step."""
    sketch = Sketch(5, 3)
    steps = sketch.node("Transpose", sketch.node("Relu", "x"), perm=[1, 0, 2])
    padded = sketch.node("Pad", steps, sketch.ints(*pads), mode=mode)
    size = (5 + pads[0] + pads[3]) * (3 + pads[2] + pads[5])
    whole = sketch.node("Flatten", sketch.node("Transpose", padded, perm=[1, 0, 2]))
    net = assert_keeps_values(sketch.model(sketch.dense(whole, size, 2)))
    assert not net.blocked


def test_a_pad_of_the_batch_behind_steps_is_refused() -> None:
    sketch = Sketch(5, 3)
    steps = sketch.node("Transpose", sketch.node("Relu", "x"), perm=[1, 0, 2])
    padded = sketch.node("Pad", steps, sketch.ints(0, 1, 0, 0, 0, 0))
    with pytest.raises(mr.UnsupportedModel, match="it pads the batch"):
        mr.load(sketch.model(sketch.node("Transpose", padded, perm=[1, 0, 2])))
