"""Normalisations, means and maxima as operators: each tensor keeps its values, at every opset and shape."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import mipin_ref as mr
from mipin_ref.layers import MaxPool, Norm, Reduce, TokenDense
from tests.graph.sketch import Sketch, assert_keeps_values

SHAPE = (6, 4, 5)


def ended(sketch: Sketch, out: str, features: int) -> onnx.ModelProto:
    """Two logits of a tensor, by way of a Relu."""
    flat = sketch.node("Flatten", sketch.node("Relu", out))
    return sketch.model(sketch.dense(flat, features, 2), check=False)


def norm_of(net: mr.Network) -> Norm:
    (norm,) = (layer for layer in net.layers if isinstance(layer, Norm))
    return norm


@pytest.mark.parametrize(("axis", "over", "channels"), [(-1, (3,), 3), (3, (3,), 3), (2, (2, 3), 1), (1, (1, 2, 3), 1)])
@pytest.mark.parametrize("biased", [False, True])
def test_layer_normalization(axis: int, over: tuple[int, ...], channels: int, biased: bool) -> None:
    sketch = Sketch(*SHAPE)
    shape = SHAPE[axis - 1 if axis > 0 else axis :]
    parameters = [sketch.positive(*shape), *([sketch.normal(*shape)] if biased else [])]
    out = sketch.node("LayerNormalization", "x", *parameters, axis=axis, epsilon=1e-2)
    norm = norm_of(assert_keeps_values(ended(sketch, out, 120)))
    assert (norm.over, norm.channels, norm.centred) == (over, channels, True)
    assert norm.divisor.epsilon == pytest.approx(1e-2)


def test_layer_normalization_of_features() -> None:
    sketch = Sketch(7)
    hidden = sketch.dense("x", 7, 5)
    out = sketch.node("LayerNormalization", hidden, sketch.positive(5), sketch.normal(5))
    norm = norm_of(assert_keeps_values(sketch.model(sketch.dense(out, 5, 3))))
    assert (norm.over, norm.channels) == ((1,), 1)


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 7)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    sketch = Sketch(*shape)
    out = sketch.node("InstanceNormalization", "x", sketch.positive(6), sketch.normal(6), epsilon=1e-2)
    norm = norm_of(assert_keeps_values(ended(sketch, out, int(np.prod(shape)))))
    assert (norm.channels, norm.scale.shape) == (1, (6, *(1,) * (len(shape) - 1)))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization(opset: int, groups: int) -> None:
    """One scale a group before opset 21, one a channel since."""
    sketch = Sketch(*SHAPE, opset=opset, ir=10)
    size = groups if opset < 21 else 6
    out = sketch.node("GroupNormalization", "x", sketch.positive(size), sketch.normal(size), num_groups=groups)
    norm = norm_of(assert_keeps_values(ended(sketch, out, 120)))
    assert norm.split == (groups, 6 // groups, 4, 5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_rms_normalization(axis: int) -> None:
    sketch = Sketch(*SHAPE, opset=23, ir=10)
    scale = sketch.positive(*SHAPE[axis - 1 if axis > 0 else axis :])
    out = sketch.node("RMSNormalization", "x", scale, axis=axis, epsilon=1e-2)
    assert not norm_of(assert_keeps_values(ended(sketch, out, 120))).centred


def test_simplified_layer_normalization() -> None:
    """onnxruntime's own name of it, in the domain of ONNX."""
    sketch = Sketch(*SHAPE)
    out = sketch.node("SimplifiedLayerNormalization", "x", sketch.positive(5), axis=-1, epsilon=1e-2)
    flat = sketch.node("Flatten", sketch.node("Relu", out))
    logits = sketch.dense(flat, 120, 2)
    graph = helper.make_graph(
        sketch.nodes,
        "sketch",
        sketch.inputs,
        [helper.make_tensor_value_info(logits, 1, ["N", 2])],
        sketch.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert not norm_of(assert_keeps_values(model)).centred


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_fused_residual(op: str, biased: bool, summed: bool) -> None:
    """onnxruntime's fusion of an Add and the LayerNorm behind it; the sum may be an output too."""
    sketch = Sketch(4, 6)
    other = sketch.node("Relu", "x")
    parameters = [sketch.positive(6)] + ([sketch.normal(6)] if op == "SkipLayerNormalization" else [])
    parameters += [sketch.normal(6)] if biased else []
    out = sketch.node(op, "x", other, *parameters, domain="com.microsoft", epsilon=1e-2)
    if summed:
        sketch.nodes[-1].output.extend(["", "", "total"])
        out = sketch.node("Add", out, "total")
    net = assert_keeps_values(ended(sketch, out, 24))
    assert norm_of(net).channels == 2
    assert ("total" in net.shapes) == summed


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_lp_normalization(axis: int, order: int) -> None:
    sketch = Sketch(*SHAPE)
    norm = norm_of(assert_keeps_values(ended(sketch, sketch.node("LpNormalization", "x", axis=axis, p=order), 120)))
    assert (norm.centred, norm.divisor.order) == (False, order)


def test_mean_variance_normalization() -> None:
    sketch = Sketch(*SHAPE)
    out = sketch.node("MeanVarianceNormalization", "x", axes=[2, 3])
    assert norm_of(assert_keeps_values(ended(sketch, out, 120))).centred


@pytest.mark.parametrize("op", ["GlobalLpPool", "LpPool"])
def test_norms_over_locations_are_refused(op: str) -> None:
    sketch = Sketch(*SHAPE)
    options: dict[str, Any] = {"kernel_shape": [4, 5]} if op == "LpPool" else {}
    model = ended(sketch, sketch.node(op, "x", out="odd", **options), 6)
    (problem,) = {problem for problems in mr.load(model, check=False).blocked.values() for problem in problems}
    assert problem.label == f"{op} 'the_odd'"


@pytest.mark.parametrize(
    ("op", "options", "parameters", "reason"),
    [
        ("LayerNormalization", {"axis": 0}, (4,), "over the samples of a batch"),
        ("InstanceNormalization", {}, (5, 5), r"its parameters \(5,\) do not fit 6 channels"),
        ("LayerNormalization", {}, (4,), "does not fit one sample"),
    ],
)
def test_bad_normalisations(op: str, options: dict[str, Any], parameters: tuple[int, ...], reason: str) -> None:
    sketch = Sketch(*SHAPE)
    odd = sketch.node(op, sketch.node("Relu", "x"), *(sketch.positive(n) for n in parameters), out="odd", **options)
    assert re.search(reason, problem_of(sketch, odd))


def test_a_normalisation_of_the_batch_by_its_operator() -> None:
    sketch = Sketch(*SHAPE)
    odd = sketch.node("MeanVarianceNormalization", "x", out="odd")
    assert "over the samples of a batch" in problem_of(sketch, odd)


def problem_of(sketch: Sketch, odd: str) -> str:
    """Why a tensor of 120 features has no inverse, where the rest of a network behind it has one."""
    try:
        net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", odd), 120, 2), check=False), check=False)
    except mr.UnsupportedModel as error:
        (told,) = error.nodes
        return told
    (problem,) = {problem for problems in net.blocked.values() for problem in problems}
    return str(problem)


@pytest.mark.parametrize("axes", [(1,), (2,), (3,), (1, 2, 3)])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("op", "opset"), [("ReduceMean", 13), ("ReduceMean", 18), ("ReduceSum", 11), ("ReduceSum", 13)]
)
def test_reductions(op: str, opset: int, keepdims: int, axes: tuple[int, ...]) -> None:
    sketch = Sketch(*SHAPE, opset=opset)
    source = sketch.conv("x", 6, 6, (1, 1))
    if opset >= (18 if op == "ReduceMean" else 13):
        out = sketch.node(op, source, sketch.ints(*axes), keepdims=keepdims)
    else:
        out = sketch.node(op, source, axes=list(axes), keepdims=keepdims)
    features = 120 // int(np.prod([SHAPE[axis - 1] for axis in axes]))
    flat = sketch.node("Reshape", out, sketch.ints(-1, features))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, features, 2), check=False))
    (reduced,) = (layer for layer in net.layers if isinstance(layer, Reduce))
    assert (reduced.over, reduced.total) == (axes, op == "ReduceSum")


