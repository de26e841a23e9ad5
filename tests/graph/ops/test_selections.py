"""Operators that pick or copy by constant indices, against onnxruntime; how they are joined and composed; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.plan import make_plan
from mipin_ref.layers import Gather, Slice, Where
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

INT64 = np.iinfo(np.int64)


def kinds(net: mr.Network) -> list[str]:
    return [layer.kind for layer in net.layers]


def classified(sketch: Sketch, source: str, features: int) -> Any:
    """A model in which a Dense reads a tensor of so many features."""
    return sketch.model(sketch.dense(sketch.node("Flatten", source), features, 3))


# --- Slice with steps -------------------------------------------------------------------------------------------------

STEPS: list[tuple[list[int], list[int], list[int], list[int], tuple[int, ...]]] = [
    ([0], [5], [2], [2], (4, 3, 6)),
    ([1], [int(INT64.max)], [3], [2], (4, 5, 3)),
    ([-1], [int(INT64.min)], [2], [-1], (4, 5, 6)),
    ([4, 5], [0, -7], [2, 3], [-2, -3], (4, 2, 2)),
    ([0, 1], [4, 6], [1, 3], [3, 2], (2, 5, 3)),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps", "shape"), STEPS)
@pytest.mark.parametrize("opset", [10, 13, 18])
def test_slice_with_steps(
    starts: list[int], ends: list[int], axes: list[int], steps: list[int], shape: tuple[int, ...], opset: int
) -> None:
    sketch = Sketch(4, 5, 6, opset=opset)
    out = sketch.node("Slice", sketch.node("Relu", "x"), *(sketch.ints(*v) for v in (starts, ends, axes, steps)))
    net = assert_keeps_values(classified(sketch, out, int(np.prod(shape))))
    (layer,) = [layer for layer in net.layers if isinstance(layer, Gather)]
    assert layer.out_shape == shape


def test_a_slice_of_which_one_entry_is_left_is_a_box() -> None:
    sketch = Sketch(4, 5)
    out = sketch.node("Slice", "x", sketch.ints(1), sketch.ints(3), sketch.ints(1), sketch.ints(2))
    net = assert_keeps_values(classified(sketch, out, 5))
    assert isinstance(net.layers[0], Slice)


# --- Gather -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "axis", "kind"),
    [
        ([2, 0], 1, "Gather"),
        ([1, 2], 1, "Slice"),
        ([-1, -1, 0], 2, "Gather"),
        ([[0, 1], [3, 3]], -1, "Gather"),
        (2, 1, "Slice"),
        (-1, 3, "Slice"),
    ],
)
def test_gather(index: Any, axis: int, kind: str) -> None:
    sketch, index = Sketch(4, 5, 6), np.array(index, np.int64)
    out = sketch.node("Gather", sketch.node("Relu", "x"), sketch.const(index), axis=axis)
    features = 4 * 5 * 6 // (4, 5, 6)[axis - 1 if axis > 0 else 2] * index.size
    assert kind in kinds(assert_keeps_values(classified(sketch, out, features)))


def test_gather_of_all_entries_is_the_tensor() -> None:
    sketch = Sketch(4, 5)
    out = sketch.node("Gather", sketch.node("Relu", "x"), sketch.ints(0, 1, 2, 3), axis=1)
    assert "Gather" not in kinds(assert_keeps_values(classified(sketch, out, 20)))


def test_gather_behind_a_batch_that_is_not_first() -> None:
    """As queries, keys and values are taken apart: [N, 3, 4] turned to [3, N, 4]."""
    sketch = Sketch(3, 4)
    turned = sketch.node("Transpose", sketch.node("Relu", "x"), perm=[1, 0, 2])
    parts = [sketch.node("Gather", turned, sketch.const(np.array(i)), axis=0) for i in range(3)]
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Concat", *parts, axis=1), 12, 2)))
    plan = make_plan(net, at=None, local=True, input_mask=None)
    step = next(step for step in plan.steps if len(step.layers) == 3)
    assert not step.fitted
    assert len(step.branches) == 1


def test_gather_elements() -> None:
    sketch = Sketch(3, 4, batch=1)
    index = sketch.const(np.array([[[0, 3], [-1, 1], [2, 2]]], np.int64))
    out = sketch.node("GatherElements", sketch.node("Relu", "x"), index, axis=2)
    net = assert_keeps_values(classified(sketch, out, 6), batch=1)
    assert "Gather" in kinds(net)


@pytest.mark.parametrize("index", [[[[0, 1], [2, 3]]], [[[2], [0]]]])
def test_gather_nd(index: Any) -> None:
    sketch = Sketch(3, 4, batch=1)
    out = sketch.node("GatherND", sketch.node("Relu", "x"), sketch.const(np.array(index, np.int64)), batch_dims=1)
    features = 2 if len(index[0][0]) == 2 else 8
    assert "Gather" in kinds(assert_keeps_values(classified(sketch, out, features), batch=1))


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [(1, 1, 2), (1, 3, 2), (1, 1, 1)])
def test_tile(repeats: tuple[int, ...]) -> None:
    sketch = Sketch(3, 4)
    out = sketch.node("Tile", sketch.node("Relu", "x"), sketch.ints(*repeats))
    net = assert_keeps_values(classified(sketch, out, 12 * int(np.prod(repeats))))
    assert ("Gather" in kinds(net)) == (max(repeats) > 1)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 1, 4, 5), (3, 4, 1), (1,)])
def test_expand(shape: tuple[int, ...]) -> None:
    sketch = Sketch(3, 1, 5)
    wide = tuple(np.broadcast_shapes(shape, (1, 3, 1, 5)))
    out = sketch.node("Expand", sketch.node("Relu", "x"), sketch.ints(*shape))
    net = assert_keeps_values(classified(sketch, out, int(np.prod(wide))))
    assert ("Gather" in kinds(net)) == (wide != (1, 3, 1, 5))


def test_expand_in_front_of_the_batch() -> None:
    """[N, 4] to [2, N, 4]: the batch is the second axis then."""
    sketch = Sketch(4)
    out = sketch.node("Expand", sketch.node("Relu", "x"), sketch.ints(2, 1, 4))
    back = sketch.node("Transpose", out, perm=[1, 0, 2])
    assert "Gather" in kinds(assert_keeps_values(classified(sketch, back, 8)))


PADS = [("edge", 11), ("reflect", 11), ("edge", 18), ("reflect", 18), ("wrap", 19), ("edge", 8), ("reflect", 8)]


@pytest.mark.parametrize(("mode", "opset"), PADS)
@pytest.mark.parametrize("pads", [(1, 2, 0, 1), (2, 0, 3, 2), (0, -1, 1, 1)])
def test_pad_that_copies(mode: str, opset: int, pads: tuple[int, ...]) -> None:
    sketch, whole = Sketch(2, 4, 5, opset=opset), (0, 0, *pads[:2], 0, 0, *pads[2:])
    source = sketch.node("Relu", "x")
    if opset < 11:
        out = sketch.node("Pad", source, pads=list(whole), mode=mode)
    else:
        out = sketch.node("Pad", source, sketch.ints(*whole), mode=mode)
    net = assert_keeps_values(sketch.model(sketch.conv(out, 2, 3)))
    assert "Gather" in kinds(net)


@pytest.mark.parametrize(("pads", "expected"), [((-1, 0, 0, -2), ["Slice"]), ((-1, 1, 0, 2), ["Slice", "Pad"])])
def test_pad_that_crops(pads: tuple[int, ...], expected: list[str]) -> None:
    sketch = Sketch(2, 4, 5)
    out = sketch.node("Pad", sketch.node("Relu", "x"), sketch.ints(0, 0, *pads[:2], 0, 0, *pads[2:]))
    net = assert_keeps_values(sketch.model(sketch.node("MaxPool", out, kernel_shape=[2, 2])))
    assert [kind for kind in kinds(net) if kind in ("Slice", "Pad")] == expected


# --- Where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3, 4), (4,), (3, 1)])
def test_where_with_a_constant(place: int, shape: tuple[int, ...]) -> None:
    sketch = Sketch(3, 4)
    mask = sketch.const(np.random.default_rng(0).random(shape) < 0.5)
    others = ["", sketch.const(np.array(-0.5)), sketch.const(np.array(-0.5))]
    others[place] = sketch.node("Relu", "x")
    net = assert_keeps_values(classified(sketch, sketch.node("Where", mask, *others[1:]), 12))
    (layer,) = [layer for layer in net.layers if isinstance(layer, Where)]
    assert not layer.never_negative(True)


def test_where_of_two_tensors_that_broadcast() -> None:
    sketch = Sketch(3, 4)
    mask = sketch.const(np.random.default_rng(0).random((3, 4)) < 0.5)
    pooled = sketch.node("ReduceMean", sketch.node("Relu", "x"), axes=[2], keepdims=1)
    net = assert_keeps_values(classified(sketch, sketch.node("Where", mask, "x", pooled), 12))
    assert {"Where", "Gather"} <= {*kinds(net)}


# --- channels and places ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("opset", [11, 13])
def test_depth_to_space(mode: str, opset: int) -> None:
    sketch = Sketch(8, 2, 3, opset=opset)
    out = sketch.node("DepthToSpace", sketch.node("Relu", "x"), blocksize=2, mode=mode)
    net = assert_keeps_values(sketch.model(sketch.conv(out, 2, 3)))
    assert kinds(net)[1:4] == ["Reshape", "Transpose", "Reshape"]


def test_space_to_depth() -> None:
    sketch = Sketch(2, 4, 6)
    out = sketch.node("SpaceToDepth", sketch.node("Relu", "x"), blocksize=2)
    assert_keeps_values(sketch.model(sketch.conv(out, 8, 3, (2, 2))))


# --- several selections -----------------------------------------------------------------------------------------------


def focus(sketch: Sketch, source: str) -> str:
    """The four interleaved parts of a map side by side, sliced by row and then by column as exporters write it."""
    parts = []
    for column in (0, 1):
        for row in (0, 1):
            rows = sketch.node(
                "Slice", source, sketch.ints(row), sketch.ints(INT64.max), sketch.ints(2), sketch.ints(2)
            )
            parts.append(
                sketch.node("Slice", rows, sketch.ints(column), sketch.ints(INT64.max), sketch.ints(3), sketch.ints(2))
            )
    return sketch.node("Concat", *parts, axis=1)


def test_interleaved_parts_are_one_split() -> None:
    """Equal nodes are merged, and what does not overlap is one branch: nothing is fitted in front of a Focus layer."""
    sketch = Sketch(2, 4, 6)
    net = assert_keeps_values(sketch.model(sketch.conv(focus(sketch, sketch.node("Relu", "x")), 8, 3, (2, 2))))
    plan = make_plan(net, at=None, local=True, input_mask=None)
    split = [step for step in plan.steps if len(step.layers) > 1]
    assert split
    assert all(len(step.branches) == 1 and not step.fitted for step in split)


def test_equal_selections_are_one_layer() -> None:
    """Read twice alike a tensor has one reader, and not two branches that share a part."""
    sketch = Sketch(3, 6)
    halves = [sketch.node("Gather", "x", sketch.ints(4, 0), axis=2, out=f"half{i}") for i in (1, 2)]
    fired = [sketch.node(op, half) for op, half in zip(("Relu", "Tanh"), halves, strict=True)]
    net = assert_keeps_values(classified(sketch, sketch.node("Concat", *fired, axis=2), 12))
    assert kinds(net).count("Gather") == 1
    assert net.aliases["half2"] == "half1"


def test_a_target_faces_what_was_picked() -> None:
    """The second score is the first of the other part, and nothing of that has no inverse."""
    sketch = Sketch(4)
    parts = [sketch.dense(sketch.node("Hardmax", "x"), 4, 2), sketch.dense("x", 4, 3)]
    joined = sketch.node("Concat", *parts, axis=1)
    net = mr.load(sketch.model(sketch.node("Gather", joined, sketch.ints(4, 2, 0), axis=1)))
    part, index = facing(net, 1)
    assert (part.logits, index) == (parts[1], 0)
    assert [layer.output for layer in part.layers] == [parts[1]]


def test_selections_in_a_row_are_one() -> None:
    """Only those of several copies that remain count."""
    sketch = Sketch(3, 4)
    tiled = sketch.node("Tile", sketch.node("Relu", "x"), sketch.ints(1, 1, 2), out="tiled")
    out = sketch.node("Gather", tiled, sketch.ints(0, 5), axis=2, out="picked")
    net = assert_keeps_values(classified(sketch, out, 6))
    (layer,) = [layer for layer in net.layers if isinstance(layer, Slice | Gather)]
    assert isinstance(layer, Slice)
    assert layer.cut == (range(3), range(2))
    assert "tiled" in net.folded


def test_a_selection_that_somebody_else_reads_stays() -> None:
    sketch = Sketch(3, 4)
    tiled = sketch.node("Tile", sketch.node("Relu", "x"), sketch.ints(1, 1, 2), out="tiled")
    picked = sketch.node("Gather", tiled, sketch.ints(0, 5), axis=2, out="picked")
    net = assert_keeps_values(classified(sketch, sketch.node("Concat", tiled, picked, axis=2), 30))
    assert sum(layer.kind in ("Slice", "Gather") for layer in net.layers) == 2


# --- refusals ---------------------------------------------------------------------------------------------------------


def odd(sketch: Sketch, op: str, *inputs: str, **options: Any) -> str:
    """The message of a model whose node "odd" has no inverse."""
    out = sketch.node(op, *inputs, out="odd", **options)
    flat = sketch.node("Reshape", out, sketch.ints(0, -1))
    with pytest.raises(mr.UnsupportedModel) as caught:
        load_whole(sketch.model(sketch.node("Relu", flat), check=False))
    return str(caught.value)


def test_refusals_of_gather() -> None:
    sketch = Sketch(3, 4)
    assert "picks among the samples of the batch" in odd(sketch, "Gather", "x", sketch.ints(0), axis=0)
    sketch = Sketch(3, 4)
    assert "an index lies outside the 3 entries" in odd(sketch, "Gather", "x", sketch.ints(3), axis=1)
    sketch = Sketch(3, 4)
    assert "do not fit rank 3" in odd(sketch, "Gather", "x", sketch.ints(0), axis=3)


def test_refusals_of_gather_elements_and_nd() -> None:
    sketch = Sketch(3, 4)
    index = np.zeros((1, 3, 2), np.int64)
    assert "leaves the number of samples open" in odd(sketch, "GatherElements", "x", sketch.const(index), axis=2)
    sketch = Sketch(3, 4, batch=2)
    index = np.arange(12).reshape(2, 3, 2) % 4
    assert "differ from sample to sample" in odd(sketch, "GatherElements", "x", sketch.const(index), axis=2)
    sketch = Sketch(3, 4)
    assert "batch_dims 1" in odd(sketch, "GatherND", "x", sketch.const(np.zeros((2, 1), np.int64)))


def test_refusals_of_copies() -> None:
    sketch = Sketch(3, 4)
    assert "repeats the batch" in odd(sketch, "Tile", "x", sketch.ints(2, 1, 1))
    sketch = Sketch(3, 4)
    assert "repeats do not fit" in odd(sketch, "Tile", "x", sketch.ints(2))
    sketch = Sketch(3, 4)
    assert "elements a sample" in odd(sketch, "Tile", "x", sketch.ints(1, 1 << 14, 1 << 14))
    sketch = Sketch(3, 1)
    assert "makes 7 samples of each" in odd(sketch, "Expand", "x", sketch.ints(7, 3, 4))
    sketch = Sketch(3, 4)
    assert "does not broadcast" in odd(sketch, "Expand", "x", sketch.ints(1, 2, 4))
    sketch = Sketch(3, 4)
    assert "mode 'reflect' by 9 of 4" in odd(sketch, "Pad", "x", sketch.ints(0, 0, 9, 0, 0, 0), mode="reflect")
    sketch = Sketch(3, 4)
    assert "pads by" in odd(sketch, "Pad", "x", sketch.ints(0, 0, 1 << 40, 0, 0, 0), mode="edge")


def test_refusals_of_where() -> None:
    sketch = Sketch(3, 4)
    mask = sketch.node("Greater", "x", sketch.const(np.array(0.0)))
    assert "Greater 'the_greater0' (no inverse is known" in odd(sketch, "Where", mask, "x", sketch.const(1e6))
    sketch = Sketch(3, 4)
    mask = sketch.const(np.ones((3, 4), bool))
    assert "NaN or Inf" in odd(sketch, "Where", mask, "x", sketch.const(np.array(np.inf)))
    sketch = Sketch(3, 4)
    assert "do not broadcast" in odd(sketch, "Where", sketch.const(np.ones(5, bool)), "x", "x")


def test_refusals_of_blocks() -> None:
    sketch = Sketch(6, 4, 4)
    assert "6 channels do not make up blocks of 2×2" in odd(sketch, "DepthToSpace", "x", blocksize=2)
    sketch = Sketch(2, 3, 4)
    assert "does not divide into blocks of 2" in odd(sketch, "SpaceToDepth", "x", blocksize=2)


# --- ReverseSequence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["steps first", "samples first"])
@pytest.mark.parametrize("length", [6, 4, 1])
def test_a_sequence_that_is_turned_round(length: int, first: bool) -> None:
    """As tf2onnx writes layers of Keras that go backwards: the same length of each sample."""
    sketch = Sketch(6, 4)
    source = sketch.node("Transpose", "x", perm=[1, 0, 2]) if first else "x"
    count = sketch.node("Gather", sketch.node("Shape", source), sketch.ints(int(first)))
    lengths = sketch.node("Expand", sketch.ints(length), count)
    options: dict[str, Any] = {} if first else {"batch_axis": 0, "time_axis": 1}
    turned = sketch.node("ReverseSequence", source, lengths, **options)
    back = sketch.node("Transpose", turned, perm=[1, 0, 2]) if first else turned
    net = assert_keeps_values(classified(sketch, back, 24))
    assert not net.blocked
    assert length == 1 or {"Gather", "Slice"} & {*kinds(net)}


def test_a_sequence_whose_lengths_the_input_tells() -> None:
    sketch = Sketch(6, 4)
    lengths = sketch.node("Cast", sketch.node("ReduceMax", "x", axes=[1, 2], keepdims=0), to=7)
    turned = sketch.node("ReverseSequence", "x", lengths, batch_axis=0, time_axis=1, out="turned")
    told = [str(problem) for problem in mr.load(classified(sketch, turned, 24), check=False).blocked["x"]]
    assert any(one.startswith("ReverseSequence 'the_turned'") for one in told)