def test_a_sum_of_one_element_is_none() -> None:
    sketch = Sketch(6, 1, 1)
    out = sketch.node("ReduceSum", "x", sketch.ints(2, 3), keepdims=0)
    net = assert_keeps_values(sketch.model(sketch.dense(out, 6, 2)))
    assert [layer.kind for layer in net.layers] == ["Reshape", "Dense"]


@pytest.mark.parametrize("shape", [(6, 7), (6, 4, 5), (6, 2, 3, 2)])
def test_global_max_pool(shape: tuple[int, ...]) -> None:
    sketch = Sketch(*shape)
    out = sketch.node("GlobalMaxPool", "x", out="largest")
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", out), shape[0], 2)))
    (pool,) = (layer for layer in net.layers if isinstance(layer, MaxPool))
    assert pool.window.taps == int(np.prod(shape[1:]))


@pytest.mark.parametrize(("axes", "channels"), [([2, 3], 6), ([1, 2], 5), ([-1, 1], 4)])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_a_maximum_over_the_map(opset: int, keepdims: int, axes: list[int], channels: int) -> None:
    sketch = Sketch(*SHAPE, opset=opset)
    if opset < 18:
        out = sketch.node("ReduceMax", "x", axes=axes, keepdims=keepdims)
    else:
        out = sketch.node("ReduceMax", "x", sketch.ints(*axes), keepdims=keepdims)
    flat = sketch.node("Reshape", out, sketch.ints(-1, channels))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, channels, 2), check=False))
    assert sum(isinstance(layer, MaxPool) for layer in net.layers) == 1


@pytest.mark.parametrize(("axes", "left"), [([2], (6, 5)), ([3], (6, 4)), ([-1], (6, 4))])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_maximum_along_one_axis_of_a_map(keepdims: int, axes: list[int], left: tuple[int, int]) -> None:
    sketch = Sketch(*SHAPE)
    out = sketch.node("ReduceMax", "x", axes=axes, keepdims=keepdims)
    count = left[0] * left[1]
    flat = sketch.node("Reshape", out, sketch.ints(-1, count))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, count, 2), check=False))
    (pool,) = (layer for layer in net.layers if isinstance(layer, MaxPool))
    assert pool.window.taps == np.prod(SHAPE) // count


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_maximum_over_steps_that_come_first(keepdims: int) -> None:
    """[T, N, C], as recurrent layers have it."""
    sketch = Sketch(6, 4)
    first = sketch.node("Transpose", "x", perm=[1, 0, 2])
    out = sketch.node("ReduceMax", first, axes=[0], keepdims=keepdims, out="most")
    flat = sketch.node("Reshape", out, sketch.ints(-1, 4))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, 4, 2), check=False))
    assert "most" in {*net.shapes, *net.aliases}
    (pool,) = (layer for layer in net.layers if isinstance(layer, MaxPool))
    assert pool.window.taps == 6


def test_a_maximum_over_four_axes() -> None:
    sketch = Sketch(3, 2, 2, 2, 2)
    out = sketch.node("ReduceMax", "x", axes=[1, 2, 3, 4], keepdims=0)
    net = assert_keeps_values(sketch.model(sketch.dense(out, 2, 2)))
    assert sum(isinstance(layer, MaxPool) for layer in net.layers) == 1


@pytest.mark.parametrize(
    ("shape", "axes"),
    [(SHAPE, [1]), ((3, 4, 5, 2), [2]), ((3, 4, 5, 2), [1, 2]), ((2, 3, 4), [1]), ((3, 4, 2, 5, 2), [3])],
)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_maximum_over_axes_in_front_of_others(keepdims: int, shape: tuple[int, ...], axes: list[int]) -> None:
    """As of what several units hold of one place: which one won is recorded for each place and feature."""
    sketch, count = Sketch(*shape), int(np.prod(shape)) // int(np.prod([shape[axis - 1] for axis in axes]))
    out = sketch.node("ReduceMax", sketch.node("Tanh", "x", out="content"), axes=axes, keepdims=keepdims)
    flat = sketch.node("Reshape", out, sketch.ints(-1, count))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, count, 2), check=False))
    x = np.random.default_rng(2).standard_normal((30, *shape)).astype(np.float32)
    res = mr.fit(net, x, 1, at="content").attribute(x[:4])
    over = tuple(axes)
    largest = np.tanh(x[:4]).max(axis=over, keepdims=True)
    assert np.array_equal(res.source != 0, np.tanh(x[:4]) == largest)


def test_a_maximum_over_axes_with_another_between_is_refused() -> None:
    sketch = Sketch(6, 4, 5, 2)
    out = sketch.node("ReduceMax", "x", axes=[1, 3], out="odd")
    (reason,) = {
        problem.reason
        for problems in mr.load(ended(sketch, out, 8), check=False).blocked.values()
        for problem in problems
    }
    assert reason == "it takes the largest value over axes [1, 3] of [N, 6, 4, 5, 2], not over those of a map"


def test_a_map_too_large_for_one_window() -> None:
    sketch = Sketch(2, 200, 200)
    out = sketch.node("GlobalMaxPool", "x", out="odd")
    model = sketch.model(sketch.dense(sketch.node("Flatten", out), 2, 2))
    (reason,) = {p.reason for problems in mr.load(model, check=False).blocked.values() for p in problems}
    assert reason == "its map of 40,000 locations is larger than the 16,384 that are supported"


@pytest.mark.parametrize(
    ("shape", "weight", "left", "axis", "made"),
    [
        ((4, 5), (5, 3), True, 2, (4, 3)),
        ((2, 4, 5), (5, 3), True, 3, (2, 4, 3)),
        ((4, 5), (1, 5, 3), True, 2, (4, 3)),
        ((4, 5), (3, 4), False, 1, (3, 5)),
        ((2, 4, 5), (3, 4), False, 2, (2, 3, 5)),
        ((4, 5), (5,), True, 2, (4,)),
        ((4, 5), (4,), False, 1, (5,)),
    ],
)
def test_a_matrix_at_each_location(
    shape: tuple[int, ...], weight: tuple[int, ...], left: bool, axis: int, made: tuple[int, ...]
) -> None:
    sketch = Sketch(*shape)
    matrix = sketch.normal(*weight)
    out = sketch.node("MatMul", *(("x", matrix) if left else (matrix, "x")), out="product")
    net = assert_keeps_values(ended(sketch, out, int(np.prod(made))))
    (dense,) = (layer for layer in net.layers if isinstance(layer, TokenDense))
    assert (dense.axis, net.shapes["product"]) == (axis, made)


@pytest.mark.parametrize("left", [True, False])
def test_constants_fold_into_a_dense_on_tokens(left: bool) -> None:
    """Bias, layer scale and what is in front, where they vary along the features alone."""
    sketch = Sketch(4, 5)
    before = [5] if left else [4, 1]
    after = [3] if left else [3, 1]
    source = sketch.node("Add", sketch.node("Mul", "x", sketch.positive(*before)), sketch.normal(*before))
    matrix = sketch.normal(*((5, 3) if left else (3, 4)))
    product = sketch.node("MatMul", *((source, matrix) if left else (matrix, source)))
    out = sketch.node("Mul", sketch.node("Add", product, sketch.normal(*after)), sketch.positive(*after))
    net = assert_keeps_values(ended(sketch, out, 12 if left else 15))
    assert [layer.kind for layer in net.layers] == ["TokenDense", "Activation", "Reshape", "Dense"]


def test_layer_scale_folds_through_a_transpose() -> None:
    """ConvNeXt's Mul by [C, 1, 1] behind the permute."""
    sketch = Sketch(4, 5, 6)
    product = sketch.node("Add", sketch.node("MatMul", "x", sketch.normal(6, 3)), sketch.normal(3))
    turned = sketch.node("Transpose", product, perm=[0, 3, 1, 2])
    net = assert_keeps_values(ended(sketch, sketch.node("Mul", turned, sketch.positive(3, 1, 1)), 60))
    assert [layer.kind for layer in net.layers] == ["TokenDense", "Transpose", "Activation", "Reshape", "Dense"]


def test_a_position_embedding_stays_a_shift() -> None:
    sketch = Sketch(4, 5)
    product = sketch.node("MatMul", "x", sketch.normal(5, 3))
    net = assert_keeps_values(ended(sketch, sketch.node("Add", product, sketch.normal(4, 3)), 12))
    assert [layer.kind for layer in net.layers] == ["TokenDense", "Affine", "Activation", "Reshape", "Dense"]


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        ((4, 5, 30), "with 4 matrices, another one at each place"),
        ((4, 30), r"weight \(4, 30\) does not fit 5 features"),
    ],
)
def test_other_products_are_refused(weight: tuple[int, ...], reason: str) -> None:
    sketch = Sketch(4, 5)
    assert re.search(reason, problem_of(sketch, sketch.node("MatMul", "x", sketch.normal(*weight), out="odd")))
